"""Which control group hierarchies this machine has, and where a group's directories are.

Version 1 has one tree a controller, version 2 one tree for all; a machine may mix them, so each controller says which it is:

    v1      /sys/fs/cgroup/memory/…  /sys/fs/cgroup/cpu,cpuacct/…  …             a directory a tree for one group
    v2      /sys/fs/cgroup/…                                                     one directory, files of all controllers
    hybrid  as v1, and /sys/fs/cgroup/unified/… with what no v1 tree has taken   both
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from labkit.errors import InvalidInput, KernelError, NotFound

CONTROLLERS = ("cpuset", "memory", "cpu", "cpuacct", "pids", "io", "hugetlb", "freezer", "devices")

# What version 2 does for every group without a controller: counting CPU time, freezing, device programs.
_CORE_OF_V2 = ("cpuacct", "freezer", "devices")


@dataclass(frozen=True, slots=True)
class Controller:
    """One controller of this machine. ``files``: those of its files that a group is known to have; empty if not known."""

    name: str
    version: int
    mountpoint: str
    files: frozenset[str] = frozenset()

    def lacks(self, file: str) -> bool:
        """True if it is known that groups of this machine have no such file."""
        return bool(self.files) and file not in self.files


@dataclass(frozen=True, slots=True)
class Layout:
    """The hierarchies of this machine: its controllers by name, and ``unified``, where version 2 is mounted if it is."""

    controllers: Mapping[str, Controller]
    unified: str | None = None

    @property
    def mode(self) -> str:
        """``"v1"``, ``"v2"`` or ``"hybrid"``: as ``labkit doctor`` says it."""
        if all(controller.version == 2 for controller in self.controllers.values()):
            return "v2"
        return "hybrid" if self.unified else "v1"


def detect(mountinfo: str | None = None, v2_controllers: str = "") -> Layout:
    """The layout of this machine; with a text (``/proc/PID/mountinfo``, ``cgroup.controllers``) the one it describes.

    It is read afresh at each call (50 µs), and worked out once for each content.
    """
    if mountinfo is not None:
        return _parse(_cgroup_lines(mountinfo), v2_controllers)
    with open("/proc/self/mountinfo") as file:
        lines = _cgroup_lines(file.read())
    unified = _parse(lines, "").unified
    return _look(lines, _read(f"{unified}/cgroup.controllers") if unified else "")


def _cgroup_lines(mountinfo: str) -> tuple[str, ...]:
    return tuple(line for line in mountinfo.splitlines() if " - cgroup" in line)


def _parse(lines: tuple[str, ...], v2_controllers: str) -> Layout:
    found: dict[str, Controller] = {}
    unified = None
    for line in lines:
        before, _, after = line.partition(" - ")
        mountpoint, (fstype, _, options) = before.split()[4], after.split()
        if fstype == "cgroup2":
            unified = unified or mountpoint
            continue
        for word in options.split(","):
            name = "io" if word == "blkio" else word
            if name in CONTROLLERS:
                found.setdefault(name, Controller(name, 1, mountpoint))
    if unified:
        for name in (*v2_controllers.split(), *_CORE_OF_V2):
            if name in CONTROLLERS:
                found.setdefault(name, Controller(name, 2, unified))
    return Layout({name: found[name] for name in CONTROLLERS if name in found}, unified)


@lru_cache(maxsize=8)
def _look(lines: tuple[str, ...], v2_controllers: str) -> Layout:
    """The layout, with the files that a group has: what the kernel was built without shows in any group but the root."""
    layout = _parse(lines, v2_controllers)
    seen: dict[str, list[str]] = {}
    for controller in layout.controllers.values():
        if controller.mountpoint not in seen:
            child = next((entry.path for entry in os.scandir(controller.mountpoint) if entry.is_dir()), None)
            seen[controller.mountpoint] = os.listdir(child) if child else []
    controllers = {}
    for name, controller in layout.controllers.items():
        prefix = "blkio." if (name, controller.version) == ("io", 1) else f"{name}."
        controllers[name] = replace(controller, files=frozenset(f for f in seen[controller.mountpoint] if f.startswith(prefix)))
    return Layout(controllers, layout.unified)


def directories(path: str, layout: Layout) -> tuple[str, ...]:
    """The directories of group ``path`` ("labkit/c1"), one in each hierarchy, that of version 2 last. Nothing is made."""
    path = checked(path)
    mountpoints = dict.fromkeys(controller.mountpoint for controller in layout.controllers.values())
    if layout.unified:
        mountpoints.pop(layout.unified, None)
        mountpoints[layout.unified] = None
    return tuple(f"{mountpoint}/{path}" for mountpoint in mountpoints)


def of(pid: int | str = "self") -> dict[str, str]:
    """The group of a process in each hierarchy, as ``/proc/PID/cgroup`` tells: ``{"memory": "/labkit/c1", …}``.

    The key of version 2 is ``"unified"``. ``NotFound`` if the process is gone.
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


def checked(path: str) -> str:
    """``path`` without its outer slashes; ``InvalidInput`` for the root and for what would climb out of it."""
    path = path.strip("/")
    if not path or {"", ".", ".."} & set(path.split("/")):
        raise InvalidInput(f"cgroup path: {path!r} does not name a group below the root")
    return path


def ancestors(path: str) -> Iterator[str]:
    """``"a/b/c"`` gives ``"a"`` and ``"a/b"``."""
    names = path.split("/")
    return ("/".join(names[:depth]) for depth in range(1, len(names)))


def _read(file: str) -> str:
    try:
        with open(file) as opened:
            return opened.read().strip()
    except OSError as error:
        raise KernelError.of(error, "read", file) from None
