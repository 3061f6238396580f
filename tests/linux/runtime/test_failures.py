"""What goes wrong with a container is told in words, ends there, and leaves nothing: ``root`` and the root conftest.py look."""

from __future__ import annotations

import json
import os
import re
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from labkit import runtime
from labkit.errors import Conflict, KernelError, LabError, Unsupported
from labkit.linux import cgroups, mounts, overlays, processes
from labkit.runtime import monitor
from labkit.runtime.plans import Plan
from labkit.runtime.steps.filesystem import MountRoot
from tests.patience import PATIENCE

Bundle = Callable[..., str]
Command = Callable[..., subprocess.CompletedProcess[str]]

ID = "labkit-test-failure"
LABKIT = os.path.join(os.path.dirname(sys.executable), "labkit")
SECONDS = 30 * PATIENCE  # that a command may take before a test gives up on it


@pytest.fixture
def labkit(root: str) -> Command:
    """``labkit("run", "-b", bundle, ID)``: the command line, on the same containers."""

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        command = [LABKIT, "runtime", "--root", root, *words]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False)

    return call


# Limits


def test_a_limit_that_this_machine_cannot_set_is_refused_with_the_reason(bundle: Bundle, root: str, labkit: Command) -> None:
    if cgroups.detect().controllers["memory"].version == 2:
        limit, reason = {"memory": {"swappiness": 10}}, "swappiness: version 2 control groups have none of their own"
    else:
        limit, reason = {"unified": {"memory.high": "1000"}}, "memory.high is a file of version 2"
    path = bundle({"linux.resources": limit}, "true")
    with pytest.raises(Unsupported, match=reason):
        runtime.run(path, root=root)
    done = labkit("run", "-b", path, ID)
    assert (done.returncode, done.stdout) == (1, "") and reason in done.stderr


@pytest.mark.parametrize(
    ("resources", "file"),
    [({"cpus": "4000"}, "cpuset.cpus"), ({"mems": "999"}, "cpuset.mems"), ({"quota": 10, "period": 100000}, "cpu.")],
)
def test_a_limit_that_the_kernel_refuses_is_told_with_its_file(
    bundle: Bundle, root: str, labkit: Command, resources: dict[str, object], file: str
) -> None:
    path = bundle({"linux.resources.cpu": resources}, "true")
    with pytest.raises(KernelError, match=file):
        runtime.run(path, root=root)
    done = labkit("run", "-b", path, ID)
    assert done.returncode == 1 and file in done.stderr and "Traceback" not in done.stderr


def test_a_memory_limit_that_is_too_small_for_a_container_to_be_made_is_told_so(bundle: Bundle, root: str) -> None:
    with pytest.raises(LabError, match="memory limit is too small"):
        runtime.run(bundle({"linux.resources.memory": {"limit": 64 << 10}}, "true"), root=root)


def test_a_program_that_takes_more_memory_than_it_may_is_killed_and_the_kernel_counts_it(bundle: Bundle, root: str) -> None:
    hog = ("dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1")
    with runtime.create(bundle({"linux.resources.memory": {"limit": 32 << 20}}, *hog), root=root) as box:
        box.start()
        assert box.wait().code == 137
        assert box.status == "stopped"
        assert cgroups.Cgroup(box.cgroup).events().oom_kill == 1


def test_a_hog_beside_the_first_process_is_killed_alone(bundle: Bundle, root: str) -> None:
    with runtime.create(bundle({"linux.resources.memory": {"limit": 32 << 20}}), root=root) as box:
        box.start()
        assert box.exec("dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1").code == 137
        assert (box.status, box.exec("echo", "fine").stdout) == ("running", "fine\n")


BOMB = "mkfifo /tmp/fifo; bomb() { bomb & bomb & wait; }; bomb 2> /tmp/fifo & head -n 1 /tmp/fifo"


def test_a_fork_bomb_ends_at_its_limit_and_with_its_container(bundle: Bundle, root: str) -> None:
    with runtime.create(bundle({"linux.resources.pids": {"limit": 20}}, "sh", "-c", BOMB), root=root) as box:
        box.start()
        assert "can't fork" in box.wait().stdout  # by now the first process has ended, and the kernel has ended all others
        assert cgroups.Cgroup(box.cgroup).events().pids_max_hit
        assert box.processes() == ()


def test_a_container_that_is_full_of_processes_harms_no_other_and_is_deleted(bundle: Bundle, root: str) -> None:
    fill = "while :; do sleep infinity & done 2> /tmp/fifo & exec sleep infinity"
    path = bundle({"linux.resources.pids": {"limit": 20}}, "sh", "-c", fill)
    os.mkfifo(f"{path}/rootfs/tmp/fifo")
    with runtime.create(path, root=root) as box:
        box.start()
        with open(f"{path}/rootfs/tmp/fifo") as errors:
            assert "can't fork" in errors.readline()
        with pytest.raises(KernelError, match=r"EAGAIN \(the container's limit of processes is reached"):
            box.exec("true")
        assert runtime.run(bundle({}, "echo", "unharmed"), root=root).stdout == "unharmed\n"
        assert 15 < len(box.processes()) <= 20


# Programs


SCRIPTS = {"/script": "#!/not/there\n", "/garbage": "\x7fnot a program", "/text": "plain words\n"}
CANNOT_BE_RUN = [
    ("no-such-program", "ENOENT .*not found", 127),
    ("/no/such/program", "ENOENT .*no such file", 127),
    ("/script", "ENOENT .*interpreter or dynamic loader is missing", 127),
    ("/etc/passwd", "EACCES .*not executable", 126),
    ("/etc", "EACCES .*not a regular file", 126),
    ("/garbage", "ENOEXEC .*exec format error", 126),
    ("/text", "ENOEXEC .*exec format error", 126),
]


@pytest.fixture
def programs(bundle: Bundle) -> Callable[..., str]:
    """A bundle with executable files that the kernel executes not."""

    def make(*args: str) -> str:
        path = bundle({}, *args)
        for name, text in SCRIPTS.items():
            Path(f"{path}/rootfs{name}").write_text(text)
            os.chmod(f"{path}/rootfs{name}", 0o755)
        return path

    return make


@pytest.mark.parametrize(("program", "message", "code"), CANNOT_BE_RUN)
def test_a_program_that_cannot_be_run(
    programs: Callable[..., str], root: str, labkit: Command, program: str, message: str, code: int
) -> None:
    path = programs(program)
    with pytest.raises(KernelError, match=f"exec {program}: {message}"):
        runtime.run(path, root=root)
    done = labkit("run", "-b", path, ID)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)


@pytest.mark.parametrize(("program", "message", "code"), CANNOT_BE_RUN)
def test_nor_can_it_be_executed_in_a_container_which_does_not_mind(
    programs: Callable[..., str], root: str, labkit: Command, program: str, message: str, code: int
) -> None:
    with runtime.create(programs(), ID, root) as box:
        box.start()
        with pytest.raises(KernelError, match=f"exec {program}: {message}"):
            box.exec(program)
        done = labkit("exec", ID, program)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
        assert box.exec("echo", "fine").stdout == "fine\n"
        assert box.processes() == (box.pid,)


@pytest.mark.parametrize(("cwd", "code"), [("/proc/none", 127), ("/etc/passwd", 1), ("/etc/passwd/below", 1)])
def test_a_working_directory_that_is_none_is_refused(bundle: Bundle, root: str, labkit: Command, cwd: str, code: int) -> None:
    path = bundle({"process.cwd": cwd}, "true")
    with pytest.raises(KernelError, match=f"chdir to {cwd}: E(NOENT|NOTDIR)"):
        runtime.run(path, root=root)
    assert labkit("run", "-b", path, ID).returncode == code
    with runtime.create(bundle(), ID, root):
        done = labkit("exec", "--cwd", cwd, ID, "true")
        assert done.returncode == code and f"chdir to {cwd}" in done.stderr


def test_a_program_executed_in_a_container_ends_when_that_is_deleted(bundle: Bundle, root: str) -> None:
    box = runtime.create(bundle(), root=root)
    box.start()
    ended: list[runtime.Finished] = []
    waiting = threading.Thread(target=lambda: ended.append(box.exec("sh", "-c", "echo > /there; sleep infinity")))
    waiting.start()
    box.exec("sh", "-c", "until [ -e /there ]; do :; done")
    box.delete(force=True)
    waiting.join(SECONDS)
    assert [each.code for each in ended] == [137]


def test_even_where_it_outlives_the_first_process(bundle: Bundle, root: str, labkit: Command) -> None:
    """Without a PID namespace, the kernel ends nobody along with it."""
    kinds = [{"type": kind} for kind in ("mount", "network", "ipc", "uts")]
    box = runtime.create(bundle({"linux.namespaces": kinds}, "sleep", "infinity"), ID, root)
    box.start()
    pid_file = f"{root}/../pid"
    # The command hands its standard streams on; here they are files that end with nobody.
    command = [LABKIT, "runtime", "--root", root, "exec", "-d", "--pid-file", pid_file, ID, "sleep", "infinity"]
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=SECONDS, check=True)
    pid = int(Path(pid_file).read_text())
    box.kill("KILL")
    assert box.wait().code == 137
    assert (box.status, box.processes()) == ("stopped", (pid,))
    box.delete()
    assert not processes.alive(pid)


# Names


def test_a_second_container_of_a_name_is_refused_and_the_first_unharmed(bundle: Bundle, root: str, labkit: Command) -> None:
    limited = {"linux.resources.pids": {"limit": 20}, "hostname": "first"}
    with runtime.create(bundle(limited), ID, root) as box:
        box.start()
        pid = box.pid
        second = bundle({"linux.resources.pids": {"limit": 5}}, "true")
        for attempt in (runtime.run, runtime.create):
            with pytest.raises(Conflict, match=f"container {ID}: there is one of that id"):
                attempt(second, ID, root)
        done = labkit("run", "-b", second, ID)
        assert done.returncode == 1 and f"container {ID}: there is one of that id" in done.stderr
        assert (box.status, box.pid, box.exec("hostname").stdout) == ("running", pid, "first\n")
        assert cgroups.Cgroup(box.cgroup).limits_in_force().pids == 20


def test_of_many_that_ask_for_one_name_at_once_one_gets_it(bundle: Bundle, root: str) -> None:
    path = bundle({}, "sh", "-c", "read line; hostname")
    results: list[object] = []

    def ask() -> None:
        try:
            results.append(runtime.create(path, ID, root))
        except Conflict as error:
            results.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(SECONDS)
    (box,) = [each for each in results if isinstance(each, runtime.Container)]
    assert len(results) == 8
    with box:
        box.start()
        assert box.wait().stdout == "labkit\n"


# Disks


@pytest.fixture
def small(directory: Path) -> Iterator[Path]:
    """A disk of a megabyte."""
    place = directory / "small"
    place.mkdir()
    with mounts.mounted("tmpfs", str(place), "tmpfs", ["size=1m"]):
        yield place


def layered(bundle: str, root: str, upper: Path, *args: str) -> Plan:
    """A container whose changes go to a directory below ``upper``."""
    for name in ("upper", "work", "merged"):
        (upper / name).mkdir(parents=True, exist_ok=True)
    config = Path(bundle, "config.json")
    config.write_text(config.read_text().replace('"path": "rootfs"', f'"path": "{upper}/merged"'))
    options = overlays.options([f"{bundle}/rootfs"], f"{upper}/upper", f"{upper}/work")
    return runtime.plan(bundle, root=root, rootfs=[MountRoot("overlay", "overlay", f"{upper}/merged", options)])


def test_a_disk_that_is_full_is_the_programs_trouble_alone(bundle: Bundle, root: str, small: Path) -> None:
    path = bundle({}, "sh", "-c", "dd if=/dev/zero of=/big bs=64k; rm /big && echo again > /small && cat /small")
    done = runtime.run(layered(path, root, small))
    assert (done.code, done.stdout) == (0, "again\n") and "No space left on device" in done.stderr
    assert not Path(path, "rootfs/big").exists()


def test_on_a_full_disk_no_container_is_made_and_the_error_says_so(bundle: Bundle, root: str, directory: Path) -> None:
    path = bundle({"mounts+": {"destination": "/new/place", "type": "tmpfs", "source": "tmpfs"}}, "true")
    small = directory / "small"
    small.mkdir()
    codes = []
    for inodes in range(5, 20):
        with mounts.mounted("tmpfs", str(small), "tmpfs", [f"nr_inodes={inodes}"]):
            try:
                codes.append(runtime.run(layered(path, root, small)).code)
            except KernelError as error:
                assert "ENOSPC" in str(error)
                codes.append(-1)
    assert sorted(codes) == codes and set(codes) == {-1, 0}


def test_an_upper_directory_on_an_overlay_is_refused_with_the_reason(bundle: Bundle, root: str, small: Path) -> None:
    for name in ("lower", "upper", "work", "union"):
        (small / name).mkdir()
    mounts.overlay([str(small / "lower")], str(small / "upper"), str(small / "work"), str(small / "union"))
    try:
        with pytest.raises(KernelError, match=r"mount overlay on .*/merged: EINVAL \(upperdir is itself on overlayfs"):
            runtime.run(layered(bundle({}, "true"), root, small / "union" / "c1"))
    finally:
        mounts.unmount(str(small / "union"))


@pytest.mark.parametrize("options", [["nr_inodes={}"], ["size={}k"]], ids=["files", "bytes"])
def test_where_the_state_finds_no_room_no_container_is_made(bundle: Bundle, directory: Path, labkit: Command, options: list[str]) -> None:
    path = bundle({}, "echo", "made")
    place = directory / "full"
    place.mkdir()
    outcomes = []
    for room in range(1, 20):
        with mounts.mounted("tmpfs", str(place), "tmpfs", [word.format(room) for word in options]):
            try:
                outcomes.append(runtime.run(path, ID, str(place / "state")).stdout)
            except KernelError as error:
                outcomes.append("")
                assert re.fullmatch(rf"(mkdir|write|bind) {place}/state.*: ENOSPC \(No space left on device\)", str(error))
            done = labkit("--root", str(place / "state"), "run", "-b", path, ID)
            assert done.stdout == "made\n" or (done.returncode == 1 and "ENOSPC" in done.stderr and done.stderr.count("\n") == 1)
            assert list((place / "state").glob("*")) == []
    assert sorted(outcomes) == outcomes and set(outcomes) == {"", "made\n"}


def test_where_the_state_cannot_be_written_no_container_is_made(bundle: Bundle, directory: Path, labkit: Command) -> None:
    path = bundle({}, "true")
    place = directory / "readonly"
    place.mkdir()
    with mounts.mounted("tmpfs", str(place), "tmpfs", ["ro"]):
        for root, name in ((place, "EROFS"), (place / "state", "EROFS"), (Path("/dev/null"), "EEXIST"), (Path("/dev/null/x"), "ENOTDIR")):
            with pytest.raises(KernelError, match=f"mkdir {root}.*: {name}"):
                runtime.run(path, root=str(root))
            done = labkit("--root", str(root), "run", "-b", path, ID)
            assert done.returncode == 1 and name in done.stderr and done.stderr.count("\n") == 1


# Reports


def test_that_a_program_has_ended_is_told_after_that_it_was_created(root: str) -> None:
    """However short it is: the builder tells the one, the monitor the other, and nobody looks for what has been told before."""
    ours, theirs = socket.socketpair()
    built, build = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(build)
            ours.close()
            a_monitor(root, theirs, built)
        finally:
            os._exit(1)
    theirs.close()
    os.close(built)
    assert select.select([ours], [], [], 0.2)[0] == []  # the program has ended long since
    os.close(build)
    with ours, ours.makefile() as line:
        assert [next(iter(json.loads(message))) for message in line] == ["created", "ended"]
    assert os.waitpid(pid, 0)[1] == 0


def a_monitor(root: str, line: socket.socket, built: int) -> NoReturn:
    """The monitor of a program that has ended before its builder gets to speak, which it does when ``built`` ends."""
    hears, tells = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    program = os.fork()
    if program == 0:
        os._exit(0)
    builder = os.fork()
    if builder == 0:
        hears.close()
        told = {"root": root, "id": ID, "new": False}
        tells.send(json.dumps(told).encode())
        socket.send_fds(tells, [json.dumps({**told, "pid": program, "remove": False, "log": ""}).encode()], [line.fileno()])
        os.read(built, 1)
        line.sendall(b'{"created": 1}\n')
        os._exit(0)
    tells.close()
    line.close()
    monitor._live(builder, hears, None)
    os._exit(0)
