"""Trees of files that strangers made: walked without ever leaving them, and taken away however deep they are.

    >>> from labkit.storage import trees
    >>> with trees.Tree("/var/lib/labkit/snapshots/active/c1/upper") as tree:
    ...     directory, path = tree.directory(b"var/run")           # a link there leads to /run: of that tree
    >>> path
    b'run'
    >>> trees.remove("/var/lib/labkit/snapshots/trash/c1")

Paths are bytes, relative to the root of the tree, which is b"". Each directory is opened from the one above it; a symbolic link is read and
followed by hand, as a process would find it whose root directory this is. So neither a link nor ``..`` leads out, whoever made them.

Source: ``man 2 openat``, ``man 7 path_resolution``. Shown in notebook 05.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from types import TracebackType

from labkit.errors import InvalidInput, KernelError

# How deep directories may lie in each other: each program that walks a tree pays for each level, and no image of use has fifty.
DEPTH = 512
_MAX_LINKS = 40
_KEPT_OPEN = 64
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def _no_directory(directory: int, name: bytes, path: bytes) -> None:
    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)


def _nothing(directory: int, name: bytes, path: bytes) -> None:
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


class Tree:
    """The tree below ``root``. Descriptors of the directories that were used last stay open."""

    def __init__(self, root: str) -> None:
        try:
            self.root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise KernelError.of(error, "open", root) from None
        self._open: dict[bytes, int] = {}
        self._leads_to: dict[bytes, bytes] = {}  # paths through links, and where these lead
        self._is_stale = False

    def __enter__(self) -> Tree:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._forget()
        os.close(self.root)

    def changed(self) -> None:
        """A directory or a link was removed: what was known of the way is no longer true."""
        self._is_stale = True

    def _forget(self) -> None:
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()
        self._leads_to.clear()
        self._is_stale = False

    def directory(
        self,
        path: bytes,
        missing: Callable[[int, bytes, bytes], None] = _nothing,
        in_the_way: Callable[[int, bytes, bytes], None] = _no_directory,
    ) -> tuple[int, bytes]:
        """A descriptor of the directory at ``path``, good until the next call, and its path without links.

        ``missing`` is called for a component that is not there, ``in_the_way`` for one that is neither directory nor link, with
        the directory it is in, its name and its path: they make a directory of it, or raise. ``OSError`` for what cannot be.
        """
        if not path:
            return self.root, b""
        if self._is_stale:
            self._forget()
        known = self._leads_to.get(path, path)
        fd = self._open.get(known)
        if fd is not None:
            return fd, known
        return self._walk(path, missing, in_the_way)

    def real_directory(self, path: bytes) -> int | None:
        """The same of a directory that is at ``path`` without a link on the way; None if there is none."""
        try:
            fd, found = self.directory(path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            return None
        return fd if found == path else None

    def _walk(
        self, path: bytes, missing: Callable[[int, bytes, bytes], None], in_the_way: Callable[[int, bytes, bytes], None]
    ) -> tuple[int, bytes]:
        # Begin at the nearest directory above that is open.
        head, ahead = path, []
        while head and head not in self._open:
            head, _, name = head.rpartition(b"/")
            ahead.append(name)
        here, fd = head, self._open[head] if head else self.root
        links = 0
        while ahead:
            name = ahead.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                ahead += here.split(b"/")[-2::-1]
                here, fd = b"", self.root
                continue
            there = here + b"/" + name if here else name
            if there in self._open:
                here, fd = there, self._open[there]
                continue
            try:
                found = os.open(name, _OPEN, dir_fd=fd)
            except FileNotFoundError:
                missing(fd, name, there)
                found = os.open(name, _OPEN, dir_fd=fd)
            except NotADirectoryError:
                link = _link(name, fd)
                if link is None:
                    in_the_way(fd, name, there)
                    found = os.open(name, _OPEN, dir_fd=fd)
                else:
                    links += 1
                    if links > _MAX_LINKS:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path) from None
                    if link.startswith(b"/"):
                        here, fd = b"", self.root
                    ahead += link.split(b"/")[::-1]
                    continue
            if there.count(b"/") >= DEPTH:
                os.close(found)
                raise InvalidInput(f"layer: directories lie in each other more than {DEPTH} deep, which is the limit here")
            if len(self._open) >= _KEPT_OPEN:
                os.close(self._open.pop(next(iter(self._open))))  # the one that was opened first
            self._open[there] = fd = found
            here = there
        if here != path:
            if len(self._leads_to) > 1000:
                self._leads_to.clear()
            self._leads_to[path] = here
        return fd, here


def _link(name: bytes, directory: int) -> bytes | None:
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return None


def remove(path: str | bytes, directory: int | None = None) -> None:
    """``rm -rf``: what is gone is fine. Down and up again with one descriptor, so that no depth is too deep. ``OSError`` if it fails."""
    try:
        here = os.open(path, _OPEN, dir_fd=directory)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        os.unlink(path, dir_fd=directory)
        return
    try:
        way: list[tuple[bytes, tuple[int, int]]] = []  # down to here: the name of each directory, and which one it is in
        ahead = [_empty(here)]
        while ahead[-1] or way:
            if ahead[-1]:
                name = ahead[-1].pop()
                way.append((name, _identity(here)))
                here = _move(here, name)
                ahead.append(_empty(here))
            else:
                name, above = way.pop()
                ahead.pop()
                here = _move(here, b"..")
                if _identity(here) != above:
                    raise OSError(errno.EBUSY, "a directory was moved while it was removed")
                os.rmdir(name, dir_fd=here)
        os.rmdir(path, dir_fd=directory)
    finally:
        os.close(here)


def _empty(directory: int) -> list[bytes]:
    """Remove all but directories; the names of these."""
    with os.scandir(directory) as entries:
        found = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in found:
        if not is_directory:
            os.unlink(name, dir_fd=directory)
    return [name for name, is_directory in found if is_directory]


def _move(here: int, name: bytes) -> int:
    there = os.open(name, _OPEN, dir_fd=here)
    os.close(here)
    return there


def _identity(directory: int) -> tuple[int, int]:
    status = os.fstat(directory)
    return status.st_dev, status.st_ino
