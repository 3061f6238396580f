"""A control group that exists: its processes, accounts and end."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterable
from errno import EACCES, EBUSY, EINVAL, ENODEV, ENOSPC, EPERM, EROFS, ESRCH

from labkit.errors import Conflict, KernelError, NotFound, Unsupported
from labkit.linux.cgroups.layout import Layout, checked, detect, directories
from labkit.linux.cgroups.limits import Limits
from labkit.linux.cgroups.settings import missing, settings

_HINTS = {
    EROFS: "the cgroup file system is mounted read-only here",
    EACCES: "only root may, and no group gets more than the group above it has",
    EPERM: "only root may",
    ENODEV: "there is no such block device",
    ENOSPC: "the group has no cpuset.cpus or cpuset.mems yet, or is full",
    ESRCH: "the process has ended",
}


def write(file: str, value: str) -> None:
    """Write ``value`` into a cgroup file. A file that this kernel does not have is ``Unsupported``, and says why.

    An empty value is for the two files of a v1 cpuset: the group above's value, unless the group has one already.
    """
    if not value:
        if _read(file):
            return
        directory, _, name = file.rpartition("/")
        value = _read(f"{os.path.dirname(directory)}/{name}")
    elif file.endswith("cgroup.subtree_control") and set(value.replace("+", "").split()) <= set(_read(file).split()):
        return  # nothing to add; the write would wait for groups that are going away
    try:
        fd = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)
    except FileNotFoundError as error:
        if os.path.isdir(os.path.dirname(file)):
            raise Unsupported(missing(os.path.basename(file))) from None
        raise KernelError.of(error, f"write {value!r} to", file, "there is no such group") from None
    except OSError as error:
        hint = _HINTS.get(error.errno or 0, "")
        if error.errno == EBUSY:
            hint = "it holds processes: move them to a group below" if "subtree_control" in file else "it uses more than that already"
        raise KernelError.of(error, f"write {value!r} to", file, hint) from None


def join(directories: Iterable[str], pid: int = 0) -> None:
    """Move a process, with all its threads, into the groups of these directories; 0 is the caller.

    A process with one thread that moves itself is quick on v1 (20 µs, through ``tasks``): moving any other makes the kernel
    wait until no process anywhere is about to fork (5–15 ms). On v2 the quick way is ``syscalls.clone`` with ``cgroup``.
    """
    alone = pid == 0 and os.stat("/proc/self/task").st_nlink == 3  # ".", ".." and one thread
    for directory in directories:
        tasks = f"{directory}/tasks"
        write(tasks if alone and os.path.exists(tasks) else f"{directory}/cgroup.procs", str(pid))


class Cgroup:
    """The group ``path`` ("labkit/c1") in every hierarchy of this machine."""

    def __init__(self, path: str, layout: Layout | None = None) -> None:
        self.path = checked(path)
        self.layout = layout or detect()
        self.directories = directories(self.path, self.layout)

    def limit(self, limits: Limits) -> None:
        """Set limits of the group; those that are ``None`` stay as they are."""
        later = []
        for setting in settings(self.path, limits, self.layout):
            try:
                write(setting.file, setting.value)
            except KernelError as error:
                if error.errno != EINVAL:
                    raise
                later.append(setting)  # two limits that bound each other: the other one first
        for setting in later:
            write(setting.file, setting.value)

    def add(self, pid: int = 0) -> None:
        """Move a process with its threads into the group; 0 is the caller."""
        join(self.directories, pid)

    def processes(self) -> tuple[int, ...]:
        """The PIDs in the group and in the groups below it."""
        found: set[int] = set()
        for directory in self.directories:
            for where, _, _ in os.walk(directory):
                found.update(map(int, _read(f"{where}/cgroup.procs").split()))
        return tuple(sorted(found))

    def kill(self) -> None:
        """Kill every process in the group and below it, and wait until they are gone."""
        while pids := self.processes():
            for pid in pids:
                try:
                    fd = os.pidfd_open(pid)
                except ProcessLookupError:
                    continue
                try:
                    signal.pidfd_send_signal(fd, signal.SIGKILL)
                    select.select([fd], [], [])
                except ProcessLookupError:
                    pass
                finally:
                    os.close(fd)

    def delete(self) -> None:
        """Remove the group and the groups below it. What is gone is fine."""
        for directory in self.directories:
            for where, _, _ in os.walk(directory, topdown=False):
                try:
                    os.rmdir(where)
                except FileNotFoundError:
                    pass
                except OSError as error:
                    raise Conflict(f"cgroup {self.path}: it holds processes {self.processes()} ({error})") from None


def create(path: str, limits: Limits | None = None, layout: Layout | None = None) -> Cgroup:
    """Make a group, or take the one that is there, and set its limits."""
    group = Cgroup(path, layout)
    for directory in group.directories:
        os.makedirs(directory, exist_ok=True)
    group.limit(limits or Limits())
    return group


def open(path: str, layout: Layout | None = None) -> Cgroup:
    """The group that exists; ``NotFound`` otherwise."""
    group = Cgroup(path, layout)
    if not any(os.path.isdir(directory) for directory in group.directories):
        raise NotFound(f"cgroup {path}: there is none")
    return group


def _read(file: str) -> str:
    try:
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    try:
        return os.read(fd, 1 << 20).decode().strip()
    finally:
        os.close(fd)
