"""What the kernel offers, tried with the lab's own calls: namespaces, overlayfs, seccomp, links, firewall, terminals."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from labkit.errors import KernelError, LabError, Unsupported
from labkit.lab.doctor import Row, private_tmp, tried
from labkit.lab.doctor.machine import DATA
from labkit.linux import mounts, namespaces, pty

_CONFIG = {"mnt": "CONFIG_NAMESPACES", "cgroup": "CONFIG_CGROUPS"}


def rows() -> Iterator[Row]:
    for kind in namespaces.KINDS.values():
        remedy = f"a kernel with {_CONFIG.get(kind.name, f'CONFIG_{kind.name.upper()}_NS')}"
        if kind.name == "user":
            remedy += ", and sysctl user.max_user_namespaces above 0"
        yield tried(f"{kind.name} namespace", lambda kind=kind: _namespace(kind), remedy)  # type: ignore[misc]
    yield tried("overlayfs", _overlay_on_tmpfs, "a kernel with CONFIG_OVERLAY_FS: modprobe overlay")
    with _data_directory() as directory:
        yield tried(f"overlay on {DATA}", lambda: _overlay_on(directory), f"mount ext4 or xfs on {DATA}")
    yield tried("seccomp", _seccomp, "apt-get install libseccomp2, and a kernel with CONFIG_SECCOMP_FILTER")
    yield tried("veth", lambda: _ip("link", "add", "lk0", "type", "veth", "peer", "name", "lk1"), "modprobe veth")
    yield tried("bridge", lambda: _ip("link", "add", "lk0", "type", "bridge"), "modprobe bridge")
    yield tried("nftables", _nftables, "apt-get install nftables, and modprobe nf_tables")
    yield tried("pty", _pty, "a kernel with CONFIG_UNIX98_PTYS")
    yield tried("pressure (PSI)", _pressure, "boot with psi=1; without it notebook 02 shows no pressure", needed=False)


def _namespace(kind: namespaces.Kind) -> str:
    before = namespaces.of()
    namespaces.unshare(kind.name)
    # These two are for the children: the caller stays where it is (`man 7 pid_namespaces`, `man 7 time_namespaces`).
    link = f"/proc/self/ns/{kind.name}_for_children" if kind.name in ("pid", "time") else f"/proc/self/ns/{kind.name}"
    if kind.name == "pid":
        child = os.fork()
        if child == 0:
            os._exit(os.getpid())
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) != 1:
            raise LabError("the first process of a new one is not PID 1")
    elif os.readlink(link) == str(before[kind.name]):
        raise LabError("unshare reported success, but nothing changed")
    return kind.holds


def _overlay_on_tmpfs() -> str:
    private_tmp()
    return _overlay_on("/tmp")


def _overlay_on(directory: str) -> str:
    """Stack two layers, change a file of the lower one, and look for the copy in the upper one."""
    namespaces.unshare("mnt")
    mounts.make_private()
    for name in ("lower", "upper", "work", "merged"):
        os.mkdir(f"{directory}/{name}")
    _write(f"{directory}/lower/file", "from below")
    mounts.overlay([f"{directory}/lower"], f"{directory}/upper", f"{directory}/work", f"{directory}/merged")
    _write(f"{directory}/merged/file", "changed")
    os.mkdir(f"{directory}/merged/directory")
    if sorted(os.listdir(f"{directory}/upper")) != ["directory", "file"]:
        raise LabError("the change did not reach the upper directory")
    return f"upper directory on {mounts.holding(directory).fstype}: copy-up works"


@contextmanager
def _data_directory() -> Iterator[str]:
    """A directory on the file system that holds the lab's data, gone afterwards."""
    place = next(path for path in (DATA, os.path.dirname(DATA), "/") if os.path.isdir(path))
    if os.geteuid() != 0:
        yield place
        return
    with tempfile.TemporaryDirectory(prefix=".labkit-doctor-", dir=place) as directory:
        yield directory


def _seccomp() -> str:
    from labkit.linux import capabilities, seccomp

    seccomp.load(seccomp.compile(seccomp.default_profile(capabilities.DEFAULT)))
    try:
        time.clock_settime(time.CLOCK_MONOTONIC, 0)  # EINVAL, for that clock cannot be set; if it comes so far
    except PermissionError:
        return "the default profile was loaded, and refused to set a clock"
    except OSError:
        pass
    raise Unsupported("the default profile was loaded, but it lets a clock be set")


def _ip(*arguments: str) -> str:
    namespaces.unshare("net")
    _run("ip", *arguments)
    return _run("ip", "-brief", "link", "show", "lk0").split()[0].split("@")[0] + " was made"


def _nftables() -> str:
    namespaces.unshare("net")
    _run("nft", "add table ip labkit; add chain ip labkit nat { type nat hook postrouting priority 100 ; }")
    _run("nft", "add rule ip labkit nat masquerade")
    if "masquerade" not in _run("nft", "list ruleset"):
        raise LabError("the rule was added, but is not listed")
    return "a masquerade rule was made"


def _pty() -> str:
    private_tmp()
    mounts.mount("devpts", "/tmp", "devpts", ["newinstance", "ptmxmode=0666", "mode=620"])
    terminal = pty.new("/tmp/ptmx")
    if os.ttyname(terminal.slave) == "":
        raise LabError("the new terminal has no name")
    return "a devpts of its own, and a terminal in it"


def _pressure() -> str:
    try:
        with open("/proc/pressure/memory") as file:
            file.readline()
    except OSError as error:
        raise KernelError.of(error, "read", "/proc/pressure/memory") from None
    return "/proc/pressure can be read"


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
