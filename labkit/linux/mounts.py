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
from dataclasses import dataclass

from labkit.errors import InvalidInput, KernelError, NotFound, Unsupported
from labkit.linux import syscalls
from labkit.linux.syscalls import MS_BIND, MS_PRIVATE, MS_RDONLY, MS_REC, MS_REMOUNT, MS_SHARED, MS_SLAVE, MS_UNBINDABLE


@dataclass(frozen=True)
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
    return [_parse_line(line) for line in text.splitlines()]


def _parse_line(line: str) -> MountPoint:
    # 36 35 98:0 /mnt1 /mnt2 rw,noatime shared:1 master:2 - ext3 /dev/root rw,errors=continue
    ours, _, theirs = line.partition(" - ")
    mount_id, parent, device, root, target, options, *tags = ours.split(" ")
    fstype, source, super_options = theirs.split(" ", 2)
    return MountPoint(
        int(mount_id), int(parent), device, _unescape(root), _unescape(target), tuple(options.split(",")), tuple(tags),
        fstype, _unescape(source), tuple(_unescape(super_options).split(",")),
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
        with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
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
    with inside(f"/proc/{pid}/root", os.path.abspath(path)) as spot:
        with open(spot.replace("/fd/", "/fdinfo/"), encoding="ascii") as file:
            mount_id = int(next(line for line in file if line.startswith("mnt_id:")).split()[1])
        name = os.readlink(spot)
    found = next((mount for mount in mounts if mount.id == mount_id), None)
    if found is None:
        raise NotFound(f"{path}: its mount is not in the mount namespace of process {pid}")
    return found, name


# The words of mount(8) and of an OCI bundle: the flag, the word that sets it and the one that takes it back.
_FLAGS = (
    (syscalls.MS_RDONLY, "ro", "rw"),
    (syscalls.MS_NOSUID, "nosuid", "suid"),
    (syscalls.MS_NODEV, "nodev", "dev"),
    (syscalls.MS_NOEXEC, "noexec", "exec"),
    (syscalls.MS_NOSYMFOLLOW, "nosymfollow", "symfollow"),
    (syscalls.MS_NOATIME, "noatime", "atime"),
    (syscalls.MS_NODIRATIME, "nodiratime", "diratime"),
    (syscalls.MS_RELATIME, "relatime", "norelatime"),
    (syscalls.MS_STRICTATIME, "strictatime", "nostrictatime"),
    (syscalls.MS_LAZYTIME, "lazytime", "nolazytime"),
    (syscalls.MS_SYNCHRONOUS, "sync", "async"),
    (syscalls.MS_DIRSYNC, "dirsync", ""),
    (syscalls.MS_MANDLOCK, "mand", "nomand"),
    (syscalls.MS_I_VERSION, "iversion", "noiversion"),
    (syscalls.MS_POSIXACL, "acl", "noacl"),
    (syscalls.MS_SILENT, "silent", "loud"),
    (syscalls.MS_REMOUNT, "remount", ""),
    (syscalls.MS_BIND, "bind", ""),
    (syscalls.MS_BIND | syscalls.MS_REC, "rbind", ""),
)
# The same for a whole tree of mounts, in the numbers of mount_setattr(2): rro, rrw, rnosuid, …
_TREE_FLAGS = (
    (syscalls.MOUNT_ATTR_RDONLY, "rro", "rrw"),
    (syscalls.MOUNT_ATTR_NOSUID, "rnosuid", "rsuid"),
    (syscalls.MOUNT_ATTR_NODEV, "rnodev", "rdev"),
    (syscalls.MOUNT_ATTR_NOEXEC, "rnoexec", "rexec"),
    (syscalls.MOUNT_ATTR_NOSYMFOLLOW, "rnosymfollow", "rsymfollow"),
    (syscalls.MOUNT_ATTR_NOATIME, "rnoatime", "ratime"),
    (syscalls.MOUNT_ATTR_NODIRATIME, "rnodiratime", "rdiratime"),
    (syscalls.MOUNT_ATTR_RELATIME, "rrelatime", "rnorelatime"),
    (syscalls.MOUNT_ATTR_STRICTATIME, "rstrictatime", "rnostrictatime"),
)
_SET, _CLEAR = {word: flag for flag, word, _ in _FLAGS}, {word: flag for flag, _, word in _FLAGS if word}
_TREE_SET, _TREE_CLEAR = {word: flag for flag, word, _ in _TREE_FLAGS}, {word: flag for flag, _, word in _TREE_FLAGS}
_PROPAGATION = {
    prefix + word: flag | recursive
    for word, flag in {"private": MS_PRIVATE, "slave": MS_SLAVE, "shared": MS_SHARED, "unbindable": MS_UNBINDABLE}.items()
    for prefix, recursive in {"": 0, "r": MS_REC}.items()
}

OPTION_WORDS = tuple(sorted({*_SET, *_CLEAR, *_TREE_SET, *_TREE_CLEAR, *_PROPAGATION, "defaults", "tmpcopyup"}))
"""Every option that labkit itself understands; all others are handed to the file system."""


@dataclass(frozen=True)
class Options:
    """Mount options by the call that takes them.

    ``flags`` and ``data`` go to ``mount(2)``; ``clear`` holds the flags that were explicitly taken back (``rw``, ``dev``);
    ``propagation`` needs a call of its own each; ``tree_set`` and ``tree_clear`` are for ``mount_setattr(2)`` on the whole tree
    (``rro``); ``copy_up`` fills a new tmpfs with what lay below it (``tmpcopyup``).
    """

    flags: int = 0
    clear: int = 0
    propagation: tuple[int, ...] = ()
    data: str = ""
    tree_set: int = 0
    tree_clear: int = 0
    copy_up: bool = False


def parse_options(words: Sequence[str]) -> Options:
    """Sort the words of ``mount -o`` by what they are; of two that contradict each other the later one wins.

    >>> parse_options(["nosuid", "mode=755", "size=64k"]).data
    'mode=755,size=64k'
    """
    flags = clear = tree_set = tree_clear = 0
    propagation, data, copy_up = [], [], False
    for word in words:
        if flag := _SET.get(word):
            flags, clear = flags | flag, clear & ~flag
        elif flag := _CLEAR.get(word):
            flags, clear = flags & ~flag, clear | flag
        elif flag := _PROPAGATION.get(word):
            propagation.append(flag)
        elif word in _TREE_SET:
            flag = _TREE_SET[word]
            tree_set, tree_clear = tree_set | flag, tree_clear & ~flag
            if word in ("rnoatime", "rrelatime", "rstrictatime"):
                # The access-time setting is one field of three values, not a bit: it has to be cleared to be set.
                tree_clear |= syscalls.MOUNT_ATTR__ATIME
        elif word in _TREE_CLEAR:
            flag = _TREE_CLEAR[word]
            tree_set, tree_clear = tree_set & ~flag, tree_clear | flag
        elif word == "tmpcopyup":
            copy_up = True
        elif word and word != "defaults":
            data.append(word)
    return Options(flags, clear, tuple(propagation), ",".join(data), tree_set, tree_clear, copy_up)


def mount(source: str | None, target: str, fstype: str | None, options: Sequence[str] = (), root: str | None = None) -> None:
    """Mount ``source`` at ``target``, as ``mount -t fstype -o options`` does, with every option of an OCI bundle.

    With ``root``, ``target`` is a path inside that root file system: no symbolic link there can lead the mount out of it,
    and the mount point is made if it is missing.
    """
    parsed = parse_options(options)
    flags, data = parsed.flags, parsed.data
    if fstype == "bind":
        flags |= MS_BIND
    if len(data) >= os.sysconf("SC_PAGE_SIZE"):
        raise InvalidInput(f"options of {target}: {len(data)} bytes; mount(2) takes less than a memory page")
    is_new_bind = flags & MS_BIND and not flags & MS_REMOUNT
    bind_to_file = is_new_bind and not os.path.isdir(source or "")
    with _spot(root, target, "file" if bind_to_file else "dir") as spot:
        covered = os.open(spot, os.O_PATH) if parsed.copy_up else -1
        try:
            _mount(source, spot, fstype, flags & ~MS_RDONLY if parsed.copy_up else flags, data, target)
            if parsed.copy_up:
                with _spot(root, target) as new:
                    _copy_tree(f"/proc/self/fd/{covered}", new)
                    if flags & MS_RDONLY:
                        _mount(None, new, None, flags | MS_REMOUNT, data, target)
        finally:
            if covered >= 0:
                os.close(covered)
    changes_bind = is_new_bind and (flags & ~(MS_BIND | MS_REC) or parsed.clear)
    if not (changes_bind or parsed.propagation or parsed.tree_set or parsed.tree_clear):
        return
    with _spot(root, target) as spot:  # looked up again: now it leads to the mount just made
        if changes_bind:
            _change_bind(spot, flags, parsed.clear, target)
        for flag in parsed.propagation:
            _mount(None, spot, None, flag, "", target)
        if parsed.tree_set or parsed.tree_clear:
            fd = os.open(spot, os.O_PATH)
            try:
                syscalls.mount_setattr(fd, parsed.tree_set, parsed.tree_clear, recursive=True)
            finally:
                os.close(fd)


def bind(source: str, target: str, readonly: bool = False, recursive: bool = True, root: str | None = None) -> None:
    """Let the file or directory ``source`` appear at ``target`` too; ``readonly`` holds for this mount, not for those below it."""
    mount(source, target, None, ["rbind" if recursive else "bind", *(["ro"] if readonly else [])], root)


def remount_readonly(target: str) -> None:
    """Make the mount at ``target`` read-only, here alone: the file system may be writable elsewhere."""
    _change_bind(target, MS_BIND | MS_RDONLY | _kept_flags(target), 0, target)


# A mount that came from a more privileged namespace keeps its restrictions: what is set here, nobody may clear (man 7 mount_namespaces).
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
    present = os.statvfs(path).f_flag
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


def overlay_options(lower: Sequence[str], upper: str | None = None, work: str | None = None) -> tuple[str, ...]:
    """The options of an overlay mount; ``lower`` lists the topmost layer first."""
    options = ["lowerdir=" + ":".join(map(_escape, lower))]
    if upper and work:
        options += [f"upperdir={_escape(upper)}", f"workdir={_escape(work)}"]
    return tuple(options)


def _escape(path: str) -> str:
    return path.replace("\\", "\\\\").replace(",", "\\,").replace(":", "\\:")


def overlay(lower: Sequence[str], upper: str | None, work: str | None, target: str, options: Sequence[str] = ()) -> None:
    """Mount the union of directories at ``target``: see ``man 8 mount``, "overlay", and the kernel's ``overlayfs.rst``.

        target    what the container sees
        upper     takes every change; work is the kernel's scratch directory beside it
        lower[0]  topmost of the layers that stay as they are
        lower[n]

    Without ``upper`` the union is read-only.
    """
    words = (*overlay_options(lower, upper, work), *options)
    descriptors: list[int] = []
    try:
        if len(",".join(words)) >= os.sysconf("SC_PAGE_SIZE"):
            # Too long for mount(2). A descriptor's name is short, and the kernel follows it.
            descriptors.extend(map(_open_layer, lower))
            words = (*overlay_options([f"/proc/self/fd/{fd}" for fd in descriptors], upper, work), *options)
        mount("overlay", target, "overlay", words)
    except KernelError as error:
        hint = _overlay_hint(error.errno, lower, upper, work, target)
        raise KernelError(error.errno, error.operation, target, hint or error.hint) from None
    finally:
        for fd in descriptors:
            os.close(fd)


def _open_layer(path: str) -> int:
    try:
        return os.open(path, os.O_PATH | os.O_DIRECTORY)
    except OSError as error:
        raise KernelError.of(error, "mount overlay: open lower layer", path) from None


def _overlay_hint(code: int, lower: Sequence[str], upper: str | None, work: str | None, target: str) -> str:
    """Why the kernel refused an overlay: it answers EINVAL to most mistakes and tells only dmesg which one it was."""
    for name, path in [("target", target), ("upperdir", upper), ("workdir", work), *(("lowerdir", path) for path in lower)]:
        if path and not os.path.isdir(path):
            return f"{name} {path} is not a directory: make it first"
    if code == errno.EBUSY:
        return "upperdir or workdir is in use by another overlay: give each mount its own"
    if code == errno.ELOOP:
        return "two of the directories lie within each other"
    if not (upper and work):
        return "a read-only overlay needs at least two lower directories" if len(lower) < 2 else ""
    upper_mount, work_mount = holding(upper), holding(work)
    if upper_mount.fstype == "overlay":
        return "upperdir is itself on overlayfs: put it on a tmpfs, ext4 or xfs"
    if upper_mount.id != work_mount.id:
        return f"upperdir is on mount {upper_mount.target}, workdir on {work_mount.target}: both must be on one mount"
    if code == errno.EROFS or upper_mount.readonly:
        return f"upperdir is on {upper_mount.target}, which is read-only"
    if os.path.commonpath([upper, work]) in (upper, work):
        return "upperdir and workdir must not lie within each other"
    if len(lower) > 500:
        return f"{len(lower)} lower directories; the kernel stacks at most 500"
    return f"can {upper_mount.fstype} hold an upperdir? it takes trusted.* attributes and d_type; dmesg names the cause"


def set_propagation(target: str, propagation: str) -> None:
    """Say how mounts below ``target`` spread: ``private``, ``slave``, ``shared``, ``unbindable``, or ``rprivate``, … for the whole tree."""
    if propagation not in _PROPAGATION:
        raise InvalidInput(f"propagation: {propagation!r} is none of {', '.join(_PROPAGATION)}")
    _mount(None, target, None, _PROPAGATION[propagation], "", target, f"make {propagation}")


def make_private(target: str = "/", recursive: bool = True) -> None:
    """Let no mount made here appear elsewhere, nor the reverse: the first thing to do in a new mount namespace."""
    set_propagation(target, "rprivate" if recursive else "private")


def pivot_root(new_root: str) -> None:
    """Make ``new_root``, a mount point, the root of this mount namespace, and let go of the old root.

    No directory for the old root is needed: with both arguments "." the kernel stacks the old root on top of the new
    one, where "." still finds it.
    """
    old = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        os.chdir(new_root)
        syscalls.pivot_root(".", ".")
        os.fchdir(old)
        # Slave, so that the unmount does not spread to the host; not private, so that what the host unmounts goes here too.
        syscalls.mount(None, ".", None, MS_SLAVE | MS_REC)
        syscalls.umount(".", syscalls.MNT_DETACH)
        os.chdir("/")
    except KernelError as error:
        hint = ""
        if error.errno == errno.EINVAL:
            hint = "new root must be a mount point (bind it on itself), and neither it nor the old root's parent shared (make_private)"
        os.fchdir(old)
        raise KernelError(error.errno, "pivot_root to", new_root, hint) from None
    except OSError as error:
        raise KernelError.of(error, "pivot_root to", new_root) from None
    finally:
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
            errno.EINVAL: "the mount belongs to a more privileged namespace and is locked",
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
def inside(root: str, path: str, create: str | None = None) -> Iterator[str]:
    """``path`` as a process sees it whose root directory is ``root``: a name that is safe to mount on.

    Each component is opened from the one before, links are followed by hand, ``..`` goes back along the way it came: neither
    a link in an image (CVE-2019-19921) nor one swapped in at the right moment (CVE-2021-30465) leads out of ``root``.
    ``create`` makes what is missing: directories, and at the end a "dir" or a "file". Yields ``/proc/self/fd/N``.
    """
    try:
        fd = _walk(root, path, create)
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file or directory" + (f" in {root}" if root != "/proc/self/root" else "")) from None
    except OSError as error:
        raise KernelError.of(error, f"find {path} in", root) from None
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _walk(root: str, path: str, create: str | None) -> int:
    trail = [os.open(root, os.O_PATH | os.O_DIRECTORY)]  # from the root down to where we are
    ahead = path.split("/")[::-1]
    links = 0
    try:
        while ahead:
            name = ahead.pop()
            if name in ("", "."):
                continue
            if name == "..":
                if len(trail) > 1:
                    os.close(trail.pop())
                continue
            kind = create and ("dir" if any(ahead) else create)
            fd = _open_or_make(name, trail[-1], kind)
            if not stat.S_ISLNK(os.fstat(fd).st_mode):
                trail.append(fd)
                continue
            link = os.readlink("", dir_fd=fd)
            os.close(fd)
            links += 1
            if links > 40:
                raise OSError(errno.ELOOP, "too many symbolic links")
            while link.startswith("/") and len(trail) > 1:
                os.close(trail.pop())
            ahead += link.split("/")[::-1]
        return trail.pop()
    finally:
        for fd in trail:
            os.close(fd)


def _open_or_make(name: str, directory: int, kind: str | None) -> int:
    flags = os.O_PATH | os.O_NOFOLLOW
    try:
        return os.open(name, flags, dir_fd=directory)
    except FileNotFoundError:
        if kind is None:
            raise
    try:
        if kind == "dir":
            os.mkdir(name, 0o755, dir_fd=directory)
        else:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL, 0o644, dir_fd=directory))
    except FileExistsError:
        pass  # somebody else was faster
    return os.open(name, flags, dir_fd=directory)


@contextmanager
def _spot(root: str | None, target: str, create: str | None = None) -> Iterator[str]:
    if root is None:
        yield target
    else:
        with inside(root, target, create) as spot:
            yield spot


_NOT_ROOT = "changing mounts takes root"


def _mount(source: str | None, spot: str, fstype: str | None, flags: int, data: str, target: str, operation: str = "") -> None:
    """``mount(2)`` on ``spot``, with the path and the cause that the user knows in the error."""
    try:
        syscalls.mount(source, spot, fstype, flags, data or None)
    except KernelError as error:
        code = error.errno
        if code == errno.ENODEV:
            raise Unsupported(f"mount {fstype} on {target}: this kernel has no file system {fstype} (see /proc/filesystems)") from None
        hint = ""
        if code == errno.EPERM and os.geteuid() != 0:
            hint = _NOT_ROOT
        elif code == errno.ENOENT and not os.path.exists(spot):
            hint = "the mount point does not exist"
        elif code == errno.ENOENT and source and flags & MS_BIND:
            hint = f"source {source} does not exist"
        elif code == errno.ENOTDIR:
            hint = "a directory goes on a directory, a file on a file"
        elif code == errno.EINVAL and flags & (MS_REMOUNT | MS_PRIVATE | MS_SLAVE | MS_SHARED | MS_UNBINDABLE):
            hint = "this is not a mount point"
        elif code == errno.EINVAL and data:
            hint = f"is one of {data} unknown to {fstype}? dmesg may say which"
        raise KernelError(code, operation or error.operation, target, hint) from None


def _copy_tree(source: str, target: str) -> None:
    """``cp -a source/. target``, for tmpcopyup."""
    import shutil

    def copy(here: str, there: str) -> str:
        shutil.copy2(here, there, follow_symlinks=False)
        return there

    shutil.copytree(source, target, symlinks=True, copy_function=copy, dirs_exist_ok=True)
    for directory, directories, files in os.walk(source):
        for name in (".", *directories, *files):
            here = os.path.join(directory, name)
            owner = os.lstat(here)
            os.lchown(os.path.join(target, os.path.relpath(here, source)), owner.st_uid, owner.st_gid)
