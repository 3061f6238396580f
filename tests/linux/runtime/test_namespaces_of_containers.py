"""Containers that share namespaces with each other, and a host whose mounts are shared: what passes between them and what does not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit import runtime
from labkit.errors import LabError
from labkit.linux import capabilities, namespaces

Bundle = Callable[..., str]
Out = Callable[..., str]

LABKIT = os.path.join(os.path.dirname(sys.executable), "labkit")
KINDS = {"network": "net", "ipc": "ipc", "uts": "uts", "pid": "pid"}
EVERY = list(capabilities.NAMES[: capabilities.last() + 1])
ROOTLIKE = {"process.capabilities": dict.fromkeys(("bounding", "effective", "permitted"), EVERY)}


def of_another(pid: int, *joined: str) -> dict[str, object]:
    """Namespaces of which some are those of a process that there is."""
    kinds = ("mount", *KINDS)
    return {
        "linux.namespaces": [{"type": kind, **({"path": f"/proc/{pid}/ns/{KINDS[kind]}"} if kind in joined else {})} for kind in kinds],
        **({"hostname": ""} if "uts" in joined else {}),
    }


def test_a_container_joins_another_as_those_of_a_pod_do(bundle: Bundle, root: str) -> None:
    with runtime.create(bundle({"hostname": "pod"}), root=root) as first:
        first.start()
        with runtime.create(bundle(of_another(first.pid, *KINDS)), root=root) as second:
            second.start()
            ours, theirs = namespaces.of(first.pid), namespaces.of(second.pid)
            assert {kind for kind in ours if ours[kind] == theirs[kind]} == {"cgroup", "ipc", "net", "pid", "time", "user", "uts"}
            done = second.exec("sh", "-c", "hostname; cat /proc/1/comm; ls -d /proc/[0-9]* | wc -l")
            assert done.stdout.split()[:2] == ["pod", "sleep"] and int(done.stdout.split()[2]) >= 3
            second.kill("KILL")
            second.wait()
        assert first.status == "running"


def test_with_the_first_of_a_pid_namespace_all_in_it_end(bundle: Bundle, root: str) -> None:
    with runtime.create(bundle(), root=root) as first:
        first.start()
        with runtime.create(bundle(of_another(first.pid, "pid")), root=root) as second:
            second.start()
            first.kill("KILL")
            assert (second.wait().code, first.wait().code) == (137, 137)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_namespace_that_is_gone_cannot_be_joined_and_nothing_is_left(bundle: Bundle, root: str, kind: str) -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
        with pytest.raises(LabError, match=f"/proc/{ended.pid}/ns/{KINDS[kind]}"):
            runtime.run(bundle(of_another(ended.pid, kind), "true"), root=root)
    assert runtime.containers(root) == []


def test_settings_of_the_network_are_the_containers_alone(bundle: Bundle, root: str) -> None:
    setting = Path("/proc/sys/net/ipv4/conf/all/log_martians")
    before = setting.read_text()
    changed = str(1 - int(before))
    done = runtime.run(bundle({"linux.sysctl": {"net.ipv4.conf.all.log_martians": changed}}, "cat", str(setting)), root=root)
    assert (done.stdout.strip(), setting.read_text()) == (changed, before)


# A host whose mounts are shared, as systemd has it

MOUNTS = "mount -t tmpfs inside /home && mkdir /home/below && mount -t tmpfs inside /home/below && grep -c inside /proc/self/mountinfo"


@pytest.mark.parametrize("propagation", ["", "private", "rprivate", "slave", "rslave", "unbindable"])
def test_what_a_container_mounts_does_not_get_out_where_the_hosts_root_is_shared(bundle: Bundle, root: str, propagation: str) -> None:
    changes = {**ROOTLIKE, **({"linux.rootfsPropagation": propagation} if propagation else {})}
    path = bundle(changes, "sh", "-c", MOUNTS)
    script = f"""
        grep -c ' / / .*shared:' /proc/self/mountinfo
        cut -d' ' -f2- /proc/self/mountinfo > {path}/before
        {LABKIT} runtime --root {root} run --bundle {path} box
        cut -d' ' -f2- /proc/self/mountinfo > {path}/after
        cmp {path}/before {path}/after && echo the same
    """
    host = ["unshare", "--mount", "--propagation", "shared", "sh", "-c", script]
    done = subprocess.run(host, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert done.stdout.split("\n") == ["1", "2", "the same", ""], done.stderr


@pytest.mark.parametrize(("options", "seen"), [(["rbind", "rprivate"], "0"), (["rbind", "rslave"], "1"), (["rbind"], "1")])
def test_what_the_host_mounts_later_shows_in_a_container_unless_its_mount_is_private(
    bundle: Bundle, root: str, directory: Path, options: list[str], seen: str
) -> None:
    (directory / "shared").mkdir()
    path = bundle({"mounts+": {"destination": "/shared", "source": f"{directory}/shared", "options": options}})
    script = f"""
        mount -t tmpfs shared {directory}/shared && mount --make-shared {directory}/shared && mkdir {directory}/shared/later
        {LABKIT} runtime --root {root} run --detach --bundle {path} box
        mount -t tmpfs later {directory}/shared/later
        {LABKIT} runtime --root {root} exec box grep -c /shared/later /proc/self/mountinfo
        {LABKIT} runtime --root {root} delete --force box
    """
    host = ["unshare", "--mount", "sh", "-c", script]
    with open(directory / "out", "w+") as out:  # no pipe: the container has it, too
        subprocess.run(host, stdout=out, stdin=subprocess.DEVNULL, check=True)
        out.seek(0)
        assert out.read() == f"{seen}\n"
