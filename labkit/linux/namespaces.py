"""Namespaces: which copy of one of the kernel's tables a process reads.

A namespace is a label on a process. There are eight kinds, and ``/proc/PID/ns`` shows the eight labels of a process. Looking
at one's own needs no privilege; making and entering one needs root, except for a user namespace.

    >>> from labkit.linux import namespaces
    >>> with namespaces.new("uts") as box:
    ...     box.run("hostname student-7; hostname")
    'student-7'
    >>> namespaces.compare(1)["uts"]               # do process 1 and this one share a host name?
    True

``unshare`` and ``enter`` change the calling *thread*. A notebook's kernel has several threads and wants to stay where it is, so
``new`` starts a helper process in the new namespaces and leaves the notebook alone.

Source: ``man 7 namespaces``, ``man 2 unshare``, ``man 2 setns``. Shown in notebook 01.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.errors import InvalidInput, KernelError, NotFound, Unsupported
from labkit.linux import processes, syscalls
from labkit.records import record

if TYPE_CHECKING:
    from labkit.linux.box import Box
    from labkit.linux.idmaps import IdMap


@record
class Kind:
    """A kind of namespace: its name in ``/proc/PID/ns``, its name in an OCI bundle, its ``CLONE_NEW*`` flag, what it holds."""

    name: str
    oci: str
    flag: int
    holds: str
    man: str

    def __str__(self) -> str:
        return self.name


KINDS = {
    kind.name: kind
    for kind in (
        Kind("mnt", "mount", syscalls.CLONE_NEWNS, "the mounts: which file system is where", "mount_namespaces(7)"),
        Kind("uts", "uts", syscalls.CLONE_NEWUTS, "the host name and the domain name", "uts_namespaces(7)"),
        Kind("ipc", "ipc", syscalls.CLONE_NEWIPC, "System V shared memory, semaphores and queues", "ipc_namespaces(7)"),
        Kind("net", "network", syscalls.CLONE_NEWNET, "links, addresses, routes, ports, firewall", "network_namespaces(7)"),
        Kind("pid", "pid", syscalls.CLONE_NEWPID, "the numbers of processes", "pid_namespaces(7)"),
        Kind("user", "user", syscalls.CLONE_NEWUSER, "user and group ids, and what root may do", "user_namespaces(7)"),
        Kind("cgroup", "cgroup", syscalls.CLONE_NEWCGROUP, "which control group looks like the root", "cgroup_namespaces(7)"),
        Kind("time", "time", syscalls.CLONE_NEWTIME, "the clocks that count from boot", "time_namespaces(7)"),
    )
}


@dataclass(frozen=True, order=True)
class Namespace:
    """One namespace, named as the kernel names it: two processes share it if and only if kind and inode are equal."""

    kind: str
    inode: int

    def __str__(self) -> str:
        return f"{self.kind}:[{self.inode}]"


def kind(name: str) -> Kind:
    """The kind called ``name`` in ``/proc/PID/ns`` (``mnt``, ``net``) or in an OCI bundle (``mount``, ``network``)."""
    for candidate in KINDS.values():
        if name in (candidate.name, candidate.oci):
            return candidate
    raise InvalidInput(f"namespace kind: {name!r} is none of {', '.join(KINDS)}")


def of(pid: int | str = "self") -> dict[str, Namespace]:
    """The namespaces of a process, by kind; ``NotFound`` if it is gone."""
    # Every thread has labels of its own; "self" means the thread that asks.
    directory = f"/proc/{'thread-self' if pid == 'self' else pid}/ns"
    found = {name: _read(f"{directory}/{name}") for name in KINDS}
    if not found["mnt"]:
        raise NotFound(f"process {pid}: no such process")
    return {name: namespace for name, namespace in found.items() if namespace}


def _read(link: str) -> Namespace | None:
    try:
        name, _, inode = os.readlink(link).partition(":")
    except (FileNotFoundError, ProcessLookupError):
        return None  # the process is gone, or this kernel has no such kind
    except OSError as error:
        raise KernelError.of(error, "read", link, "another user's process: look as root") from None
    return Namespace(name, int(inode.strip("[]")))


def compare(a: int | str, b: int | str = "self") -> dict[str, bool]:
    """For each kind, whether the two processes share the namespace."""
    ours, theirs = of(a), of(b)
    return {name: ours[name] == theirs.get(name) for name in ours}


def everyone(*kinds: str) -> dict[Namespace, tuple[int, ...]]:
    """Who is where: each namespace (of these kinds, or of all) with the processes in it, as ``lsns`` lists them."""
    names = [kind(name).name for name in kinds] or list(KINDS)
    members: dict[Namespace, list[int]] = {}
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdecimal()):
        for name in names:
            try:
                namespace = _read(f"/proc/{pid}/ns/{name}")
            except KernelError:
                continue  # another user's process
            if namespace:
                members.setdefault(namespace, []).append(pid)
    return {namespace: tuple(members[namespace]) for namespace in sorted(members, key=lambda each: (names.index(each.kind), each.inode))}


def unshare(*kinds: str) -> None:
    """Give the calling thread new namespaces of these kinds. With ``pid`` and ``time`` its next child is the first one inside."""
    chosen = _chosen(kinds)
    try:
        syscalls.unshare(_flags(chosen))
    except KernelError as error:
        raise _explained(error, "unshare", chosen) from None


def clone(*kinds: str) -> int:
    """Fork, with the child in new namespaces of these kinds: the child's PID, and in the child 0. For a process with a single thread."""
    chosen = _chosen(kinds)
    try:
        pid, pidfd = syscalls.clone(_flags(chosen))
    except KernelError as error:
        raise _explained(error, "clone", chosen) from None
    if pid:
        os.close(pidfd)
    return pid


def enter(where: int | str, *kinds: str) -> None:
    """Move the calling thread into namespaces that exist: those of a process (a PID), or the one behind a file.

        >>> enter(4711, "net", "uts")
        >>> enter("/run/netns/blue")

    Without ``kinds``, into all of the process's namespaces that differ from ours. With ``pid`` and ``time`` only the next child moves.
    """
    is_process = isinstance(where, int)
    if is_process and not kinds:
        kinds = tuple(name for name, shared in compare(where).items() if not shared)
        if not kinds:
            return  # in all of them already
    chosen = _chosen(kinds) if kinds else ()
    fd = processes.pidfd(int(where)) if is_process else _open(str(where))
    try:
        if KINDS["mnt"] in chosen or not chosen:
            # Threads share their root and working directory; the kernel moves only a thread that has its own.
            syscalls.unshare(syscalls.CLONE_FS)
        syscalls.setns(fd, _flags(chosen))
    except KernelError as error:
        raise _explained(error, f"enter {where}:", chosen) from None
    finally:
        os.close(fd)


@contextmanager
def entered(where: int | str, name: str) -> Iterator[None]:
    """Be in another namespace of one kind for a while: ``with entered(box.pid, "net"): …``, then back where we came from."""
    chosen = kind(name)
    if chosen.name in ("user", "pid", "time"):
        raise InvalidInput(f"namespace kind: a process that enters a {chosen} namespace cannot come back; run a command in it instead")
    home = _open(f"/proc/thread-self/ns/{chosen}")
    directory = os.open(".", os.O_PATH)
    try:
        enter(where, chosen.name)
        try:
            yield
        finally:
            syscalls.setns(home, chosen.flag)
            os.fchdir(directory)  # entering a mount namespace changes to its root directory
    finally:
        os.close(home)
        os.close(directory)


def new(*kinds: str, uids: tuple[IdMap, ...] = (), gids: tuple[IdMap, ...] = (), clock_offset: int = 0) -> Box:
    """Start a small process in new namespaces of these kinds: a place to look around in, and to run commands in.

    It ends with its ``with`` block, when ``close`` is called, or with this process. With ``mnt`` no mount made inside spreads; with
    ``pid`` the box is PID 1 inside, and with both it has a ``/proc`` of its own. With ``user``, root inside is the caller outside, or what
    ``uids`` and ``gids`` say. With ``time``, the clocks inside run ``clock_offset`` seconds ahead.
    """
    from labkit.linux.box import Box

    return Box(tuple(each.name for each in _chosen(kinds)), uids, gids, clock_offset)


def _chosen(kinds: tuple[str, ...]) -> tuple[Kind, ...]:
    if not kinds:
        raise InvalidInput(f"namespace kind: which one? {', '.join(KINDS)}")
    chosen = tuple(dict.fromkeys(map(kind, kinds)))
    for each in chosen:
        if not os.path.exists(f"/proc/self/ns/{each}"):
            raise Unsupported(f"{each} namespaces: this kernel has none (no /proc/self/ns/{each})")
    return chosen


def _flags(kinds: tuple[Kind, ...]) -> int:
    return sum(each.flag for each in kinds)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        raise NotFound(f"{path}: no such namespace") from None
    except OSError as error:
        raise KernelError.of(error, "open namespace", path) from None


def _explained(error: KernelError, operation: str, kinds: tuple[Kind, ...]) -> KernelError:
    """The kernel's terse answer with its likely cause."""
    hint = ""
    if error.errno == errno.EPERM and os.geteuid() != 0:
        hint = 'this takes root, or a user namespace of your own first: new("user", …)'
    elif error.errno == errno.EPERM:
        hint = "this process lacks CAP_SYS_ADMIN, or the machine forbids it"
    elif error.errno == errno.EUSERS:
        hint = "a process with several threads cannot enter a time namespace"
    elif error.errno == errno.ENOSPC:
        hint = "too many or too deeply nested: see /proc/sys/user/max_*_namespaces"
    elif error.errno == errno.EINVAL and KINDS["user"] in kinds:
        hint = 'a process with several threads cannot change its user namespace, nor one enter the namespace it is in: use new("user")'
    elif error.errno == errno.EINVAL:
        hint = "the namespace is of another kind"
    return KernelError(error.errno, operation, " ".join(map(str, kinds)), hint)
