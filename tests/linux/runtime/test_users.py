"""User namespaces, mapped mounts and clocks of a container's own: who root inside is outside, and what that root may do."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit import runtime
from labkit.errors import KernelError
from labkit.linux import capabilities, idmaps, namespaces

Bundle = Callable[..., str]
Out = Callable[..., str]

IDS = [{"containerID": 0, "hostID": 100000, "size": 65536}]
KINDS = ("ipc", "mount", "network", "pid", "user", "uts")
EVERY = list(capabilities.NAMES[: capabilities.last() + 1])
USERS = {
    "linux.namespaces": [{"type": kind} for kind in KINDS],
    "linux.uidMappings": IDS,
    "linux.gidMappings": IDS,
    "process.capabilities": dict.fromkeys(("bounding", "effective", "permitted"), EVERY),
}


def owned(path: str, uid: int = 100000) -> str:
    """Give a bundle's root file system to the root of the container, as whoever unpacks an image for it does."""
    for directory, directories, files in os.walk(f"{path}/rootfs"):
        for name in (".", *directories, *files):
            if name != "busybox":  # it is a link to everybody's
                os.lchown(os.path.join(directory, name), uid, uid)
    return path


def test_root_inside_is_an_ordinary_user_outside(bundle: Bundle, root: str) -> None:
    with runtime.create(owned(bundle(USERS, "sh", "-c", "id -u; cat /proc/self/uid_map; echo > /made; sleep infinity")), root=root) as box:
        box.start()
        made = Path(bundle_of(box, root), "rootfs/made")
        while not made.exists():
            assert box.status == "running"
        assert (os.stat(f"/proc/{box.pid}").st_uid, made.stat().st_uid) == (100000, 100000)
        assert namespaces.of(box.pid)["user"] != namespaces.of()["user"]
        box.kill("KILL")
        assert box.wait().stdout.split() == ["0", "0", "100000", "65536"]


def bundle_of(box: runtime.Container, root: str) -> str:
    from labkit.runtime import state

    return state.load(root, box.id).bundle


def test_with_every_capability_it_changes_nothing_of_the_host(bundle: Bundle, root: str) -> None:
    mine = {**USERS, "linux.readonlyPaths": [], "linux.maskedPaths": []}  # nothing but the namespace is in the way
    script = """
        grep CapEff /proc/self/status
        for path in /proc/sys/kernel/core_pattern /proc/sys/vm/swappiness /proc/sys/fs/file-max; do
            (echo 1 > $path) 2>/dev/null && echo wrote $path; done
        mknod /disk b 254 0 2>/dev/null && echo made a disk
        date -s 2000-01-01 2>&1 | grep -o 'not permitted'
        hostname inside && mount -t tmpfs tmpfs /home && hostname
    """
    done = runtime.run(owned(bundle(mine, "sh", "-c", script)), root=root)
    everything = f"{(1 << len(EVERY)) - 1:016x}"
    assert (done.stdout.split(), done.stderr) == (["CapEff:", everything, "not", "permitted", "inside"], "")
    assert time.time() > 1_600_000_000


def test_devices_work_though_nobody_may_make_nodes_there(bundle: Bundle, root: str) -> None:
    script = "echo x > /dev/null; head -c 3 /dev/zero | wc -c; cd /dev; stat -c %t:%T null zero full random urandom tty"
    done = runtime.run(owned(bundle(USERS, "sh", "-c", script)), root=root)
    assert (done.stdout.split(), done.stderr) == (["3", "1:3", "1:5", "1:7", "1:8", "1:9", "5:0"], "")


def test_limits_and_oom_score_are_set_all_the_same(bundle: Bundle, root: str) -> None:
    changes = {**USERS, "process.oomScoreAdj": 321, "process.rlimits": [{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 99}]}
    look = ("sh", "-c", "cat /proc/self/oom_score_adj; ulimit -n; ulimit -Hn")
    with runtime.create(owned(bundle(changes, *look)), root=root) as box:
        assert box.exec(*look).stdout.split() == ["321", "77", "99"]
        box.start()
        assert box.wait().stdout.split() == ["321", "77", "99"]


def test_a_terminal_works_for_a_user_of_the_namespace(bundle: Bundle, root: str) -> None:
    changes = {**USERS, "process.terminal": True, "process.user": {"uid": 1000, "gid": 1000}}
    done = runtime.run(owned(bundle(changes, "sh", "-c", "tty; id -u; echo hello > /dev/tty")), root=root)
    assert done == runtime.Finished(0, "/dev/pts/0\r\n1000\r\nhello\r\n", "")


def test_what_is_executed_in_it_is_root_of_the_same_namespace(bundle: Bundle, root: str) -> None:
    with runtime.create(owned(bundle(USERS)), root=root) as box:
        box.start()
        done = box.exec("sh", "-c", "readlink /proc/self/ns/user; id -u; grep CapEff /proc/self/status; touch /made && stat -c %u /made")
        inode, uid, _, effective, owner = done.stdout.split()
        assert inode == str(namespaces.of(box.pid)["user"])
        assert (uid, int(effective, 16), owner, done.stderr) == ("0", (1 << len(EVERY)) - 1, "0", "")
        assert Path(bundle_of(box, root), "rootfs/made").stat().st_uid == 100000
        assert box.exec("id", "-u", user=(1000, 1000)).stdout == "1000\n"


@pytest.fixture
def pod() -> Iterator[int]:
    """A process in user and network namespaces that a container can join, mapped as ``IDS`` says."""
    with subprocess.Popen(["unshare", "--user", "--net", "sh", "-c", "echo; exec sleep infinity"], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"\n"
        maps = (idmaps.IdMap(0, 100000, 65536),)
        idmaps.write(holder.pid, maps, maps)
        yield holder.pid
        holder.kill()


def test_who_joins_a_user_namespace_is_its_root(bundle: Bundle, root: str, pod: int) -> None:
    joined = {"user": "user", "network": "net"}
    kinds = [{"type": kind, **({"path": f"/proc/{pod}/ns/{joined[kind]}"} if kind in joined else {})} for kind in KINDS]
    changes = {**USERS, "linux.namespaces": kinds, "linux.uidMappings": [], "linux.gidMappings": [], "process.oomScoreAdj": 7}
    script = "readlink /proc/self/ns/user; readlink /proc/self/ns/net; id -u; cat /proc/self/oom_score_adj; hostname inside && hostname"
    done = runtime.run(owned(bundle(changes, "sh", "-c", script)), root=root)
    there = namespaces.of(pod)
    assert (done.stdout.split(), done.stderr) == ([str(there["user"]), str(there["net"]), "0", "7", "inside"], "")


def test_a_map_without_a_root_is_refused_with_the_reason(bundle: Bundle, root: str) -> None:
    nobody = [{"containerID": 1000, "hostID": 100000, "size": 1}]
    with pytest.raises(KernelError, match=r"become root of the user namespace: EINVAL \(do the id maps have a 0 inside\?\)"):
        runtime.run(bundle({**USERS, "linux.uidMappings": nobody, "linux.gidMappings": nobody}, "true"), root=root)


def test_a_user_outside_of_the_map_is_refused_with_the_reason(bundle: Bundle, root: str) -> None:
    with pytest.raises(KernelError, match=r"become uid 70000, gid 0: EINVAL \(is the id in the user namespace's map\?\)"):
        runtime.run(owned(bundle({**USERS, "process.user": {"uid": 70000, "gid": 0}}, "true")), root=root)


# Mapped mounts


def test_a_mapped_mount_shows_files_under_other_owners_and_writes_them_back(out: Out, directory: Path) -> None:
    data = directory / "data"
    data.mkdir()
    (data / "file").write_text("contents")
    os.chown(data, 5000, 5000)
    os.chown(data / "file", 5000, 5001)
    maps = [{"containerID": 5000, "hostID": 0, "size": 10}]  # 5000 on the disk is 0 in the mount
    mount = {"destination": "/data", "source": str(data), "options": ["bind"], "uidMappings": maps, "gidMappings": maps}
    assert out("cd /data; stat -c %u:%g . file; echo new > new && stat -c %u:%g new", {"mounts+": mount}) == "0:0\n0:1\n0:0"
    assert ((data / "new").stat().st_uid, (data / "new").stat().st_gid) == (5000, 5000)


# Clocks


def test_clocks_are_set_off_and_what_is_executed_later_sees_the_same(bundle: Bundle, root: str) -> None:
    kinds = [{"type": kind} for kind in ("ipc", "mount", "network", "pid", "uts", "time")]
    changes = {"linux.namespaces": kinds, "linux.timeOffsets": {"boottime": {"secs": 1_000_000}, "monotonic": {"secs": 2_000_000}}}
    look = ("sh", "-c", "cut -d. -f1 /proc/uptime; cat /proc/self/timens_offsets")
    with runtime.create(bundle(changes, *look), root=root) as box:
        executed = box.exec(*look).stdout.split()
        box.start()
        began = box.wait().stdout.split()
    here = time.clock_gettime(time.CLOCK_BOOTTIME)
    for seen in (executed, began):
        assert abs(int(seen[0]) - here - 1_000_000) < 60
        assert seen[1:] == ["monotonic", "2000000", "0", "boottime", "1000000", "0"]
