"""A part of a live file system as a tar archive: what ``docker cp`` takes out, what ``docker export`` writes.

    >>> from labkit.engine import packing
    >>> with trees.Tree(view.root) as tree:
    ...     file.writelines(packing.packed(tree, b"var/www", b"site"))        # the archive calls it site, site/index.html, …

A container that runs changes its files while they are read: what vanishes on the way is left out, what a link took the place of is not
followed, a file that becomes shorter is filled up with zeros, as GNU tar does it, and of one that grows only the beginning is read.

Source: POSIX.1-2017 ``pax``. The members are written by ``labkit.storage.members``, as those of layers are.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from labkit.errors import KernelError
from labkit.storage import copies, members, tar, trees
from labkit.storage.attributes import at

_KINDS = {
    stat.S_IFREG: tar.FILE,
    stat.S_IFDIR: tar.DIRECTORY,
    stat.S_IFLNK: tar.SYMLINK,
    stat.S_IFCHR: tar.CHARACTER,
    stat.S_IFBLK: tar.BLOCK_DEVICE,
    stat.S_IFIFO: tar.FIFO,
}
_GONE = (FileNotFoundError, NotADirectoryError)


def packed(tree: trees.Tree, path: bytes, called: bytes) -> Iterator[bytes]:
    """The archive of what is at ``path``, which has no link on the way, and of all below it, under the name ``called``.

    With an empty name it has no entry for ``path`` itself: that is the root of the archive.
    """
    links: dict[tuple[int, int], bytes] = {}
    waiting = [b""]
    while waiting:
        below = waiting.pop()
        here = path + below if path else below.lstrip(b"/")
        name = called.rstrip(b"/") + below if below else called
        try:
            parent, last = _parent(tree, here)
            found = os.stat(last, dir_fd=parent, follow_symlinks=False)
            if name:
                yield from _member(parent, last, found, name if called else name[1:], links)
            if stat.S_ISDIR(found.st_mode):
                waiting += [below + b"/" + each for each in _names(tree, here)]
        except _GONE:
            continue
        except OSError as error:
            raise KernelError.of(error, "read", "/" + os.fsdecode(here)) from None
    yield members.END


def _parent(tree: trees.Tree, path: bytes) -> tuple[int, bytes]:
    head, _, name = path.rpartition(b"/")
    directory, found = tree.directory(head)
    if found != head:
        raise FileNotFoundError  # a link took the place of a directory
    return directory, name or b"."


def _names(tree: trees.Tree, path: bytes) -> list[bytes]:
    """What is in a directory, in the order in which it is to be taken from the end of the list."""
    directory, found = tree.directory(path)
    return sorted(map(os.fsencode, os.listdir(directory)), reverse=True) if found == path else []


def _member(parent: int, name: bytes, found: os.stat_result, called: bytes, links: dict[tuple[int, int], bytes]) -> Iterator[bytes]:
    kind = _KINDS.get(stat.S_IFMT(found.st_mode))
    if kind is None:
        return  # a socket is of the process that listens there
    mtime = found.st_mtime_ns // 10**9
    if kind == tar.FILE:
        yield from _file(parent, name, called, links)
        return
    link = os.readlink(name, dir_fd=parent) if kind == tar.SYMLINK else b""
    xattrs = tuple(copies.xattrs(at(parent, name)))
    yield members.header(called.rstrip(b"/") + b"/" if kind == tar.DIRECTORY else called, kind, found, 0, mtime, link, xattrs)


def _file(parent: int, name: bytes, called: bytes, links: dict[tuple[int, int], bytes]) -> Iterator[bytes]:
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
    except OSError:
        if stat.S_ISREG(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            raise
        return  # another kind of file took its place
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            return
        mtime = found.st_mtime_ns // 10**9
        first = links.setdefault((found.st_dev, found.st_ino), called) if found.st_nlink > 1 else called
        if first != called:
            yield members.header(called, tar.HARD_LINK, found, 0, mtime, first)
            return
        yield members.header(called, tar.FILE, found, found.st_size, mtime, xattrs=tuple(copies.xattrs(at(parent, name))))
        yield from _contents(fd, found.st_size)
        yield bytes(-found.st_size % tar.BLOCK)
    finally:
        os.close(fd)


def _contents(fd: int, size: int) -> Iterator[bytes]:
    left = size
    try:
        for piece in members.contents(fd, size):
            left -= len(piece)
            yield piece
    except EOFError:
        while left:
            piece = bytes(min(left, 1 << 18))
            left -= len(piece)
            yield piece
