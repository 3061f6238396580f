"""Which control group hierarchies this machine has, and where in them a group's directories are.

A hierarchy is a tree of groups, mounted like a file system. Each controller (memory, cpu, …) lives in one of them:

    v1       /sys/fs/cgroup/memory/labkit/c1     a tree for each controller, or for two or three together:
             /sys/fs/cgroup/cpu,cpuacct/…        one group has a directory in each
    v2       /sys/fs/cgroup/labkit/c1            one tree for all
    hybrid   as v1, and besides                  for what no v1 tree has taken, and what version 2 does without
             /sys/fs/cgroup/unified/labkit/c1    a controller: births into a group, pressure

So the version is a matter of each controller, not of the machine: ``detect().controllers["memory"].version``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from labkit.errors import InvalidInput, NotFound
from labkit.linux.cgroups.files import read
from labkit.records import record

# Those that labkit knows; version 1 calls io blkio.
_CONTROLLERS = ("cpuset", "memory", "cpu", "cpuacct", "pids", "io", "hugetlb", "rdma", "misc", "net_cls", "net_prio", "freezer", "devices")

# What version 2 does in every group without any controller: it counts CPU time, freezes, and takes device programs.
_CORE = ("cpuacct", "freezer", "devices")


@record
class Controller:
    """A controller of this machine. ``files``: those it has in every group but the root; empty where that is not known."""

    name: str
    version: int
    mountpoint: str
    files: frozenset[str] = frozenset()


@record
class Layout:
    """The controllers of this machine by name, and ``unified``: where version 2 is mounted, if it is."""

    controllers: Mapping[str, Controller]
    unified: str | None = None

    @property
    def mode(self) -> str:
        """One of "v1", "v2", "hybrid", and "none" where no hierarchy is mounted."""
        v1 = any(controller.version == 1 for controller in self.controllers.values())
        if self.unified:
            return "hybrid" if v1 else "v2"
        return "v1" if v1 else "none"


def detect(mountinfo: str | None = None, v2_controllers: str = "") -> Layout:
    """The layout of this machine, as ``/proc/self/mountinfo`` and version 2's ``cgroup.controllers`` tell.

    Both are read at each call (30 µs); what follows from them is worked out once. With ``mountinfo`` it is the layout of
    the machine that these two texts come from, and no file is read.
    """
    if mountinfo is not None:
        return _parse(_mounts(mountinfo), v2_controllers)
    with open("/proc/self/mountinfo") as file:
        mounts = _mounts(file.read())
    unified = _parse(mounts).unified
    if unified:
        v2_controllers = read(f"{unified}/cgroup.controllers")
    return _with_files(mounts, v2_controllers)


def _mounts(mountinfo: str) -> tuple[str, ...]:
    return tuple(line for line in mountinfo.splitlines() if " - cgroup" in line)


def _parse(mounts: tuple[str, ...], v2_controllers: str = "") -> Layout:
    found: dict[str, Controller] = {}
    unified = None
    for line in mounts:
        left, _, right = line.partition(" - ")
        mountpoint, (fstype, _, options) = left.split()[4], right.split()
        if fstype == "cgroup2":
            unified = unified or mountpoint
        else:
            for name in options.replace("blkio", "io").split(","):
                found.setdefault(name, Controller(name, 1, mountpoint))
    if unified:
        for name in (*v2_controllers.split(), *_CORE):
            found.setdefault(name, Controller(name, 2, unified))
    return Layout({name: found[name] for name in _CONTROLLERS if name in found}, unified)


@lru_cache(maxsize=4)
def _with_files(mounts: tuple[str, ...], v2_controllers: str) -> Layout:
    """The layout, with the files of each controller: what a kernel was built without is missing in every group.

    Any group that happens to exist shows them, but not the root, which has more and less. Where there is none yet, or in
    version 2 none with the controller, nothing is known, and only writing will tell.
    """
    layout = _parse(mounts, v2_controllers)
    seen = {controller.mountpoint: _files_below(controller.mountpoint) for controller in layout.controllers.values()}
    controllers = {}
    for name, controller in layout.controllers.items():
        prefix = "blkio." if name == "io" and controller.version == 1 else f"{name}."
        files, enabled = seen[controller.mountpoint]
        if controller.version == 1 or name in enabled:
            controller = replace(controller, files=frozenset(file for file in files if file.startswith(prefix)))
        controllers[name] = controller
    return Layout(controllers, layout.unified)


def _files_below(mountpoint: str) -> tuple[list[str], list[str]]:
    """The files of some group just below the root, and the controllers that version 2 has enabled there."""
    try:
        group = next((entry.path for entry in os.scandir(mountpoint) if entry.is_dir()), None)
        return (os.listdir(group), read(f"{group}/cgroup.controllers").split()) if group else ([], [])
    except FileNotFoundError:  # the group went away meanwhile
        return [], []


def directories(path: str, layout: Layout) -> tuple[str, ...]:
    """The directories of the group ``path`` ("labkit/c1"), one in each hierarchy; that of version 2, if any, is the last."""
    path = checked(path)
    mountpoints = dict.fromkeys(controller.mountpoint for controller in layout.controllers.values())
    if layout.unified:
        mountpoints.pop(layout.unified, None)
        mountpoints[layout.unified] = None
    return tuple(f"{mountpoint}/{path}" for mountpoint in mountpoints)


def checked(path: str) -> str:
    """``path`` without slashes at its ends; ``InvalidInput`` for the root itself and for a path that climbs."""
    path = path.strip("/")
    if not path or not {"", ".", ".."}.isdisjoint(path.split("/")):
        raise InvalidInput(f"cgroup path: {path!r} is not a group below the root, such as labkit/c1")
    return path


def of(pid: int | str = "self") -> dict[str, str]:
    """The group that a process is in, by controller, as ``/proc/PID/cgroup`` tells: ``{"memory": "/labkit/c1", …}``.

    What version 2 says has the key "unified". ``NotFound`` if the process is gone.
    """
    try:
        with open(f"/proc/{pid}/cgroup") as file:
            lines = file.read().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        raise NotFound(f"process {pid}: it has ended") from None
    groups = {}
    for line in lines:
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            groups[{"": "unified", "blkio": "io"}.get(name, name)] = path
    return groups
