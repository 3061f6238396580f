"""Overlayfs: how a union of directories is asked for, why the kernel refuses one, and the marks it leaves in a layer.

        target    /etc/hosts      /etc/motd       /bin/sh          what the container sees
    ────────────────────────────────────────────────────────────────────────────────────────
        upper     /etc/hosts      (whiteout)                       takes every change; work is scratch space beside it
        lower[0]  /etc/hosts      /etc/motd       /bin/sh          topmost of the layers that never change
        lower[1]                                  /bin/sh          hidden below the one above

A file is copied up, whole, when it is first opened for writing. A deleted one leaves a *whiteout*; a directory that was deleted
and made again is marked *opaque*: nothing below it shows through.

    >>> from labkit.linux import mounts
    >>> mounts.overlay(["/layers/app", "/layers/base"], "/layers/c1/upper", "/layers/c1/work", "/mnt")

Source: the kernel's ``Documentation/filesystems/overlayfs.rst``; ``man 8 mount``, "overlay". Shown in notebook 03.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

from labkit.linux.mountinfo import holding


def options(lower: Sequence[str], upper: str | None = None, work: str | None = None) -> tuple[str, ...]:
    """The options of an overlay mount; ``lower`` lists the topmost layer first."""
    words = ["lowerdir=" + ":".join(map(escape, lower))]
    if upper and work:
        words += [f"upperdir={escape(upper)}", f"workdir={escape(work)}"]
    return tuple(words)


def escape(path: str) -> str:
    """A path as it stands in an option: comma and colon would end it there."""
    return path.replace("\\", "\\\\").replace(",", "\\,").replace(":", "\\:")


def parse(words: Sequence[str]) -> tuple[list[str], str | None, str | None, list[str]]:
    """What ``options`` was given: lower, upper and work; and the words that say something else."""
    named = {name: value for name, _, value in (word.partition("=") for word in words)}
    lower, upper, work = (_paths(named[name]) if name in named else [] for name in ("lowerdir", "upperdir", "workdir"))
    others = [word for word in words if not word.startswith(("lowerdir=", "upperdir=", "workdir="))]
    return lower, ":".join(upper) or None, ":".join(work) or None, others


def _paths(value: str) -> list[str]:
    """The paths of an option, without their escapes."""
    found = [""]
    characters = iter(value)
    for character in characters:
        if character == ":":
            found.append("")
        else:
            found[-1] += next(characters, "") if character == "\\" else character
    return found


def explain(code: int, lower: Sequence[str], upper: str | None, work: str | None, target: str) -> str:
    """Why the kernel refused an overlay: it answers EINVAL to most mistakes and tells only dmesg which one it was."""
    for name, path in [("target", target), ("upperdir", upper), ("workdir", work), *(("lowerdir", path) for path in lower)]:
        if path and not os.path.isdir(path):
            return f"{name} {path} is not a directory: make it first"
    if code == errno.EPERM:
        return "mounting takes root"
    if code == errno.EBUSY:
        return "upperdir or workdir is in use by another overlay: give each mount its own"
    if code == errno.ELOOP:
        return "two of the directories lie within each other"
    if len(lower) > 500:
        return f"{len(lower)} lower directories; the kernel stacks at most 500"
    if not (upper and work):
        return "a read-only overlay needs two lower directories or more" if len(lower) < 2 else ""
    upper_mount, work_mount = holding(upper), holding(work)
    if upper_mount.fstype == "overlay":
        return "upperdir is itself on overlayfs: put it on a tmpfs, ext4 or xfs"
    if upper_mount.id != work_mount.id:
        return f"upperdir is on the mount {upper_mount.target}, workdir on {work_mount.target}: both must be on one"
    if upper_mount.readonly:
        return f"upperdir is on {upper_mount.target}, which is read-only"
    upper, work = os.path.realpath(upper), os.path.realpath(work)
    if os.path.commonpath([upper, work]) in (upper, work):
        return "upperdir and workdir must not lie within each other"
    return f"can {upper_mount.fstype} hold an upperdir? it takes trusted.* attributes and d_type; dmesg names the cause"


def is_whiteout(path: str) -> bool:
    """Whether the file at ``path`` in a layer says "deleted": a device 0:0, or since Linux 6.7 an empty file with an attribute."""
    found = os.lstat(path)
    if stat.S_ISCHR(found.st_mode):
        return found.st_rdev == 0
    return stat.S_ISREG(found.st_mode) and not found.st_size and _attribute(path, "whiteout") is not None


def is_opaque(directory: str) -> bool:
    """Whether this directory of a layer hides the same directory of the layers below."""
    return _attribute(directory, "opaque") == b"y"


def _attribute(path: str, name: str) -> bytes | None:
    for namespace in "trusted", "user":  # overlays of root, and those mounted with "userxattr"
        try:
            return os.getxattr(path, f"{namespace}.overlay.{name}", follow_symlinks=False)
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP, errno.EPERM):
                raise
    return None
