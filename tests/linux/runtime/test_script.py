"""The script that a plan prints, run by ``sh`` where nothing of labkit can be found, makes the container that the plan makes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit import runtime
from labkit.linux import capabilities, cgroups
from labkit.linux import mounts as linux_mounts
from labkit.runtime.plans import Plan
from labkit.runtime.steps.filesystem import MountRoot
from labkit.runtime.steps.groups import SetCgroupFile
from tests.patience import PATIENCE

Bundle = Callable[..., str]

ID = "labkit-test-script"
SECONDS = 30 * PATIENCE  # that a script may take before a test gives up on it
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
DOCKERS = sorted(capabilities.DEFAULT)
LIKE_DOCKER = {
    "hostname": "student-7",
    "domainname": "example.org",
    "process.capabilities": dict.fromkeys(("bounding", "effective", "permitted"), DOCKERS),
    "process.noNewPrivileges": False,
    "process.env": ["PATH=/bin", "HOME=/root", "COLOUR=blue"],
    "process.oomScoreAdj": 500,
    "process.user": {"uid": 0, "gid": 0, "umask": 0o027},
    "process.rlimits": [
        {"type": "RLIMIT_NOFILE", "soft": 64, "hard": 128},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": (1 << 64) - 1},
        {"type": "RLIMIT_NPROC", "soft": 1000, "hard": 2000},
    ],
    "linux.resources.memory": {"limit": 64 << 20},
    "linux.resources.pids": {"limit": 17},
    "linux.resources.cpu": {"quota": 50000, "period": 100000, "shares": 512},
    "linux.sysctl": {"net.ipv4.ip_forward": "1", "kernel.msgmax": "4242"},
}

STRICTER = {"process.noNewPrivileges": True, "root.readonly": True, "process.user": {"uid": 7, "gid": 8, "additionalGids": [9, 10]}}
Scripted = Callable[[Plan], list[str]]
Both = Callable[..., tuple[runtime.Finished, runtime.Finished]]


@pytest.fixture
def scripted(directory: Path) -> Scripted:
    """The command that runs a plan's script."""

    def command(plan: Plan) -> list[str]:
        file = directory / "script.sh"
        file.write_text(plan.shell())
        return ["env", "-i", f"PATH={PATH}", "sh", str(file)]

    return command


@pytest.fixture
def both(root: str, scripted: Scripted) -> Both:
    """``both(bundle)``: how the program ends and what it writes, in the container that the plan makes and in the script's."""

    def run(path: str, rootfs: tuple[MountRoot, ...] = ()) -> tuple[runtime.Finished, runtime.Finished]:
        plan = runtime.plan(path, ID, root, rootfs)
        by_plan = runtime.run(plan)
        done = subprocess.run(scripted(plan), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False)
        return by_plan, runtime.Finished(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    yield
    assert not cgroups.Cgroup(f"labkit/{ID}").exists()


SEEN = {
    "host name": "hostname; cat /proc/sys/kernel/domainname",
    "process 1": "echo $$ /proc/[0-9]*",
    "root file system": "find / /dev /dev/pts /dev/shm -xdev -exec stat -c '%F %a %u:%g %t:%T %N' {} + | sort",
    "mounts": "cat /proc/self/mountinfo",
    "resource limits": "cat /proc/self/limits",
    "rights": "grep -E '^(Cap|NoNewPrivs|Uid|Gid|Groups)' /proc/self/status",
    "environment": "env | sort; pwd",
    "network": "ip link; ip addr",
    "settings": "sysctl net.ipv4.ip_forward kernel.msgmax; cat /proc/self/oom_score_adj; umask",
    "hidden paths": "for path in /proc/kcore /proc/keys /proc/timer_list; do wc -c $path; done; ls -A /sys/firmware",
    "read-only paths": "for path in / /bin /proc/* /proc/sys/*/* /sys /sys/fs/* /sys/fs/cgroup/*; do [ -w $path ] && echo $path; done",
    "devices": "cd /dev; for node in 'mem c 1 1' 'nothing c 1 5'; do mknod $node && head -c 3 ${node%% *} | wc -c; done; cd /; echo",
    "descriptors": "cd /proc/1/fd; echo *",
}


@pytest.mark.parametrize("changes", [LIKE_DOCKER, LIKE_DOCKER | STRICTER], ids=["like Docker", "stricter"])
@pytest.mark.parametrize("what", SEEN)
def test_the_program_sees_the_same(both: Both, bundle: Bundle, what: str, changes: dict[str, object]) -> None:
    by_plan, by_script = both(bundle(changes, "sh", "-c", SEEN[what]))
    if what == "mounts":
        assert mounts(by_script.stdout) == mounts(by_plan.stdout)
    else:
        assert by_script == by_plan
    assert by_plan.stdout


def mounts(mountinfo: str) -> list[tuple[str, ...]]:
    """What is mounted where, and how; without the numbers, which are other ones each time."""
    return [(words[4], words[5], *words[words.index("-") + 1 :]) for words in map(str.split, mountinfo.splitlines())]


@pytest.mark.parametrize(("uid", "needed"), [(0, {"CAP_SYS_CHROOT"}), (7, {"CAP_SYS_CHROOT", "CAP_SETUID", "CAP_SETGID"})])
def test_what_chroot_needs_to_the_end_the_program_could_have_too(both: Both, bundle: Bundle, uid: int, needed: set[str]) -> None:
    """The one difference: a shell cannot be without these and change its root, and its user."""
    path = bundle({"process.user": {"uid": uid, "gid": uid}}, "grep", "-E", "^(Cap|Uid)", "/proc/self/status")
    by_plan, by_script = (sets(done.stdout) for done in both(path))
    kept = {"CapBnd", "CapPrm", "CapEff"} if uid == 0 else {"CapBnd"}
    assert by_script == {name: names | (needed if name in kept else set()) for name, names in by_plan.items()} != {}


def sets(status: str) -> dict[str, frozenset[str]]:
    return {name: capabilities.names(int(mask, 16)) for name, mask in re.findall(r"(Cap\w+):\t(\w+)", status)}


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_its_exit_code_is_the_programs(both: Both, bundle: Bundle, code: int) -> None:
    assert both(bundle({}, "sh", "-c", f"exit {code}")) == (runtime.Finished(code, "", ""),) * 2


def test_a_program_that_is_not_there_is_exit_code_127(root: str, scripted: Scripted, bundle: Bundle) -> None:
    done = subprocess.run(scripted(runtime.plan(bundle({}, "no-such-program"), ID, root)), capture_output=True, text=True, check=False)
    assert done.returncode == 127 and "no-such-program" in done.stderr


ODD = ["", " ", "a b", "it's", 'say "x"', "$HOME", "$(id)", "`id`", "a\\b", "*", "~", "-n", "a;b", "a\nb", "!x", "{a,b}", "#", "名"]


def test_odd_arguments_and_values_arrive_as_they_were_written(both: Both, bundle: Bundle) -> None:
    environment = [f"ODD{number}={word}" for number, word in enumerate(ODD)]
    changes = {"process.env": ["PATH=/bin", "HOME=/", *environment]}
    by_plan, by_script = both(bundle(changes, "sh", "-c", "printf '<%s>' \"$@\"; printf '\\n\\n'; cat /proc/self/environ", "sh", *ODD))
    arguments, _, rest = by_script.stdout.partition("\n\n")
    assert arguments == "".join(f"<{word}>" for word in ODD)
    assert {"PATH=/bin", "HOME=/", *environment} <= set(rest.split("\0"))
    assert by_script == by_plan


def test_a_heredoc_does_not_end_in_the_middle_of_an_argument(both: Both, bundle: Bundle) -> None:
    by_plan, by_script = both(bundle({}, "echo", "one\nCONTAINER\ntwo"))
    assert by_script == by_plan == runtime.Finished(0, "one\nCONTAINER\ntwo\n", "")


def test_files_and_directories_of_the_host_are_bound_into_it(both: Both, bundle: Bundle, directory: Path) -> None:
    source = directory / "of the host's"
    source.mkdir()
    (source / "file").write_text("contents\n")
    binds = [
        {"destination": "/data", "source": str(source), "options": ["bind", "ro", "nosuid"]},
        {"destination": "/with a space/deep", "source": str(source), "options": ["rbind", "noexec", "rslave"]},
        {"destination": "/etc/motd", "source": str(source / "file"), "options": ["bind"]},
        {"destination": "/new/file", "source": str(source / "file"), "options": ["bind", "ro"]},
    ]
    script = "cat /data/file '/with a space/deep/file' /etc/motd /new/file; touch /data/x /new/file; grep host /proc/self/mountinfo"
    path = bundle({}, "sh", "-c", script)
    config = json.loads(Path(path, "config.json").read_text())
    config["mounts"] += binds
    Path(path, "config.json").write_text(json.dumps(config))
    by_plan, by_script = both(path)
    assert by_plan.stdout.startswith("contents\n" * 4) and by_plan.stderr.count("Read-only file system") == 2
    assert mounts(by_script.stdout.replace("contents\n", "")) == mounts(by_plan.stdout.replace("contents\n", ""))
    assert (by_script.code, by_script.stderr) == (by_plan.code, by_plan.stderr)


@pytest.fixture
def disk(directory: Path) -> Iterator[Path]:
    """A file system that can hold an upper directory, as the one of a lab in a container cannot."""
    place = directory / "disk"
    place.mkdir()
    with linux_mounts.mounted("tmpfs", str(place), "tmpfs", ["size=16m"]):
        yield place


def test_the_layers_of_an_image_are_its_root_and_changes_go_to_the_upper_directory(both: Both, bundle: Bundle, disk: Path) -> None:
    for name in ("layer", "upper", "work", "merged"):
        (disk / name).mkdir()
    (disk / "layer/etc").mkdir()
    (disk / "layer/etc/motd").write_text("of the layer\n")
    path = bundle({"root.path": str(disk / "merged")}, "sh", "-c", "cat /etc/motd; echo new >> /etc/motd; rm /etc/group; ls -a / /etc")
    layers = (f"lowerdir={disk}/layer:{path}/rootfs", f"upperdir={disk}/upper", f"workdir={disk}/work")
    root = MountRoot("overlay", "overlay", str(disk / "merged"), layers)
    by_plan, by_script = both(path, (root,))
    # The script finds what the plan's container has left in the upper directory.
    assert by_plan.stdout.startswith("of the layer\n")
    assert by_script.stdout.startswith("of the layer\nnew\n")
    assert by_script.stdout.partition("/:")[2] == by_plan.stdout.partition("/:")[2] != ""
    assert (disk / "upper/etc/motd").read_text() == "of the layer\nnew\nnew\n"


def test_its_limits_are_in_force_while_it_runs_and_then_its_group_is_gone(root: str, scripted: Scripted, bundle: Bundle) -> None:
    plan = runtime.plan(bundle(LIKE_DOCKER, "sh", "-c", "echo; exec cat"), ID, root)
    with runtime.create(plan):
        by_plan = limits(plan)
    with running(scripted(plan)) as script:
        assert limits(plan) == by_plan
        script.stdin.close()  # type: ignore[union-attr]
        assert script.wait(SECONDS) == 0
    assert str(64 << 20) + "\n" in by_plan.values() and "17\n" in by_plan.values()
    assert limits(plan) == {}


def limits(plan: Plan) -> dict[str, str]:
    """What the kernel says of every limit that the plan sets, and of devices in version 1."""
    wanted = [step.setting.file for step in plan if isinstance(step, SetCgroupFile)]
    wanted += [f"{directory}/devices.list" for directory in cgroups.directories(f"labkit/{ID}", cgroups.detect())]
    return {file: Path(file).read_text() for file in wanted if f"/labkit/{ID}/" in file and os.path.exists(file)}


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """The script when its program has said its first line; it gets a standard input that does not end."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True) as script:
        assert script.stdout and script.stdout.readline() == "\n"
        yield script


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_for_the_program_and_when_that_has_ended_nothing_is_left(
    root: str, scripted: Scripted, bundle: Bundle, number: signal.Signals
) -> None:
    """As by ctrl-c in its terminal, which all that stand in the foreground get."""
    plan = runtime.plan(bundle({}, "sh", "-c", f"trap 'exit 42' {number}; echo; while :; do read line; done"), ID, root)
    with running(scripted(plan)) as script:
        os.killpg(script.pid, number)
        assert script.wait(SECONDS) == 42


def test_when_its_terminal_is_closed_it_ends_and_leaves_nothing(root: str, scripted: Scripted, bundle: Bundle) -> None:
    plan = runtime.plan(bundle({}, "sh", "-c", "echo; cat; sleep infinity"), ID, root)
    with running(scripted(plan)) as script:
        os.killpg(script.pid, signal.SIGHUP)
        assert script.wait(SECONDS) == 128 + signal.SIGHUP
