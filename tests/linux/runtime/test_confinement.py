"""A container cannot see, signal or write to the host; each test tries."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit import runtime
from labkit.errors import KernelError, LabError
from labkit.linux import capabilities, processes

Out = Callable[..., str]
Bundle = Callable[..., str]

LABKIT = os.path.join(os.path.dirname(sys.executable), "labkit")

EVERY = list(capabilities.NAMES[: capabilities.last() + 1])
DOCKERS = sorted(capabilities.DEFAULT)
ROOTLIKE = {"process.capabilities": dict.fromkeys(("bounding", "effective", "permitted"), EVERY)}
LIKE_DOCKER = {"process.capabilities": dict.fromkeys(("bounding", "effective", "permitted"), DOCKERS)}


# Processes


def test_it_sees_no_process_but_its_own(out: Out) -> None:
    assert out("ls -d /proc/[0-9]*; cat /proc/1/comm") == "/proc/1\ncat"


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "infinity"]) as process:
        yield process
        assert process.poll() is None, "the host's process was hit"
        process.kill()


def test_it_signals_no_process_but_its_own_with_every_capability_there_is(out: Out, victim: subprocess.Popen[bytes]) -> None:
    script = f"kill -0 {victim.pid} 2>&1 | grep -o 'No such process'; kill -KILL -1 2>&1; echo alive"
    assert out(script, ROOTLIKE).split("\n")[::2] == ["No such process", "alive"]
    assert processes.alive(os.getpid())


# Kernel settings and hardware


@pytest.mark.parametrize(
    "path",
    [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/hostname",
        "/proc/sys/vm/drop_caches",
        "/proc/sysrq-trigger",
        "/proc/irq/default_smp_affinity",
        "/sys/kernel/mm/transparent_hugepage/enabled",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/cgroup.procs",
    ],
)
def test_it_writes_to_no_setting_of_the_kernel(out: Out, path: str) -> None:
    script = f"[ -e {path} ] || {{ echo refused; exit; }}; (echo x > {path}) 2>/dev/null && echo written || echo refused"
    assert out(script, LIKE_DOCKER) == "refused"


@pytest.mark.parametrize("path", ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"])
def test_what_the_kernel_tells_of_the_machine_is_hidden(out: Out, path: str) -> None:
    assert out(f"if [ -d {path} ]; then ls -A {path}; elif [ -e {path} ]; then head -c 1 {path}; fi", ROOTLIKE) == ""


def test_its_dev_has_no_kernel_log_and_no_disk(out: Out) -> None:
    assert out("cd /dev; echo *") == "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"


def a_disk() -> tuple[int, int]:
    """Some block device of this machine."""
    for line in Path("/proc/partitions").read_text().splitlines()[2:]:
        major, minor, *_ = line.split()
        return int(major), int(minor)
    return 7, 0


@pytest.mark.parametrize("resources", [{"devices": [{"allow": False, "access": "rwm"}]}, {}], ids=["denied", "not mentioned"])
def test_the_hosts_disk_and_kernel_log_cannot_be_opened_through_nodes_of_its_own_making(out: Out, resources: dict[str, object]) -> None:
    major, minor = a_disk()
    script = f"mknod disk b {major} {minor}; mknod kmsg c 1 11; mknod mem c 1 1; for node in disk kmsg mem; do head -c 1 $node; done"
    # In a file system that lets nodes be opened: the root itself may be in a /tmp that does not (nodev, as systemd mounts it).
    script = f"mount -t tmpfs nodes /tmp && cd /tmp; {script}"
    refusals = out(f"({script}) 2>&1; true", {**ROOTLIKE, "linux.resources": resources}).split("\n")
    assert refusals == [f"head: {node}: Operation not permitted" for node in ("disk", "kmsg", "mem")]


# Mounts


def test_its_mount_table_has_nothing_of_the_hosts(out: Out) -> None:
    targets = out("cut -d' ' -f5 /proc/self/mountinfo").split()
    assert targets.count("/") == 1 and {target.split("/")[1] for target in targets} == {"", "proc", "dev", "sys"}


def test_with_every_capability_it_still_finds_no_way_back_to_the_old_root(out: Out, directory: Path) -> None:
    (directory / "outside").write_text("the host's")
    # The classic escape from a chroot: a root below, and then up and up from a working directory outside of it.
    script = f"mkdir -p /deep; cd /; chroot /deep /no 2>/dev/null; cat /../../../../..{directory}/outside 2>&1 | grep -o 'No such file'"
    assert out(script, ROOTLIKE) == "No such file"
    assert out("umount -l / 2>/dev/null; ls /../../ | grep -c -E '^(boot|srv|usr/lib)$'; true", ROOTLIKE) == "0"


def our_mounts() -> list[str]:
    """The host's mounts, without those of a lesson that is taken at the same time."""
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if " /run/labkit/lessons/" not in line]


def test_what_it_mounts_stays_in_it(out: Out) -> None:
    before = our_mounts()
    script = "mount -t tmpfs tmpfs /home && mount --make-shared /home && mkdir /home/x && mount -t tmpfs tmpfs /home/x && echo ok"
    assert out(script, ROOTLIKE) == "ok"
    assert our_mounts() == before


# Descriptors and directories


def test_only_three_descriptors_are_handed_to_it(out: Out) -> None:
    assert out("ls /proc/1/fd; true") == "0\n1\n2"


def test_only_three_descriptors_are_handed_to_a_program_executed_in_it(bundle: Bundle, root: str) -> None:
    with runtime.create(bundle(), root=root) as box:
        box.start()
        assert box.exec("sh", "-c", "ls /proc/$$/fd; true").stdout == "0\n1\n2\n"


@pytest.mark.parametrize("number", range(3, 24))
def test_no_descriptor_of_labkits_is_a_way_out_of_the_root(bundle: Bundle, root: str, number: int) -> None:
    """CVE-2024-21626: a working directory of /proc/self/fd/7, which was the host's /sys/fs/cgroup."""
    for way in (f"/proc/self/fd/{number}", f"/proc/self/fd/{number}/../.."):
        with pytest.raises(KernelError, match=r"chdir to /proc/self/fd/.*: E(NOENT|NOTDIR|ACCES)"):
            runtime.run(bundle({"process.cwd": way}, "pwd"), root=root)


def test_nor_for_a_program_that_is_executed_in_a_container(bundle: Bundle, root: str) -> None:
    with runtime.create(bundle(), root=root) as box:
        box.start()
        for number in range(3, 24):
            done = subprocess.run(
                [LABKIT, "runtime", "--root", root, "exec", "--cwd", f"/proc/self/fd/{number}", box.id, "pwd"],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode != 0 and done.stdout == "" and "chdir to" in done.stderr


# The program file of labkit itself (CVE-2019-5736)

# Everything that labkit's interpreter needs to run in a container, too; read-only, as a hostile image could not bring it.
LIBRARIES = [
    {"destination": target, "type": "bind", "source": source, "options": ["rbind", "ro"]}
    for target, source in {"/usr": "/usr", "/lib": "/usr/lib", "/lib64": "/usr/lib64"}.items()
    if os.path.isdir(source)
]
ATTACK = """
import errno, os
tried = {}
def attempt(name, path, flags):
    try:
        os.close(os.open(path, flags))
        tried[name] = "OPENED"
    except OSError as error:
        tried[name] = errno.errorcode[error.errno]
fd = os.open("/proc/self/exe", os.O_RDONLY)
attempt("exe", "/proc/self/exe", os.O_WRONLY | os.O_TRUNC)
attempt("descriptor", f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_TRUNC)
pid = os.fork()
if pid == 0:
    os.set_inheritable(fd, True)
    os.execv("/bin/busybox", ["sh", "-c", f": > /proc/self/fd/{fd}"])
tried["another program"] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
try:
    os.system(f"mount -o remount,rw,bind /proc/self/fd/{fd} 2>/dev/null")
    attempt("remounted", f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_TRUNC)
finally:
    print(os.path.samefile("/proc/self/exe", "PROGRAM"), tried)
""".replace("PROGRAM", os.path.realpath(sys.executable))
HELD_OFF = "True {'exe': 'EROFS', 'descriptor': 'EROFS', 'another program': 1, 'remounted': 'EROFS'}\n"


@pytest.fixture
def hostile(bundle: Bundle) -> Callable[..., str]:
    """A bundle whose /attack is a script for the interpreter ``/proc/self/exe``: whoever executes it executes himself."""

    def make(*args: str) -> str:
        path = bundle({**ROOTLIKE, "mounts+": LIBRARIES[0]}, *args)
        for library in LIBRARIES[1:]:
            os.makedirs(f"{path}/rootfs{library['destination']}", exist_ok=True)
        config = json.loads(Path(path, "config.json").read_text())
        config["mounts"] += LIBRARIES[1:]
        Path(path, "config.json").write_text(json.dumps(config))
        Path(path, "rootfs/attack").write_text("#!/proc/self/exe\n" + ATTACK)
        os.chmod(f"{path}/rootfs/attack", 0o755)
        os.symlink("/proc/self/exe", f"{path}/rootfs/self")
        return path

    return make


@pytest.fixture
def interpreter() -> Iterator[None]:
    """The program file that labkit runs in; whatever a test does, it must be the same afterwards."""
    file = Path(os.path.realpath(sys.executable))
    before = file.read_bytes()
    yield
    assert file.read_bytes() == before


@pytest.mark.parametrize("args", [("/attack",), ("/self", "-c", ATTACK)], ids=["script", "link"])
def test_an_image_that_makes_labkit_execute_itself_cannot_write_to_labkits_interpreter(
    hostile: Callable[..., str], root: str, interpreter: None, args: tuple[str, ...]
) -> None:
    bundle = hostile(*args)
    assert runtime.run(bundle, root=root) == runtime.Finished(0, HELD_OFF, "sh: can't create /proc/self/fd/3: Read-only file system\n")
    done = subprocess.run([LABKIT, "runtime", "--root", root, "run", "-b", bundle, "box"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, HELD_OFF)


def test_nor_a_container_into_which_a_program_is_executed(hostile: Callable[..., str], root: str, interpreter: None) -> None:
    with runtime.create(hostile("sleep", "infinity"), root=root) as box:
        box.start()
        assert box.exec("/attack").stdout == HELD_OFF
        done = subprocess.run([LABKIT, "runtime", "--root", root, "exec", box.id, "/attack"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, HELD_OFF)


def test_an_init_that_has_yet_to_become_the_program_shows_nothing_of_the_host(bundle: Bundle, root: str, interpreter: None) -> None:
    """While it waits for the start, PID 1 is labkit; a process beside it must not get at its files, memory or environment."""
    with runtime.create(bundle(LIKE_DOCKER), root=root) as box:
        for path in ("exe", "cwd", "root", "fd/0", "environ", "mem", "maps", "ns/mnt"):
            done = box.exec("sh", "-c", f"readlink /proc/1/{path} || cat /proc/1/{path}")
            assert (done.code, done.stdout) == (1, ""), path
            assert "ermission denied" in done.stderr
    with runtime.create(bundle(ROOTLIKE), root=root) as box:
        done = box.exec("sh", "-c", ": > /proc/1/exe")
        assert (done.code, done.stderr) == (1, "sh: can't create /proc/1/exe: Read-only file system\n")


# Links in the image

PROC = {"destination": "/proc", "type": "proc", "source": "proc"}


@pytest.fixture
def outside(directory: Path) -> Iterator[Path]:
    """A directory of the host with a file, where nothing may appear or change."""
    place = directory / "outside"
    place.mkdir()
    (place / "file").write_text("the host's")
    yield place
    assert [(path.name, path.read_text()) for path in place.iterdir()] == [("file", "the host's")]


def links_out(bundle: str, name: str, outside: Path) -> None:
    """Make ``name`` in the root file system a link that leads out, by an absolute path or by climbing."""
    spot = Path(bundle, "rootfs", name)
    if spot.is_dir() and not spot.is_symlink():
        shutil.rmtree(spot)
    spot.parent.mkdir(parents=True, exist_ok=True)
    spot.symlink_to(outside if "up" not in name else "../" * 20 + str(outside)[1:])


@pytest.mark.parametrize("link", ["data", "up", "far/data", "far/up"])
@pytest.mark.parametrize(
    "mount",
    [
        {"type": "tmpfs", "source": "tmpfs"},
        {"type": "bind", "source": "/usr", "options": ["rbind"]},
        {"type": "bind", "source": "/etc/hostname", "options": ["bind"]},
    ],
    ids=["tmpfs", "directory", "file"],
)
def test_a_link_in_the_image_leads_no_mount_out_of_it(
    bundle: Bundle, root: str, outside: Path, link: str, mount: dict[str, object]
) -> None:
    """CVE-2021-30465 and its kin: the destination, or a directory on the way, is a link to a directory of the host."""
    for destination in (f"/{link}", f"/{link}/below"):
        path = bundle({"mounts+": {**mount, "destination": destination}}, "true")
        links_out(path, link, outside)
        before = our_mounts()
        assert runtime.run(path, root=root).code == 0
        assert our_mounts() == before


@pytest.mark.parametrize(("kind", "name"), [("proc", "proc"), ("sysfs", "sys")])
def test_proc_and_sys_are_not_mounted_through_a_link(bundle: Bundle, root: str, outside: Path, kind: str, name: str) -> None:
    """CVE-2019-19921: what is masked below /proc must be what the process finds there."""
    path = bundle({}, "true")
    links_out(path, name, outside)
    with pytest.raises(LabError, match=f"mount {kind} on /{name}: .*symbolic link"):
        runtime.run(path, root=root)


@pytest.mark.parametrize("link", ["data", "up", "dev"])
def test_a_link_in_the_image_leads_no_device_out_of_it(bundle: Bundle, root: str, outside: Path, link: str) -> None:
    device = {"path": f"/{link}/zero2", "type": "c", "major": 1, "minor": 5}
    path = bundle({"linux.devices": [device], "mounts": [PROC], "linux.maskedPaths": []}, "true")
    links_out(path, link, outside)
    assert runtime.run(path, root=root).code == 0


def test_a_link_in_the_image_leads_no_masked_or_read_only_path_out_of_it(bundle: Bundle, root: str, outside: Path) -> None:
    path = bundle({"linux.maskedPaths": ["/data/file"], "linux.readonlyPaths": ["/data", "/up"]}, "true")
    links_out(path, "data", outside)
    links_out(path, "up", outside)
    assert runtime.run(path, root=root).code == 0


def test_a_dev_null_that_is_none_hides_nothing_and_is_refused(bundle: Bundle, root: str, outside: Path) -> None:
    """CVE-2025-31133: what /dev/null leads to would be bound over the masked file, and could be written to through it."""
    dev = {"destination": "/dev", "type": "bind", "source": "dev", "options": ["bind"]}
    path = bundle({"mounts": [PROC, dev], "linux.maskedPaths": ["/proc/version"]}, "true")
    os.mkdir(f"{path}/dev")
    os.symlink("/proc/uptime", f"{path}/dev/null")
    with pytest.raises(KernelError, match="/dev/null is not the null device"):
        runtime.run(path, root=root)
