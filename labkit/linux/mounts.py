"""Mounts: where each file system appears in the tree, and with which options.

A mount namespace is a table of mounts; a container's root file system is a few lines in a table of its own. Reading the
table needs no privilege; changing it needs root. Functions raise ``KernelError`` with the cause where it is known.

    >>> from labkit.linux import mounts
    >>> print(mounts.at("/proc"))
    proc on /proc type proc (rw,relatime)
    >>> with mounts.mounted("tmpfs", "/mnt", "tmpfs", ["size=1m", "noexec"]) as target: ...

Source: ``man 5 proc`` (mountinfo), ``man 7 mount_namespaces``, ``man 2 mount``. Shown in notebooks 01, 03 and 04.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from labkit.errors import InvalidInput, KernelError, Unsupported
from labkit.linux import overlays, syscalls
from labkit.linux.mountinfo import MountPoint, at, holding, parse, table
from labkit.linux.mountoptions import OPTION_WORDS, PROPAGATION, Options, parse_options
from labkit.linux.paths import inside
from labkit.linux.syscalls import MS_BIND, MS_PRIVATE, MS_RDONLY, MS_REC, MS_REMOUNT, MS_SHARED, MS_SLAVE, MS_UNBINDABLE

__all__ = [
    "OPTION_WORDS", "MountPoint", "Options", "at", "bind", "holding", "inside", "make_private", "mask", "mount", "mounted", "overlay",
    "parse", "parse_options", "pivot_root", "remount_readonly", "set_propagation", "table", "unmount",
]  # fmt: skip


def mount(source: str | None, target: str, fstype: str | None, options: Sequence[str] = (), root: str | None = None) -> None:
    """Mount ``source`` at ``target``, as ``mount -t fstype -o options`` does, with every option of an OCI bundle.

    With ``root``, ``target`` is a path inside that root file system: no symbolic link there can lead the mount out of it,
    and the mount point is made if it is missing.
    """
    wanted = parse_options(options)
    flags = wanted.flags | (MS_BIND if fstype == "bind" else 0)
    if len(wanted.data) >= os.sysconf("SC_PAGE_SIZE"):
        raise InvalidInput(f"options of {target}: {len(wanted.data)} bytes; mount(2) takes less than a memory page")
    is_new_bind = flags & MS_BIND and not flags & MS_REMOUNT
    if wanted.copy_up:
        _mount_and_copy_up(source, target, fstype, flags, wanted.data, root)
    else:
        with _spot(root, target, _kind_of_mount_point(source, target) if is_new_bind else "dir") as spot:
            _mount(source, spot, fstype, flags, wanted.data, target)
    changes_bind = is_new_bind and (flags & ~(MS_BIND | MS_REC) or wanted.clear)
    if not (changes_bind or wanted.propagation or wanted.tree_set or wanted.tree_clear):
        return
    with _spot(root, target) as spot:  # looked up again: now it leads to the mount just made
        if changes_bind:
            _change_bind(spot, flags, wanted.clear, target)
        for flag in wanted.propagation:
            _mount(None, spot, None, flag, "", target, "change propagation of")
        if wanted.tree_set or wanted.tree_clear:
            _change_tree(spot, wanted.tree_set, wanted.tree_clear, target)


def bind(source: str, target: str, readonly: bool = False, recursive: bool = True, root: str | None = None) -> None:
    """Let the file or directory ``source`` appear at ``target`` too; ``readonly`` holds for this mount, not for those below it."""
    mount(source, target, None, ["rbind" if recursive else "bind", *(["ro"] if readonly else [])], root)


def remount_readonly(target: str) -> None:
    """Make the mount at ``target`` read-only, here alone: the file system may be writable elsewhere."""
    _change_bind(target, MS_BIND | MS_RDONLY | _kept_flags(target), 0, target)


_NOT_ROOT = "changing mounts takes root"

# What a mount that came from a more privileged namespace must keep, if it has it (man 7 mount_namespaces).
_LOCKED = {
    os.ST_RDONLY: syscalls.MS_RDONLY,
    os.ST_NOSUID: syscalls.MS_NOSUID,
    os.ST_NODEV: syscalls.MS_NODEV,
    os.ST_NOEXEC: syscalls.MS_NOEXEC,
    os.ST_NOATIME: syscalls.MS_NOATIME,
    os.ST_NODIRATIME: syscalls.MS_NODIRATIME,
    os.ST_RELATIME: syscalls.MS_RELATIME,
}


def _kept_flags(path: str) -> int:
    try:
        present = os.statvfs(path).f_flag
    except OSError as error:
        raise KernelError.of(error, "look at the mount of", path) from None
    return sum(flag for bit, flag in _LOCKED.items() if present & bit)


def _change_bind(spot: str, flags: int, clear: int, target: str) -> None:
    """A bind takes over the options of its source whatever it is told; options of its own need this second call."""
    flags = flags & ~MS_REC | MS_BIND | MS_REMOUNT
    try:
        _mount(None, spot, None, flags, "", target)
    except KernelError as error:
        kept = _kept_flags(spot)
        if error.errno != errno.EPERM or kept & clear:
            raise
        _mount(None, spot, None, flags | kept, "", target)


def overlay(lower: Sequence[str], upper: str | None, work: str | None, target: str, options: Sequence[str] = ()) -> None:
    """Mount the union of directories at ``target``; ``lower`` lists the topmost first, and without ``upper`` it is read-only."""
    words = (*overlays.options(lower, upper, work), *options)
    layers: list[int] = []
    try:
        if len(",".join(words)) >= os.sysconf("SC_PAGE_SIZE"):
            # Too long for mount(2). The name of a descriptor is short, and the kernel follows it. The topmost keeps its own name, by
            # which whoever looks at the table of mounts sees that a layer, and with it all below it, is in use.
            layers.extend(os.open(path, os.O_PATH) for path in lower[1:])
            words = (*overlays.options([lower[0], *(f"/proc/self/fd/{fd}" for fd in layers)], upper, work), *options)
        mount("overlay", target, "overlay", words)
    except (KernelError, OSError) as error:
        code = error.errno or 0
        raise KernelError(code, "mount overlay on", target, overlays.explain(code, lower, upper, work, target)) from None
    finally:
        for fd in layers:
            os.close(fd)


def set_propagation(target: str, propagation: str) -> None:
    """Say how mounts below ``target`` spread: ``private``, ``slave``, ``shared``, ``unbindable``, or ``rprivate``, … for the whole tree."""
    if propagation not in PROPAGATION:
        raise InvalidInput(f"propagation: {propagation!r} is none of {', '.join(PROPAGATION)}")
    _mount(None, target, None, PROPAGATION[propagation], "", target, f"make {propagation}")


def make_private(target: str = "/", recursive: bool = True) -> None:
    """Let no mount made here appear elsewhere, nor the reverse: the first thing to do in a new mount namespace."""
    set_propagation(target, "rprivate" if recursive else "private")


def pivot_root(new_root: str) -> None:
    """Make ``new_root``, a mount point, the root of this mount namespace, and let go of the old root.

    No directory for the old root is needed: with both arguments "." the kernel stacks the old root on top of the new
    one, where "." still finds it.
    """
    before, old = os.open(".", os.O_PATH), os.open("/", os.O_PATH)
    try:
        os.chdir(new_root)
        try:
            syscalls.pivot_root(".", ".")
        except KernelError as error:
            os.fchdir(before)
            hint = "new root must be a mount point (bind it on itself), and no mount around it shared (make_private)"
            raise KernelError(error.errno, "pivot_root to", new_root, hint if error.errno in (errno.EINVAL, errno.EBUSY) else "") from None
        os.fchdir(old)
        # Slave, so that the unmount does not spread to the host; not private, so that what the host unmounts goes here too.
        syscalls.mount(None, ".", None, MS_SLAVE | MS_REC)
        syscalls.umount(".", syscalls.MNT_DETACH)
        os.chdir("/")
    except OSError as error:
        raise KernelError.of(error, "pivot_root to", new_root) from None
    finally:
        os.close(before)
        os.close(old)


def mask(path: str) -> None:
    """Hide what ``path`` holds: a file behind ``/dev/null``, a directory behind an empty read-only tmpfs. Missing is fine."""
    if os.path.isdir(path):
        _mount("tmpfs", path, "tmpfs", MS_RDONLY, "", path)
    elif os.path.exists(path):
        _mount("/dev/null", path, None, MS_BIND, "", path)
        # An image may carry a /dev/null of its own that leads anywhere (CVE-2025-31133).
        found = os.stat(path)
        if not stat.S_ISCHR(found.st_mode) or found.st_rdev != os.makedev(1, 3):
            unmount(path)
            raise KernelError(errno.ENODEV, "mask", path, "/dev/null is not the null device here")


def unmount(target: str, lazy: bool = False) -> None:
    """Detach the topmost mount at ``target``; nothing mounted there is fine. ``lazy`` detaches it, and all below it, even when in use."""
    try:
        syscalls.umount(target, syscalls.UMOUNT_NOFOLLOW | (syscalls.MNT_DETACH if lazy else 0))
    except KernelError as error:
        if error.errno == errno.ENOENT or (error.errno == errno.EINVAL and at(target) is None):
            return
        hint = {
            errno.EBUSY: f"a process has a file or its working directory there (fuser -vm {target}), or a mount lies below it",
            errno.EINVAL: "a symbolic link" if os.path.islink(target) else "locked: it came from a more privileged mount namespace",
            errno.EPERM: _NOT_ROOT,
        }.get(error.errno, "")
        raise KernelError(error.errno, "unmount", target, hint) from None


@contextmanager
def mounted(source: str | None, target: str, fstype: str | None, options: Sequence[str] = ()) -> Iterator[str]:
    """``mount`` on the way in, ``unmount`` on the way out; yields ``target``."""
    mount(source, target, fstype, options)
    try:
        yield target
    finally:
        unmount(target)


@contextmanager
def _spot(root: str | None, target: str, create: str | None = None) -> Iterator[str]:
    if root is None:
        yield target
    else:
        with inside(root, target, create) as spot:
            yield spot


def _kind_of_mount_point(source: str | None, target: str) -> str:
    try:
        return "dir" if stat.S_ISDIR(os.stat(source or "").st_mode) else "file"
    except OSError as error:
        raise KernelError.of(error, f"bind {source} on", target, f"source {source}: {os.strerror(error.errno or 0)}") from None


def _mount(source: str | None, spot: str, fstype: str | None, flags: int, data: str, target: str, operation: str = "") -> None:
    """``mount(2)`` on ``spot``; an error tells of ``target``, the path that the caller knows, and of the cause."""
    try:
        syscalls.mount(source, spot, fstype, flags, data or None)
    except KernelError as error:
        code, hint = error.errno, ""
        if code == errno.ENODEV and fstype and not flags & MS_BIND:
            raise Unsupported(f"mount {fstype} on {target}: this kernel has no file system {fstype} (see /proc/filesystems)") from None
        if code == errno.EPERM and os.geteuid() != 0:
            hint = _NOT_ROOT
        elif code == errno.ENOENT and not os.path.exists(spot):
            hint = "the mount point does not exist"
        elif code == errno.ENOTDIR:
            hint = "a directory goes on a directory, a file on a file"
        elif code == errno.EINVAL and flags & (MS_REMOUNT | MS_PRIVATE | MS_SLAVE | MS_SHARED | MS_UNBINDABLE):
            hint = "this is not a mount point"
        elif code == errno.EINVAL and data:
            hint = f"is one of {data} unknown to {fstype}? dmesg may say which"
        raise KernelError(code, operation or error.operation, target, hint) from None


def _change_tree(spot: str, attributes: int, clear: int, target: str) -> None:
    fd = os.open(spot, os.O_PATH)
    try:
        syscalls.mount_setattr(fd, attributes, clear, recursive=True)
    except KernelError as error:
        if error.errno == errno.ENOSYS:
            raise Unsupported(f"options of {target}: rro and the like need Linux 5.12") from None
        raise KernelError(error.errno, "change the mounts below", target) from None
    finally:
        os.close(fd)


def _mount_and_copy_up(source: str | None, target: str, fstype: str | None, flags: int, data: str, root: str | None) -> None:
    """``tmpcopyup``: a new tmpfs that starts with what it covers."""
    with _spot(root, target, "dir") as spot:
        covered = os.open(spot, os.O_PATH)
        try:
            _mount(source, spot, fstype, flags & ~MS_RDONLY, data, target)
            with _spot(root, target) as new:
                _copy_tree(f"/proc/self/fd/{covered}", new)
                if flags & MS_RDONLY:
                    _mount(None, new, None, flags | MS_REMOUNT, data, target)
        finally:
            os.close(covered)


def _copy_tree(source: str, target: str) -> None:
    """``cp -a source/. target``."""
    import shutil

    shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    for directory, directories, files in os.walk(source):
        for name in (".", *directories, *files):
            here = os.path.join(directory, name)
            owner = os.lstat(here)
            os.lchown(os.path.join(target, os.path.relpath(here, source)), owner.st_uid, owner.st_gid)
