"""dockerd and containerd's shim with each runtime in turn: the same command lines as a person types have the same effect."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.patience import PATIENCE

if TYPE_CHECKING:
    from conftest import Runtime

pytestmark = pytest.mark.skipif(not (shutil.which("dockerd") and shutil.which("docker")), reason="docker is not installed")

SECONDS = 60 * PATIENCE
UNTIL_TERM = "trap 'echo bye; exit 5' TERM; echo up; echo trouble >&2; while :; do sleep 0.05; done"


@dataclasses.dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def daemon(busybox: Path) -> Iterator[Path]:
    """The directory that a dockerd of our own has everything in: images, containers, configuration, and its socket."""
    with tempfile.TemporaryDirectory(prefix="labkit-") as path:
        place = Path(path)
        wrapper = place / "labkit"
        wrapper.write_text('#!/bin/sh\nexec $(cat "${0%/*}/runtime") "$@"\n')  # which it is, each test says
        wrapper.chmod(0o755)
        configuration = {
            "data-root": f"{place}/data", "exec-root": f"{place}/exec", "pidfile": f"{place}/pid", "hosts": [f"unix://{place}/socket"],
            "bridge": "none", "iptables": False, "ip6tables": False, "ip-forward": False, "ip-masq": False,
            "storage-driver": "vfs", "exec-opts": ["native.cgroupdriver=cgroupfs"], "cgroup-parent": f"/labkit-{os.getpid()}",
            "runtimes": {"tested": {"path": str(wrapper)}}, "default-runtime": "tested",
        }  # fmt: skip
        (place / "daemon.json").write_text(json.dumps(configuration))
        (place / "runtime").write_text(shutil.which("true") or "")  # it asks for a version
        with open(place / "log", "w") as log:
            command = ["dockerd", "--config-file", str(place / "daemon.json")]
            dockerd = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_for_socket(dockerd, place)
            shutil.make_archive(str(place / "image"), "tar", busybox)
            Docker(place).says("import", f"{place}/image.tar", "busybox")
            yield place
        finally:
            dockerd.terminate()
            dockerd.wait(SECONDS)
            subprocess.run(["umount", place / "data"], check=False, capture_output=True)  # it makes a mount of it


def wait_for_socket(dockerd: subprocess.Popen[bytes], place: Path) -> None:
    """Follow the log until dockerd says that it listens."""
    ended = os.pidfd_open(dockerd.pid)
    with open(place / "log") as log:
        said = ""
        while "API listen on" not in said:
            assert not select.select([ended], [], [], 0.05)[0], f"dockerd has ended: {said}"
            said += log.read()
    os.close(ended)


class Docker:
    """The command line of docker."""

    def __init__(self, place: Path) -> None:
        self.environment = os.environ | {"DOCKER_HOST": f"unix://{place}/socket", "DOCKER_CONFIG": f"{place}/client"}

    def __call__(self, *words: str, stdin: str = "") -> Result:
        how = {"capture_output": True, "text": True, "env": self.environment, "timeout": SECONDS, "check": False}
        done = subprocess.run(["docker", *words], input=stdin, **how)  # type: ignore[call-overload]
        return Result(done.returncode, done.stdout, done.stderr)

    def run(self, *words: str, stdin: str = "") -> Result:
        """``docker run`` without a network, which would change the machine's."""
        return self("run", "--network=none", *words, stdin=stdin)

    def says(self, *words: str) -> str:
        """What a command prints; it must succeed."""
        result = self(*words)
        assert result.code == 0, result
        return result.out.strip()

    def state(self, name: str) -> dict[str, Any]:
        return dict(json.loads(self.says("inspect", name))[0]["State"])


@pytest.fixture
def docker(daemon: Path, runtime: Runtime) -> Iterator[Docker]:
    (daemon / "runtime").write_text(" ".join(runtime.command()[:-2]))  # the state's place is containerd's to say
    made = Docker(daemon)
    yield made
    if left := made.says("ps", "--all", "--quiet").split():
        made.says("rm", "--force", *left)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass  # the shims, which were left to us
    for hierarchy in Path("/sys/fs/cgroup").glob(f"**/labkit-{os.getpid()}"):
        hierarchy.rmdir()


@pytest.fixture
def box(docker: Docker) -> str:
    """The name of a container that runs until it is told to end."""
    assert docker.run("--detach", "--name=box", "busybox", "sh", "-c", UNTIL_TERM).code == 0
    return "box"


@pytest.mark.parametrize("code", [0, 7])
def test_a_container_is_run_and_its_exit_code_is_the_programs(docker: Docker, code: int) -> None:
    script = f"read line; echo $line; echo two >&2; exit {code}"
    assert docker.run("--rm", "--interactive", "busybox", "sh", "-c", script, stdin="one\n") == Result(code, "one\n", "two\n")
    assert docker.says("ps", "--all", "--quiet") == ""


@pytest.mark.parametrize(("program", "code"), [("/bin/nothing", 127), ("nothing", 127), ("/bin", 126)])
def test_a_program_that_cannot_be_executed_is_told_apart_by_the_exit_code(docker: Docker, program: str, code: int) -> None:
    result = docker.run("--rm", "busybox", program)
    assert result.code == code and program in result.err


def test_a_detached_container_is_stopped_by_its_signal_and_its_end_is_seen(docker: Docker, box: str) -> None:
    assert docker.says("ps", "--format={{.Names}} {{.State}}") == "box running"
    docker.says("stop", "--time=20", box)
    state = docker.state(box)
    assert (state["Status"], state["ExitCode"], state["OOMKilled"]) == ("exited", 5, False)
    assert docker("logs", box) == Result(0, "up\nbye\n", "trouble\n")


def test_a_container_that_was_stopped_can_be_started_again(docker: Docker, box: str) -> None:
    docker.says("stop", box)
    docker.says("start", box)
    assert docker.state(box)["Status"] == "running"
    docker.says("kill", box)
    assert docker.says("wait", box) == "137"


def test_a_running_container_is_removed_by_force(docker: Docker, box: str) -> None:
    assert docker("rm", box).code != 0
    docker.says("rm", "--force", box)
    assert docker.says("ps", "--all", "--quiet") == ""


def test_programs_are_executed_in_it(docker: Docker, box: str) -> None:
    assert docker("exec", box, "sh", "-c", "echo in; echo err >&2; exit 9") == Result(9, "in\n", "err\n")
    assert docker("exec", "--interactive", box, "cat", stdin="through\n") == Result(0, "through\n", "")
    script = "echo $A; pwd; id -u; id -g"
    assert docker.says("exec", "--env=A=b", "--workdir=/bin", "--user=12:13", box, "sh", "-c", script).split() == ["b", "/bin", "12", "13"]
    assert docker.says("exec", "--tty", box, "tty") == "/dev/pts/0"
    docker.says("exec", "--detach", box, "sleep", "1000")
    assert "sleep 1000" in docker.says("exec", box, "ps")


@pytest.mark.parametrize("words", [("nothing",), ("/bin",)])
def test_nor_can_any_program_be_executed_that_is_none(docker: Docker, box: str, words: tuple[str, ...]) -> None:
    result = docker("exec", box, *words)
    assert result.code == 126 and "OCI runtime exec failed" in result.out + result.err


def test_a_container_is_paused_and_goes_on(docker: Docker, box: str) -> None:
    docker.says("pause", box)
    assert docker.state(box)["Status"] == "paused"
    assert docker("exec", box, "true").code != 0
    docker.says("unpause", box)
    assert docker.says("exec", box, "sh", "-c", "echo on") == "on"
    docker.says("pause", box)
    docker.says("rm", "--force", box)


def test_a_container_has_a_terminal_when_asked_for(docker: Docker) -> None:
    script = "tty; test -c /dev/console && test -t 0 && test -t 2 && echo yes"
    assert docker.run("--rm", "--tty", "busybox", "sh", "-c", script).out.split() == ["/dev/pts/0", "yes"]


def test_an_init_of_dockers_reaps_for_it(docker: Docker) -> None:
    assert "docker-init" in docker.run("--rm", "--init", "busybox", "ps").out


def test_a_container_that_takes_too_much_memory_is_killed_and_that_is_told(docker: Docker) -> None:
    hog = "x=x; while :; do x=$x$x; done"
    assert docker.run("--name=hog", "--memory=16m", "--memory-swap=16m", "busybox", "sh", "-c", hog).code == 137
    state = docker.state("hog")
    assert (state["OOMKilled"], state["ExitCode"]) == (True, 137)


def test_its_limits_are_in_force_and_can_be_changed(docker: Docker) -> None:
    options = ("--memory=64m", "--memory-swap=64m", "--pids-limit=50", "--cpu-period=20000", "--cpu-quota=5000")
    assert docker.run("--detach", "--name=limited", *options, "busybox", "sleep", "1000").code == 0
    files = "memory/memory.limit_in_bytes memory.max pids/pids.max pids.max cpu/cpu.cfs_quota_us cpu.max"
    look = ("exec", "limited", "sh", "-c", f"cd /sys/fs/cgroup; cat {files} 2>/dev/null; true")
    assert docker.says(*look).split()[:3] == [str(64 << 20), "50", "5000"]
    docker.says("update", "--memory=32m", "--memory-swap=32m", "--cpu-quota=6000", "limited")
    assert docker.says(*look).split()[:3] == [str(32 << 20), "50", "6000"]
    assert docker.says("stats", "--no-stream", "--format={{.PIDs}}", "limited") == "1"


def test_volumes_users_capabilities_and_settings_are_what_was_asked_for(docker: Docker, directory: Path) -> None:
    shared = directory / "shared"
    shared.mkdir()
    (shared / "file").write_text("shared\n")
    options = (
        f"--volume={shared}:/data:ro", "--tmpfs=/scratch", "--read-only", "--user=12:13", "--cap-drop=ALL", "--cap-add=KILL",
        "--security-opt=no-new-privileges", "--hostname=box", "--sysctl=net.ipv4.ip_forward=1", "--ulimit=nofile=77:88",
        "--device=/dev/null:/dev/mine", "--cgroupns=private",
    )  # fmt: skip
    script = """
        cat /data/file; for file in /data/new /new /scratch/new; do (echo > $file) 2>/dev/null && echo wrote $file; done
        id -u; id -g; cat /proc/sys/kernel/hostname /proc/sys/net/ipv4/ip_forward; ulimit -n; test -c /dev/mine && echo device
        while read name value; do case $name in CapBnd:|NoNewPrivs:) echo $value;; esac; done < /proc/self/status
        while IFS=: read a b path; do [ $path = / ] || echo $path; done < /proc/self/cgroup; true
    """
    result = docker.run("--rm", *options, "busybox", "sh", "-c", script)
    expected = ["shared", "wrote", "/scratch/new", "12", "13", "box", "1", "77", "device", "0000000000000020", "1"]
    assert (result.code, result.out.split(), result.err) == (0, expected, "")


@pytest.mark.labkit_only("docker asks for every capability that it knows, and runc wants a machine that has them")
def test_a_privileged_container_has_the_hosts_devices_and_capabilities(docker: Docker) -> None:
    script = "test -c /dev/kmsg && echo kmsg; while read name value; do [ $name = CapEff: ] && echo $value; done < /proc/self/status; true"
    result = docker.run("--rm", "--privileged", "busybox", "sh", "-c", script)
    device, effective = result.out.split()
    mine = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd"))
    everything = (1 << 38) - 1  # of docker 20.10, up to CAP_AUDIT_READ
    assert device == "kmsg" and int(effective, 16) & everything == int(mine, 16) & everything


def test_namespaces_are_shared_with_another_container_or_the_host(docker: Docker) -> None:
    docker.run("--detach", "--name=first", "--hostname=shared", "--ipc=shareable", "busybox", "sleep", "1000")
    words = ("run", "--rm", "--network=container:first", "--ipc=container:first", "--pid=container:first", "busybox")
    assert "sleep 1000" in docker.says(*words, "ps")
    script = "for kind in ipc pid uts; do busybox readlink /proc/self/ns/$kind; done"
    seen = docker.run("--rm", "--ipc=host", "--pid=host", "--uts=host", "busybox", "sh", "-c", script).out
    assert seen.split() == [os.readlink(f"/proc/self/ns/{kind}") for kind in ("ipc", "pid", "uts")]


def test_files_are_copied_in_and_out(docker: Docker, box: str, directory: Path) -> None:
    (directory / "file").write_text("there and back\n")
    docker.says("cp", f"{directory}/file", "box:/there")
    assert docker.says("exec", box, "cat", "/there") == "there and back"
    docker.says("cp", "box:/there", f"{directory}/back")
    assert (directory / "back").read_text() == "there and back\n"
