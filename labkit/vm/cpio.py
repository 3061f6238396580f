"""Archives in the form that a kernel unpacks into memory as its first root file system: cpio, "newc".

    >>> from labkit.vm import cpio
    >>> archive = cpio.Archive()
    >>> archive.file("init", b"#!/busybox sh\\n", 0o755)
    >>> archive.tree("/tmp/rootfs", below="image")
    >>> archive.write(file)

An entry is a header of 110 characters, 13 numbers of eight hexadecimal digits each, then the name, then the contents, padded so that each
begins at a multiple of four; the last one is called ``TRAILER!!!``. Files with several names share an inode number, and only the last of
them brings the contents. Extended attributes have no place in it.
Source: the kernel's ``Documentation/driver-api/early-userspace/buffer-format.rst``; ``man 5 cpio``. Notebook 08.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import BinaryIO

from labkit.errors import InvalidInput

_CHUNK = 1 << 20
_LARGEST = 0xFFFFFFFF


class Archive:
    """What is to be written; files of a tree are read only then."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._inodes: dict[tuple[int, int], int] = {}

    def directory(self, name: str, mode: int = 0o755) -> None:
        """An empty directory."""
        self._entries.append(_Entry(name, stat.S_IFDIR | mode, self._new_inode()))

    def file(self, name: str, contents: bytes, mode: int = 0o644) -> None:
        """A file with these bytes."""
        self._entries.append(_Entry(name, stat.S_IFREG | mode, self._new_inode(), size=len(contents), contents=contents))

    def tree(self, directory: str, below: str) -> None:
        """A directory of this machine, with all that is in it, under the name ``below``. Sockets stay behind."""
        self._add(f"{directory}/.", below)  # what a link leads to, where it is one
        for path, name in _walk(directory, below):
            self._add(path, name)

    def write(self, file: BinaryIO) -> None:
        """Write the archive."""
        last = {entry.inode: entry for entry in self._entries if entry.is_file}
        for entry in self._entries:
            entry.write(file, with_contents=last.get(entry.inode) is entry)
        _Entry("TRAILER!!!", 0, 0).write(file, with_contents=False)

    def _add(self, path: str, name: str) -> None:
        found = os.lstat(path)
        if stat.S_ISSOCK(found.st_mode):
            return
        inode = self._inode(found)
        entry = _Entry(name, found.st_mode, inode, found.st_uid, found.st_gid, found.st_nlink, int(found.st_mtime), rdev=found.st_rdev)
        if entry.is_file:
            if found.st_size > _LARGEST:
                raise InvalidInput(f"{path}: {found.st_size} bytes; a file in a cpio archive has less than 4 GiB: put it on a disk")
            entry.size, entry.path = found.st_size, path
        elif stat.S_ISLNK(found.st_mode):
            entry.contents = os.fsencode(os.readlink(path))
            entry.size = len(entry.contents)
        self._entries.append(entry)

    def _inode(self, found: os.stat_result) -> int:
        """Small numbers of the archive's own: those of file systems do not fit."""
        if stat.S_ISDIR(found.st_mode) or found.st_nlink < 2:
            return self._new_inode()
        return self._inodes.setdefault((found.st_dev, found.st_ino), self._new_inode())

    def _new_inode(self) -> int:
        return len(self._entries) + 1


class _Entry:
    def __init__(
        self, name: str, mode: int, inode: int, uid: int = 0, gid: int = 0, links: int = 1, mtime: int = 0,
        size: int = 0, contents: bytes = b"", path: str = "", rdev: int = 0,
    ) -> None:  # fmt: skip
        self.name, self.mode, self.inode, self.uid, self.gid, self.links, self.mtime = name, mode, inode, uid, gid, links, mtime
        self.size, self.contents, self.path, self.rdev = size, contents, path, rdev

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)

    def write(self, file: BinaryIO, with_contents: bool) -> None:
        is_whole = with_contents or not self.is_file
        name = os.fsencode(self.name) + b"\0"
        size = self.size if is_whole else 0
        numbers = (self.inode, self.mode, self.uid, self.gid, self.links, self.mtime & _LARGEST, size, 0, 0,
                   os.major(self.rdev), os.minor(self.rdev), len(name), 0)  # fmt: skip
        file.write(_padded(b"070701" + b"".join(b"%08X" % number for number in numbers) + name))
        if not is_whole:
            return
        if self.path:
            self._copy(file)
        else:
            file.write(self.contents)
        file.write(bytes(-self.size % 4))

    def _copy(self, file: BinaryIO) -> None:
        left = self.size
        with open(self.path, "rb") as source:
            while left:
                chunk = source.read(min(left, _CHUNK))
                if not chunk:  # it became shorter meanwhile; its header has been written
                    chunk = bytes(min(left, _CHUNK))
                file.write(chunk)
                left -= len(chunk)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _walk(directory: str, name: str) -> Iterator[tuple[str, str]]:
    """Every path below a directory, a directory before what is in it, in the order of their names."""
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        yield entry.path, f"{name}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, f"{name}/{entry.name}")
