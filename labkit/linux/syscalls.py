"""The one door to the kernel: every system call that Python's ``os`` does not offer.

Each function is the call of the same name (``man 2 mount``, ``man 2 unshare``, …), with Python's types, and raises
``KernelError`` with the call's errno. Callers write ``syscalls.mount(…)``, never ``from syscalls import mount``, so that
a test may stand in this door and record who passes:

    >>> from labkit.linux import syscalls
    >>> syscalls.unshare(syscalls.CLONE_NEWUTS)        # as root: this thread has a UTS namespace of its own
    >>> syscalls.sethostname("student-7")

``clone`` needs a word. It forks *this* Python process into new namespaces (``man 2 clone3``); the child returns from the
same line with 0. The C library does not know of it, so it is only safe in a process with a single thread: the runtime's
spawner and command line are; a notebook's kernel is not, and asks the spawner instead.
"""

from __future__ import annotations

import ctypes
import os
import struct

from labkit.errors import KernelError

CLONE_NEWTIME = 0x00000080
CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_PIDFD = 0x00001000
CLONE_PARENT = 0x00008000
CLONE_INTO_CGROUP = 0x200000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_SYNCHRONOUS, MS_REMOUNT = 1, 2, 4, 8, 16, 32
MS_MANDLOCK, MS_DIRSYNC, MS_NOSYMFOLLOW, MS_NOATIME, MS_NODIRATIME = 64, 128, 256, 1024, 2048
MS_BIND, MS_MOVE, MS_REC, MS_SILENT, MS_POSIXACL = 4096, 8192, 16384, 32768, 65536
MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 17, 1 << 18, 1 << 19, 1 << 20
MS_RELATIME, MS_I_VERSION, MS_STRICTATIME, MS_LAZYTIME = 1 << 21, 1 << 23, 1 << 24, 1 << 25
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_IN_ROOT = 0x10
OPEN_TREE_CLONE = 1
MOVE_MOUNT_F_EMPTY_PATH = 4
MOVE_MOUNT_T_SYMLINKS = 0x10
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 1, 2, 4, 8
MOUNT_ATTR_RELATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME = 0, 0x10, 0x20, 0x70
MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_IDMAP, MOUNT_ATTR_NOSYMFOLLOW = 0x80, 0x100000, 0x200000

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47

# Numbers of the calls that glibc has no function for. Those from 424 on are the same on every architecture.
_BY_MACHINE = {"x86_64": (155, 125, 126, 317, 321, 250, 251, 314), "aarch64": (41, 90, 91, 277, 280, 219, 30, 274)}
_numbers = _BY_MACHINE.get(os.uname().machine, _BY_MACHINE["x86_64"])
_PIVOT_ROOT, _CAPGET, _CAPSET, _SECCOMP, _BPF, _KEYCTL, _IOPRIO_SET, _SCHED_SETATTR = _numbers
_OPEN_TREE, _MOVE_MOUNT, _CLONE3, _CLOSE_RANGE, _OPENAT2, _MOUNT_SETATTR = 428, 429, 435, 436, 437, 442

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_mount = _libc.mount
_mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
_prctl = _libc.prctl
_prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4


def _fail(operation: str, object: str = "") -> KernelError:
    return KernelError(ctypes.get_errno(), operation, object)


def mount(source: str | None, target: str, fstype: str | None, flags: int = 0, data: str | None = None) -> None:
    """``mount(2)``: attach a file system, or change or move a mount, as ``flags`` (``MS_*``) say."""
    if _mount(_bytes(source), target.encode(), _bytes(fstype), flags, _bytes(data)) < 0:
        raise _fail(f"mount {fstype or source or ''}".strip() + " on", target)


def umount(target: str, flags: int = 0) -> None:
    """``umount2(2)``: detach the topmost mount at ``target``."""
    if _libc.umount2(target.encode(), flags) < 0:
        raise _fail("umount", target)


def unshare(flags: int) -> None:
    """``unshare(2)``: give the calling thread new namespaces of the kinds in ``flags`` (``CLONE_NEW*``)."""
    if _libc.unshare(ctypes.c_int(flags)) < 0:
        raise _fail("unshare", hex(flags))


def setns(fd: int, flags: int = 0) -> None:
    """``setns(2)``: enter the namespace behind ``fd``, or with a pidfd those of its process that ``flags`` name."""
    if _libc.setns(fd, ctypes.c_int(flags)) < 0:
        raise _fail("setns", f"fd {fd}, {hex(flags)}")


def pivot_root(new_root: str, put_old: str) -> None:
    """``pivot_root(2)``: swap the root mount for ``new_root`` and put the old one at ``put_old``."""
    if _syscall(_PIVOT_ROOT, new_root.encode(), put_old.encode()) < 0:
        raise _fail("pivot_root", new_root)


def clone(flags: int, cgroup: int | None = None) -> tuple[int, int]:
    """``clone3(2)`` as a fork into the namespaces of ``flags``: (pid, pidfd) in the parent, (0, -1) in the child.

    With ``cgroup``, a descriptor of a version 2 cgroup directory, the child is born in that group. With ``CLONE_PARENT``
    the child is the caller's sibling, and its end is told as the caller's own would be.
    """
    pidfd = ctypes.c_int(-1)
    if cgroup is not None:
        flags |= CLONE_INTO_CGROUP
    exit_signal = 0 if flags & CLONE_PARENT else 17  # SIGCHLD
    # struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup
    args = struct.pack("11Q", flags | CLONE_PIDFD, ctypes.addressof(pidfd), 0, 0, exit_signal, 0, 0, 0, 0, 0, cgroup or 0)
    # PyDLL keeps the interpreter lock across the call, so that the child owns it too; the three hooks are what os.fork runs.
    ctypes.pythonapi.PyOS_BeforeFork()
    pid = _locked_syscall(_CLONE3, args, len(args))
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0, -1
    error = ctypes.get_errno()
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise KernelError(error, "clone", hex(flags))
    return pid, pidfd.value


_locked_syscall = ctypes.PyDLL(None, use_errno=True).syscall
_locked_syscall.restype = ctypes.c_long


def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int:
    """``prctl(2)``: one of a process's many switches."""
    result: int = _prctl(option, arg2, arg3, arg4, arg5)
    if result < 0:
        raise _fail("prctl", f"{option}, {arg2}")
    return result


def sethostname(name: str) -> None:
    """``sethostname(2)``: the host name of this UTS namespace, at most 64 bytes."""
    if _libc.sethostname(name.encode(), len(name.encode())) < 0:
        raise _fail("sethostname", name)


def setdomainname(name: str) -> None:
    """``setdomainname(2)``: the NIS domain name of this UTS namespace, at most 64 bytes."""
    if _libc.setdomainname(name.encode(), len(name.encode())) < 0:
        raise _fail("setdomainname", name)


def capget(pid: int = 0) -> tuple[int, int, int]:
    """``capget(2)``: effective, permitted and inheritable set of a process, as bit masks."""
    words = (ctypes.c_uint32 * 6)()
    if _syscall(_CAPGET, struct.pack("Ii", 0x20080522, pid), words) < 0:
        raise _fail("capget", str(pid))
    low, high = words[:3], words[3:]
    effective, permitted, inheritable = (a | b << 32 for a, b in zip(low, high, strict=True))
    return effective, permitted, inheritable


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """``capset(2)``: the calling thread's own three sets, as bit masks."""
    sets = (effective, permitted, inheritable)
    words = struct.pack("6I", *(s & 0xFFFFFFFF for s in sets), *(s >> 32 for s in sets))
    if _syscall(_CAPSET, struct.pack("Ii", 0x20080522, 0), words) < 0:
        raise _fail("capset", f"effective={effective:#x}")


def seccomp(operation: int, flags: int, argument: object) -> int:
    """``seccomp(2)``: ``argument`` is a ctypes pointer, or None."""
    result: int = _syscall(_SECCOMP, operation, flags, argument)
    if result < 0:
        raise _fail("seccomp", f"operation {operation}")
    return result


def bpf(command: int, attributes: ctypes.Array[ctypes.c_char]) -> int:
    """``bpf(2)``: ``attributes`` is the packed ``union bpf_attr`` of ``command``."""
    result: int = _syscall(_BPF, command, attributes, len(attributes))
    if result < 0:
        raise _fail("bpf", f"command {command}")
    return result


def join_session_keyring() -> None:
    """``keyctl(KEYCTL_JOIN_SESSION_KEYRING)``: a new anonymous session keyring, so that keys are not shared."""
    if _syscall(_KEYCTL, 1, None) < 0:
        raise _fail("keyctl", "join session keyring")


def personality(domain: int) -> None:
    """``personality(2)``: the execution domain, such as 8 for a 32-bit machine in ``uname``."""
    if _libc.personality(ctypes.c_ulong(domain)) < 0:
        raise _fail("personality", str(domain))


def ioprio_set(kind: int, level: int) -> None:
    """``ioprio_set(2)`` for the calling thread: class 1 (real time), 2 (best effort) or 3 (idle), and level 0 to 7."""
    if _syscall(_IOPRIO_SET, 1, 0, kind << 13 | level) < 0:
        raise _fail("ioprio_set", f"class {kind}, level {level}")


def sched_setattr(policy: int, flags: int, nice: int, priority: int, runtime: int, deadline: int, period: int) -> None:
    """``sched_setattr(2)`` for the calling thread; the last three in nanoseconds, for SCHED_DEADLINE."""
    attributes = struct.pack("IIQiI3Q", 48, policy, flags, nice, priority, runtime, deadline, period)
    if _syscall(_SCHED_SETATTR, 0, attributes, 0) < 0:
        raise _fail("sched_setattr", f"policy {policy}, priority {priority}")


def openat2(directory: int, path: str, flags: int, resolve: int) -> int:
    """``openat2(2)``: open ``path`` from ``directory``, on a way that keeps to ``resolve`` (``RESOLVE_*``)."""
    how = struct.pack("3Q", flags | os.O_CLOEXEC, 0, resolve)
    fd: int = _syscall(_OPENAT2, directory, path.encode(), how, len(how))
    if fd < 0:
        raise _fail("open", path)
    return fd


def open_tree(path: str, flags: int, directory: int = AT_FDCWD) -> int:
    """``open_tree(2)``: a descriptor of the mount at ``path``; with ``OPEN_TREE_CLONE`` of a detached copy of it."""
    fd: int = _syscall(_OPEN_TREE, directory, path.encode(), flags | os.O_CLOEXEC)
    if fd < 0:
        raise _fail("open_tree", path)
    return fd


def move_mount(fd: int, target: str) -> None:
    """``move_mount(2)``: attach the detached mount behind ``fd`` at ``target``."""
    if _syscall(_MOVE_MOUNT, fd, b"", AT_FDCWD, target.encode(), MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS) < 0:
        raise _fail("move_mount to", target)


def mount_setattr(fd: int, set_flags: int, clear_flags: int = 0, recursive: bool = False, userns: int = 0) -> None:
    """``mount_setattr(2)``: set and clear ``MOUNT_ATTR_*`` of the mount behind ``fd``, or of its whole tree."""
    attributes = struct.pack("4Q", set_flags, clear_flags, 0, userns)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    if _syscall(_MOUNT_SETATTR, fd, b"", flags, attributes, len(attributes)) < 0:
        raise _fail("mount_setattr", f"fd {fd}")


def close_range(first: int, last: int = 0x7FFFFFFF, cloexec: bool = False) -> None:
    """``close_range(2)``: close the descriptors from ``first`` to ``last``, or mark them close-on-exec."""
    if _syscall(_CLOSE_RANGE, first, last, 4 if cloexec else 0) < 0:
        raise _fail("close_range", f"{first}-{last}")


def inotify_init1(flags: int) -> int:
    """A descriptor that becomes readable when something happens to the files that it watches (``man 7 inotify``)."""
    fd = _libc.inotify_init1(flags)
    if fd < 0:
        raise _fail("inotify_init1")
    return int(fd)


def inotify_add_watch(fd: int, path: str, mask: int) -> int:
    """Watch a file or directory for the events in ``mask``; its number in what is read from ``fd``."""
    number = _libc.inotify_add_watch(fd, _bytes(path), ctypes.c_uint32(mask))
    if number < 0:
        raise _fail("watch", path)
    return int(number)


def syncfs(fd: int) -> None:
    """``syncfs(2)``: wait until all that was written to the file system that ``fd`` is on is on the disk."""
    if _libc.syncfs(fd) < 0:
        raise _fail("syncfs", f"fd {fd}")


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()
