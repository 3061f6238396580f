"""A control group that exists: processes are moved into it, it is measured, frozen, killed and removed.

All of it goes through files: ``mkdir`` makes a group, ``echo PID > cgroup.procs`` moves a process, ``rmdir`` removes a group
in which nobody is left.

            add                  freeze                 kill                    delete
    (empty) ───▶ (has processes) ──────▶ (stand still) ─────▶ (empty again) ───────▶ (none)
                                 ◀──────
                                  thaw
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from errno import EBUSY, EINVAL, ENOENT
from typing import TYPE_CHECKING, TypeVar

from labkit.errors import Conflict, KernelError, NotFound, Unsupported
from labkit.linux import processes
from labkit.linux.cgroups import v1, v2
from labkit.linux.cgroups.accounts import Events, Pressure, Usage
from labkit.linux.cgroups.files import nested, read, write
from labkit.linux.cgroups.layout import Controller, Layout, checked, detect, directories
from labkit.linux.cgroups.limits import Limits
from labkit.linux.cgroups.settings import settings

if TYPE_CHECKING:
    from labkit.linux.cgroups.devices import Rule

PATIENCE = 10.0
"""Seconds until labkit gives up on what takes a moment: that processes freeze, die, or leave."""

Function = TypeVar("Function")
_Tables = Mapping[int, Mapping[str, Function]]  # by version, by controller
_USAGE = {1: v1.USAGE, 2: v2.USAGE}
_EVENTS = {1: v1.EVENTS, 2: v2.EVENTS}
_IN_FORCE = {1: v1.IN_FORCE, 2: v2.IN_FORCE}
_FREEZE = {1: v1.freeze, 2: v2.freeze}
_THAW = {1: v1.thaw, 2: v2.thaw}
_FROZEN = {1: v1.frozen, 2: v2.frozen}


class Cgroup:
    """The group ``path`` ("labkit/c1"): one directory in each hierarchy of this machine.

    As a context manager it kills and deletes itself at the end.
    """

    def __init__(self, path: str, layout: Layout | None = None) -> None:
        self.path = checked(path)
        self.layout = layout or detect()
        self.directories = directories(self.path, self.layout)

    def __repr__(self) -> str:
        return f"Cgroup({self.path!r})"

    def __enter__(self) -> Cgroup:
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()
        self.delete()

    def exists(self) -> bool:
        """Whether any of its directories is there."""
        return any(map(os.path.isdir, self.directories))

    def file(self, name: str) -> str:
        """Where its file of this name is: ``group.file("memory.stat")``."""
        prefix = name.partition(".")[0]
        controller = self.layout.controllers.get("io" if prefix == "blkio" else prefix)
        return f"{controller.mountpoint}/{self.path}/{name}" if controller else f"{self.directories[-1]}/{name}"

    def read(self, name: str) -> str:
        """The text of its file of this name; empty if it has none."""
        return read(self.file(name))

    def limit(self, limits: Limits) -> None:
        """Set limits; those that are None stay as they are."""
        postponed = []
        for setting in settings(self.path, limits, self.layout):
            try:
                write(setting.file, setting.value)
            except KernelError as error:
                if error.errno != EINVAL:
                    raise
                postponed.append(setting)  # two limits may bound each other, as RAM does RAM and swap: the other one first
        for setting in postponed:
            write(setting.file, setting.value)

    def restrict_devices(self, rules: Sequence[Rule]) -> None:
        """Let its processes use the devices that ``rules`` allow, and no others; those of the groups above hold as well."""
        from labkit.linux.cgroups import devices

        lines = devices.settings(self.path, rules, self.layout)
        for line in lines:
            write(line.file, line.value)
        if not lines:
            devices.attach(self.directories[-1], devices.program(rules))

    def limits_in_force(self) -> Limits:
        """The limits as the kernel has them now; None is no limit."""
        limits = Limits()
        for function in self._functions(_IN_FORCE):
            limits = function(limits, self.read)
        return limits

    def usage(self) -> Usage:
        """What it holds now and has used so far."""
        return Usage(**self._counts(_USAGE))

    def events(self) -> Events:
        """How often it ran into its limits."""
        return Events(**self._counts(_EVENTS))

    def pressure(self, resource: str) -> Pressure | None:
        """How long its processes waited for "cpu", "memory" or "io"; None where there is no v2 tree, or PSI is off."""
        lines = nested(read(f"{self.directories[-1]}/{resource}.pressure"))
        if not lines:
            return None
        some, full = lines["some"], lines.get("full", {"avg10": "0", "total": "0"})
        return Pressure(float(some["avg10"]), int(some["total"]), float(full["avg10"]), int(full["total"]))

    def _counts(self, tables: _Tables[Callable[[v1.Reader], Mapping[str, int | None]]]) -> dict[str, int | None]:
        return {name: count for function in self._functions(tables) for name, count in function(self.read).items()}

    def _functions(self, tables: _Tables[Function]) -> Iterator[Function]:
        """Those of the controllers of this machine, each in the version in which it is mounted."""
        if not self.exists():
            raise NotFound(f"cgroup {self.path}: there is none")
        for name, controller in self.layout.controllers.items():
            if function := tables[controller.version].get(name):
                yield function

    def add(self, pid: int = 0) -> None:
        """Move a process with its threads into the group; 0 is the caller. What it forks from then on is born there."""
        join(self.directories, pid)

    def processes(self) -> tuple[int, ...]:
        """The PIDs in the group and in those below it."""
        return tuple(sorted({pid for directory in self.directories for group in _tree(directory) for pid in _procs(group)}))

    def freeze(self) -> None:
        """Stop all processes of the group and of those below, and wait until they stand still. They do not notice."""
        freezer = self._freezer()
        _FREEZE[freezer.version](f"{freezer.mountpoint}/{self.path}", PATIENCE)

    def thaw(self) -> None:
        """Let them go on."""
        freezer = self._freezer()
        _THAW[freezer.version](f"{freezer.mountpoint}/{self.path}")

    @property
    def frozen(self) -> bool:
        """Whether they stand still."""
        freezer = self._freezer()
        return _FROZEN[freezer.version](f"{freezer.mountpoint}/{self.path}")

    def _freezer(self) -> Controller:
        freezer = self.layout.controllers.get("freezer")
        if freezer is None:
            raise Unsupported("freeze: no control group hierarchy that is mounted here has the controller freezer")
        return freezer

    def kill(self) -> None:
        """Kill all processes of the group and of those below, and wait until they are dead, however fast they fork."""
        deadline = time.monotonic() + PATIENCE
        while pids := self.processes():
            if time.monotonic() > deadline:
                raise Conflict(f"cgroup {self.path}: processes {pids} do not die (is a group above it frozen? are they in state D?)")
            if self._freezer().version == 2:
                write(self.file("cgroup.kill"), "1")
            else:
                self._kill_v1()
            for pid in self.processes():
                _wait(pid, deadline)

    def _kill_v1(self) -> None:
        """While they are frozen none forks and none ends, so the list of PIDs stays true; the thaw lets the signals through."""
        try:
            self.freeze()
        except Conflict:
            pass  # one of them hangs; the others can be killed all the same
        except KernelError as error:
            if error.errno != ENOENT:
                raise
            # Somebody was killed in the middle of removing the group, and it is left in some hierarchies only.
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        freezer = self._freezer()
        for group in _tree(f"{freezer.mountpoint}/{self.path}"):
            v1.thaw(group)  # those below may have been frozen on their own

    def delete(self, patience: float = 1.0) -> None:
        """Remove the group and those below it; gone is fine. ``Conflict`` if after so many seconds processes are still in it."""
        deadline = time.monotonic() + patience
        for directory in self.directories:
            for group in _tree(directory):
                while not _rmdir(group):
                    pids = _procs(group)
                    if time.monotonic() > deadline:
                        raise Conflict(f"cgroup {self.path}: processes {pids} are still in it (kill() ends them)")
                    if pids:
                        _wait(pids[0], deadline)
                    else:
                        time.sleep(0.001)  # somebody is on the way out, and on no list any more


def join(directories: Iterable[str], pid: int = 0) -> None:
    """Move a process with all its threads into the groups that have these directories; 0 is the caller.

    It is quick (20 µs) where a process with a single thread moves itself and the hierarchy is v1. In all other cases the
    kernel first waits until nobody on the machine is in the middle of a fork, which takes 5–15 ms. In version 2, a process
    is quick if it is born in its group: ``syscalls.clone(flags, cgroup=…)``.
    """
    single = pid == 0 and os.stat("/proc/self/task").st_nlink == 3  # ".", ".." and one thread
    for directory in directories:
        tasks = f"{directory}/tasks"  # takes threads one by one; only version 1 has it
        write(tasks if single and os.path.exists(tasks) else f"{directory}/cgroup.procs", str(pid))


def _tree(directory: str) -> Iterator[str]:
    """The directories of a group and of all groups below it, the lowest first."""
    try:
        if os.stat(directory).st_nlink != 2:  # ".", ".." and nothing below
            for entry in os.scandir(directory):
                if entry.is_dir():
                    yield from _tree(entry.path)
    except FileNotFoundError:
        return
    yield directory


def _procs(directory: str) -> list[int]:
    """Who is in a group; a process that this PID namespace does not show has the number 0, and is left out."""
    return [int(pid) for pid in read(f"{directory}/cgroup.procs").split() if pid != "0"]


def _rmdir(directory: str) -> bool:
    """Whether the group is gone; not if there is somebody in it."""
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno != EBUSY:
            raise KernelError.of(error, "rmdir", directory) from None
        return False
    return True


def _wait(pid: int, deadline: float) -> None:
    """Wait for the end of a process."""
    try:
        fd = processes.pidfd(pid)
    except NotFound:
        return
    try:
        processes.wait(fd, max(deadline - time.monotonic(), 0))
    finally:
        os.close(fd)
