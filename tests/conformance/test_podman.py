"""podman and conmon with each runtime in turn: what an engine needs of a runtime that the specification does not spell out."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pty
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit.linux import processes
from tests.patience import PATIENCE

pytestmark = pytest.mark.skipif(not shutil.which("podman"), reason="podman is not installed")

SECONDS = 60 * PATIENCE  # that a command may take before a test gives up on it
UNTIL_TERM = "trap 'echo bye; exit 5' TERM; echo up; echo trouble >&2; while :; do sleep 0.05; done"


def show(field: str) -> str:
    """A shell script that prints a field of its /proc/self/status."""
    return f"while read name value; do [ $name = {field}: ] && echo $value; done < /proc/self/status; true"


@dataclasses.dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


class Podman:
    """A podman of its own: configuration, images, containers and locks are in one directory, which is all that there is of it."""

    def __init__(self, directory: Path, runtime: list[str]) -> None:
        self.directory, self.parent = directory, f"/labkit-{os.getpid()}"
        wrapper = directory / "runtime"
        wrapper.write_text(f'#!/bin/sh\nexec {" ".join(runtime)} "$@"\n')
        wrapper.chmod(0o755)
        (directory / "containers.conf").write_text(f"""
            [containers]
            default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
            netns = "none"
            log_driver = "k8s-file"
            [engine]
            cgroup_manager = "cgroupfs"
            events_logger = "file"
            lock_type = "file"
            tmp_dir = "{directory}/tmp"
            runtime = "{wrapper}"
        """)
        (directory / "storage.conf").write_text(f"""
            [storage]
            driver = "vfs"
            graphroot = "{directory}/images"
            runroot = "{directory}/run"
        """)
        names = {"CONTAINERS_CONF": "containers.conf", "CONTAINERS_STORAGE_CONF": "storage.conf"}
        self.environment = os.environ | {name: str(directory / file) for name, file in names.items()}

    def __call__(self, *words: str, stdin: str = "", terminal: int | None = None) -> Result:
        # Files, not pipes: conmon inherits them, and stays as long as the container.
        with tempfile.TemporaryFile("w+") as into, tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            into.write(stdin)
            into.seek(0)
            streams = {"stdin": into if terminal is None else terminal, "stdout": out, "stderr": err}
            done = subprocess.run(["podman", *words], **streams, env=self.environment, timeout=SECONDS, check=False)  # type: ignore[call-overload]
            out.seek(0)
            err.seek(0)
            return Result(done.returncode, out.read(), err.read())

    def run(self, *words: str, **how: object) -> Result:
        """``podman run`` with what keeps its processes in a control group of this test's."""
        return self("run", "--cgroups=no-conmon", f"--cgroup-parent={self.parent}", *words, **how)  # type: ignore[arg-type]

    def says(self, *words: str) -> str:
        """What a command prints; it must succeed."""
        result = self(*words)
        assert result.code == 0, result
        return result.out.strip()

    def state(self, name: str) -> dict[str, object]:
        return dict(json.loads(self.says("inspect", name))[0]["State"])


@pytest.fixture
def podman(runtime: Callable[..., object], busybox: Path, directory: Path) -> Iterator[Podman]:
    place = directory / "podman"
    place.mkdir()
    made = Podman(place, runtime.command())  # type: ignore[attr-defined]
    shutil.make_archive(str(place / "image"), "tar", busybox)
    made.says("import", "--quiet", str(place / "image.tar"), "busybox")
    yield made
    made.says("rm", "--all", "--force", "--time=0")
    for pid in processes.children(os.getpid()):  # conmon, and what it starts to clean up, are left to us
        with contextlib.suppress(FileNotFoundError, ChildProcessError):
            if Path(f"/proc/{pid}/comm").read_text().strip() in ("conmon", "podman"):
                os.waitpid(pid, 0)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    for hierarchy in Path("/sys/fs/cgroup").glob(f"**{made.parent}"):
        hierarchy.rmdir()


@pytest.fixture
def box(podman: Podman) -> str:
    """The name of a container that runs until it is told to end."""
    result = podman.run("--detach", "--name=box", "busybox", "sh", "-c", UNTIL_TERM)
    assert (result.code, result.err) == (0, "")
    return "box"


@pytest.mark.parametrize("code", [0, 7])
def test_a_container_is_run_and_its_exit_code_is_the_programs(podman: Podman, code: int) -> None:
    script = f"read line; echo $line; echo two >&2; exit {code}"
    assert podman.run("--rm", "--interactive", "busybox", "sh", "-c", script, stdin="one\n") == Result(code, "one\n", "two\n")
    assert podman.says("ps", "--all", "--quiet") == ""


@pytest.mark.parametrize(("program", "code"), [("/bin/nothing", 127), ("nothing", 127), ("/bin", 126)])
def test_a_program_that_cannot_be_executed_is_told_apart_by_the_exit_code(podman: Podman, program: str, code: int) -> None:
    result = podman.run("--rm", "busybox", program)
    assert result.code == code and program in result.err


def test_a_detached_container_is_stopped_by_its_signal_and_its_end_is_seen(podman: Podman, box: str) -> None:
    assert podman.says("ps", "--format={{.Names}}") == "box"
    assert podman.says("stop", "--time=20", box) == box
    state = podman.state(box)
    assert (state["Status"], state["ExitCode"], state["OOMKilled"]) == ("exited", 5, False)
    assert podman("logs", box) == Result(0, "up\nbye\n", "trouble\n")


def test_a_container_that_was_stopped_can_be_started_again(podman: Podman, box: str) -> None:
    podman.says("stop", box)
    podman.says("start", box)
    assert podman.state(box)["Status"] == "running"
    podman.says("kill", "--signal=KILL", box)
    assert podman.says("wait", box) == "137"


def test_wait_ends_with_the_container(podman: Podman) -> None:
    podman.run("--detach", "--name=short", "busybox", "sh", "-c", "exit 3")
    assert podman.says("wait", "short") == "3"


def test_a_running_container_is_removed_by_force(podman: Podman, box: str) -> None:
    assert podman("rm", box).code != 0
    podman.says("rm", "--force", "--time=0", box)
    assert podman.says("ps", "--all", "--quiet") == ""


def test_programs_are_executed_in_it(podman: Podman, box: str) -> None:
    assert podman("exec", box, "sh", "-c", "echo in; echo err >&2; exit 9") == Result(9, "in\n", "err\n")
    assert podman("exec", "--interactive", box, "cat", stdin="through\n") == Result(0, "through\n", "")
    script = "echo $A; pwd; id -u; id -g"
    assert podman.says("exec", "--env=A=b", "--workdir=/bin", "--user=12:13", box, "sh", "-c", script).split() == ["b", "/bin", "12", "13"]
    assert podman("exec", box, "nothing").code == 127


def test_programs_can_be_executed_and_left_alone(podman: Podman, box: str) -> None:
    podman.says("exec", "--detach", box, "sleep", "1000")
    assert "sleep 1000" in podman.says("exec", box, "ps")


def test_a_container_is_paused_and_goes_on(podman: Podman, box: str) -> None:
    podman.says("pause", box)
    assert podman.state(box)["Status"] == "paused"
    assert podman("exec", box, "true").code != 0
    podman.says("unpause", box)
    assert podman.state(box)["Status"] == "running"
    assert podman.says("exec", box, "sh", "-c", "echo on") == "on"


def test_a_paused_container_is_removed_by_force(podman: Podman, box: str) -> None:
    podman.says("pause", box)
    podman.says("rm", "--force", "--time=0", box)


def test_a_container_has_a_terminal_when_asked_for(podman: Podman) -> None:
    script = "tty; test -c /dev/console && test -t 0 && test -t 2 && echo yes"
    master, slave = pty.openpty()
    try:
        result = podman.run("--rm", "--tty", "busybox", "sh", "-c", script, terminal=slave)
    finally:
        os.close(master)
        os.close(slave)
    assert (result.code, result.out.split()) == (0, ["/dev/pts/0", "yes"])


def test_a_program_is_executed_with_a_terminal(podman: Podman, box: str) -> None:
    assert podman.says("exec", "--tty", box, "tty") == "/dev/pts/0"


@pytest.mark.parametrize(
    ("options", "files", "limit"),
    [
        (("--memory=64m",), ("memory/memory.limit_in_bytes", "memory.max"), str(64 << 20)),
        (("--pids-limit=50",), ("pids/pids.max", "pids.max"), "50"),
        (("--cpu-period=20000", "--cpu-quota=5000"), ("cpu/cpu.cfs_quota_us", "cpu.max"), "5000|5000 20000"),
    ],
)
def test_its_limits_are_in_force_and_it_sees_them(podman: Podman, options: tuple[str, ...], files: tuple[str, ...], limit: str) -> None:
    script = f"cd /sys/fs/cgroup; for file in {' '.join(files)}; do [ ! -e $file ] || cat $file; done"
    result = podman.run("--rm", *options, "busybox", "sh", "-c", script)
    assert result.code == 0 and re.fullmatch(limit, result.out.strip()), result


def test_a_limit_can_be_changed(podman: Podman) -> None:
    assert podman.run("--detach", "--name=limited", "--memory=64m", "busybox", "sleep", "1000").code == 0
    podman.says("update", "--memory=32m", "limited")
    script = "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory.max 2>/dev/null; true"
    assert podman.says("exec", "limited", "sh", "-c", script) == str(32 << 20)


def test_its_statistics_and_processes_are_found(podman: Podman, box: str) -> None:
    assert int(podman.says("stats", "--no-stream", "--format={{.PIDs}}", box)) >= 1
    assert "trap" in podman.says("top", box)


def test_volumes_users_and_capabilities_are_what_was_asked_for(podman: Podman, directory: Path) -> None:
    shared = directory / "shared"
    shared.mkdir()
    (shared / "file").write_text("shared\n")
    options = (f"--volume={shared}:/data:ro", "--user=12:13", "--cap-drop=ALL", "--cap-add=CAP_KILL", "--hostname=box")
    script = "cat /data/file; echo x 2>/dev/null > /data/new || echo read-only; id -u; id -g; cat /proc/sys/kernel/hostname"
    result = podman.run("--rm", *options, "busybox", "sh", "-c", f"{script}; {show('CapBnd')}")
    assert (result.code, result.out.split()) == (0, ["shared", "read-only", "12", "13", "box", "0000000000000020"]), result


def test_a_privileged_container_has_every_capability_and_the_hosts_devices(podman: Podman) -> None:
    script = f"test -c /dev/kmsg && echo kmsg; {show('CapEff')}"
    mine = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd"))
    assert podman.run("--rm", "--privileged", "busybox", "sh", "-c", script) == Result(0, f"kmsg\n{mine}\n", "")


def test_containers_of_a_pod_share_their_network_and_host_name(podman: Podman) -> None:
    podman.run("--detach", "--name=first", "--hostname=shared", "busybox", "sleep", "1000")
    result = podman.run("--rm", "--network=container:first", "--uts=container:first", "--ipc=container:first", "--pid=container:first",
                        "busybox", "sh", "-c", "cat /proc/sys/kernel/hostname; ps")  # fmt: skip
    assert result.code == 0 and result.out.startswith("shared\n") and "sleep 1000" in result.out, result


def test_a_user_namespace_maps_its_root_to_the_ids_that_were_given(podman: Podman) -> None:
    script = "id -u; cat /proc/self/uid_map; echo > /new && echo ok"
    result = podman.run("--rm", "--uidmap=0:100000:65536", "--gidmap=0:100000:65536", "busybox", "sh", "-c", script)
    assert (result.code, result.out.split()) == (0, ["0", "0", "100000", "65536", "ok"]), result


def test_checks_of_health_are_run_in_it(podman: Podman) -> None:
    podman.run("--detach", "--name=checked", "--health-cmd=cat /health", "--health-interval=disable", "busybox", "sleep", "1000")
    assert podman("healthcheck", "run", "checked").code == 1
    podman.says("exec", "checked", "sh", "-c", "echo fine > /health")
    assert podman("healthcheck", "run", "checked").code == 0
