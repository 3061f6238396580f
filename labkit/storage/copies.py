"""One file copied with all that it is: owner, mode, times, extended attributes and holes; what overlayfs does when it copies up.

    >>> from labkit.storage import copies
    >>> copies.copy("/layers/base/bin/ping", "/layers/app/bin/ping")

Symbolic links are copied, not followed. Overlayfs' own attributes stay behind.

Source: ``man 2 lseek`` (SEEK_DATA), ``man 2 copy_file_range``, ``man 7 xattr``. Shown in notebook 05.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from labkit.storage.attributes import OVERLAYFS


def copy(source: str | bytes, target: str | bytes) -> None:
    """Make ``target`` a copy of the file, link, device or (empty) directory ``source``; ``OSError`` if it is there already."""
    found = os.lstat(source)
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFDIR:
        os.mkdir(target, 0o700)
    elif kind == stat.S_IFLNK:
        os.symlink(os.readlink(os.fsencode(source)), os.fsencode(target))
    elif kind == stat.S_IFREG:
        _copy_contents(source, target)
    else:
        os.mknod(target, kind | 0o600, found.st_rdev)
    attributes(source, target)


def attributes(source: str | bytes, target: str | bytes) -> None:
    """Give ``target`` the owner, mode, extended attributes and times of ``source``, which is of the same kind."""
    found = os.lstat(source)
    os.chown(target, found.st_uid, found.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode):
        os.chmod(target, stat.S_IMODE(found.st_mode))  # after chown, which clears setuid
    theirs = dict(xattrs(source))
    for name, value in theirs.items():
        os.setxattr(target, name, value, follow_symlinks=False)
    for name, _ in list(xattrs(target)):
        if name not in theirs and name != "security.selinux":
            os.removexattr(target, name, follow_symlinks=False)
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns), follow_symlinks=False)


def xattrs(path: str | bytes) -> Iterator[tuple[str, bytes]]:
    """The extended attributes of a file by name, without those that overlayfs keeps there for itself."""
    try:
        names = sorted(os.listxattr(path, follow_symlinks=False))
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        return
    for name in names:
        if not name.startswith(OVERLAYFS):
            yield name, os.getxattr(path, name, follow_symlinks=False)


def parts(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Offset and length of what is in an open file between its holes."""
    offset = 0
    while offset < size:
        try:
            start = os.lseek(fd, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return  # nothing but a hole from here on
        offset = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        if start < offset:
            yield start, offset - start


def _copy_contents(source: str | bytes, target: str | bytes) -> None:
    with open(source, "rb", buffering=0) as reader, open(target, "xb", buffering=0) as writer:
        size = os.fstat(reader.fileno()).st_size
        for offset, length in parts(reader.fileno(), size):
            while length:
                count = os.copy_file_range(reader.fileno(), writer.fileno(), length, offset, offset)
                if not count:
                    break
                offset, length = offset + count, length - count
        os.truncate(writer.fileno(), size)
