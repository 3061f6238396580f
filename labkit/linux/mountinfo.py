"""The table of mounts of a process, as ``/proc/PID/mountinfo`` lists it. Reading it needs no privilege.

    >>> from labkit.linux import mounts
    >>> print(mounts.at("/proc"))                        # the mount at a path, or None
    proc on /proc type proc (rw,relatime)
    >>> mounts.holding("/etc/passwd").target             # the mount that a path lies on
    '/'

Called as ``mounts.table``, ``mounts.at``, …: there it stands beside what changes the table. Source: ``man 5 proc``,
``man 7 mount_namespaces``. Shown in notebooks 01 and 03.
"""

from __future__ import annotations

import errno
import os

from labkit.errors import KernelError, NotFound
from labkit.linux.paths import inside
from labkit.records import record


@record
class MountPoint:
    """One line of ``/proc/PID/mountinfo``: what is mounted, where, and how.

    ``root`` is the directory of the file system that appears at ``target`` (not ``/`` for a bind mount), ``propagation``
    its tags (``shared:5``, ``master:3``, ``unbindable``; none means private), ``options`` belong to this mount alone,
    ``super_options`` to the file system wherever it is mounted.
    """

    id: int
    parent: int
    device: str
    root: str
    target: str
    options: tuple[str, ...]
    propagation: tuple[str, ...]
    fstype: str
    source: str
    super_options: tuple[str, ...]

    @property
    def readonly(self) -> bool:
        return "ro" in self.options or "ro" in self.super_options

    def __str__(self) -> str:
        return f"{self.source} on {self.target} type {self.fstype} ({','.join(self.options)})"


def parse(text: str) -> list[MountPoint]:
    """The lines of a ``mountinfo`` file as data."""
    # Not splitlines(): a name may hold one of the rarer characters that it takes for the end of a line.
    return [_parse_line(line) for line in text.split("\n") if line]


def _parse_line(line: str) -> MountPoint:
    # 36 35 98:0 /mnt1 /mnt2 rw,noatime shared:1 master:2 - ext3 /dev/root rw,errors=continue
    ours, _, theirs = line.partition(" - ")
    mount_id, parent, device, root, target, options, *tags = ours.split(" ")
    fstype, source, super_options = theirs.split(" ", 2)
    return MountPoint(
        int(mount_id), int(parent), device, _unescape(root), _unescape(target), tuple(options.split(",")), tuple(tags),
        fstype, _unescape(source), tuple(map(_unescape, super_options.split(","))),
    )  # fmt: skip


def _unescape(text: str) -> str:
    """Blank, tab, newline and backslash are written as octal numbers: ``\\040`` is a blank."""
    if "\\" not in text:
        return text
    first, *rest = text.split("\\")
    return first + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)


def table(pid: int | str = "self") -> list[MountPoint]:
    """All mounts in the mount namespace of a process; ``NotFound`` if it is gone."""
    try:
        with open(f"{_process(pid)}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            return parse(file.read())
    except OSError as error:
        # A zombie has no mount namespace any more: EINVAL.
        if error.errno in (errno.ENOENT, errno.ESRCH, errno.EINVAL):
            raise NotFound(f"process {pid}: no such process") from None
        raise KernelError.of(error, "read the mounts of process", str(pid)) from None


def holding(path: str, pid: int | str = "self") -> MountPoint:
    """The mount on which ``path`` lies, as the process sees it."""
    return _look_up(path, pid)[0]


def at(target: str, pid: int | str = "self") -> MountPoint | None:
    """The topmost mount at ``target`` itself, or None if nothing is mounted there."""
    try:
        mount, name = _look_up(target, pid)
    except NotFound:
        return None
    return mount if mount.target == name else None


def _look_up(path: str, pid: int | str) -> tuple[MountPoint, str]:
    mounts = table(pid)
    with inside(f"{_process(pid)}/root", os.path.abspath(path)) as spot:
        with open(spot.replace("/fd/", "/fdinfo/"), encoding="ascii") as file:
            mount_id = int(next(line for line in file if line.startswith("mnt_id:")).split()[1])
        name = os.readlink(spot)
    found = next((mount for mount in mounts if mount.id == mount_id), None)
    if found is None:
        raise NotFound(f"{path}: its mount is not in the mount namespace of process {pid}")
    return found, name


def _process(pid: int | str) -> str:
    # Every thread has a namespace of its own; "self" means the thread that asks.
    return f"/proc/{'thread-self' if pid == 'self' else pid}"
