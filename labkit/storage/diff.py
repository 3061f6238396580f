"""A layer from two directories: what has to be done to the one to make it the other.

    >>> from labkit.storage.diff import diff
    >>> from labkit.storage.unpack import unpack
    >>> unpack(diff("/tmp/a", "/tmp/b"), "/tmp/a", overlay=False)         # now they are the same

In the archive are, sorted: what is new or different, whole; the directories on the way to it; a whiteout for what is gone. Files are
compared by contents; times of change in whole seconds, which is what an archive says.

Source: OCI image-spec ``layer.md``, "Change Types", "Representing Changes". Shown in notebook 05.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from labkit.errors import KernelError
from labkit.storage import copies, members, trees
from labkit.storage.attributes import at

_CHUNK = 256 << 10
_Inode = tuple[int, int]


def diff(before: str | None, after: str) -> Iterator[bytes]:
    """The archive of the layer that makes ``before``, a plain directory or nothing, into ``after``."""
    try:
        with trees.Tree(after) as tree:
            if before is None:
                yield from _archive(tree, _Tables(_scan(tree), {}), None)
            else:
                with trees.Tree(before) as old:
                    yield from _archive(tree, _Tables(_scan(tree), _scan(old)), old)
    except OSError as error:
        raise KernelError.of(error, "compare with", after) from None


class _Tables:
    """What the two directories hold, by path, and which paths are to be in the archive."""

    def __init__(self, after: dict[bytes, os.stat_result], before: dict[bytes, os.stat_result]) -> None:
        self.after = after
        self.before = before
        self.mates_after = _mates(after)
        self.mates_before = _mates(before)

    def are_linked_anew(self, path: bytes) -> bool:
        """Whether the file has a name in common with another that it had not, or no longer has one that is still there."""
        now, then = self.mates_after.get(path, {path}), self.mates_before.get(path, {path})
        return bool(now - then or (then & self.after.keys()) - now)


def _archive(tree: trees.Tree, tables: _Tables, old: trees.Tree | None) -> Iterator[bytes]:
    archive = members.Members(tree)
    wanted: set[bytes] = set()
    for path in tables.after:
        members.refuse_name(path.rpartition(b"/")[2], path)
        if old is None or path not in tables.before or tables.are_linked_anew(path) or not _is_same(path, tree, old, tables):
            wanted |= tables.mates_after.get(path, {path})  # a hard link is to something in the same archive
    gone = _gone(tables)
    for path in wanted | set(gone):
        while path:
            path = path.rpartition(b"/")[0]
            wanted.add(path)
    for path in sorted(wanted | set(gone), key=lambda path: path.split(b"/") if path else []):
        if path in wanted and path in tables.after:
            yield from archive.member(path)
        if path in gone:
            yield members.whiteout(path)
    yield members.END


def _gone(tables: _Tables) -> frozenset[bytes]:
    """What is no longer there, though the directory that it was in still is one."""
    found = set()
    for path in tables.before:
        above = tables.after.get(path.rpartition(b"/")[0])
        if path and path not in tables.after and above and stat.S_ISDIR(above.st_mode):
            found.add(path)
    return frozenset(found)


def _scan(tree: trees.Tree) -> dict[bytes, os.stat_result]:
    """Every path with what it is; sockets are not there for an archive."""
    found = {}
    waiting = [b""]
    while waiting:
        path = waiting.pop()
        parent, name = members.directory(tree, path)
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISSOCK(status.st_mode):
            continue
        found[path] = status
        if stat.S_ISDIR(status.st_mode):
            directory, _ = tree.directory(path)
            waiting += [path + b"/" + name if path else name for name in map(os.fsencode, os.listdir(directory))]
    return found


def _mates(files: dict[bytes, os.stat_result]) -> dict[bytes, set[bytes]]:
    """For each file that has several names in the tree, all of them."""
    by_inode: dict[_Inode, set[bytes]] = {}
    for path, status in files.items():
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            by_inode.setdefault((status.st_dev, status.st_ino), set()).add(path)
    return {path: paths for paths in by_inode.values() if len(paths) > 1 for path in paths}


def _is_same(path: bytes, tree: trees.Tree, old: trees.Tree, tables: _Tables) -> bool:
    now, then = tables.after[path], tables.before[path]
    if _facts(now) != _facts(then):
        return False
    if (now.st_dev, now.st_ino) == (then.st_dev, then.st_ino):
        return True
    here, name = members.directory(tree, path)
    there, _ = members.directory(old, path)
    one, other = (at(directory, name) for directory in (here, there))
    if dict(copies.xattrs(one)) != dict(copies.xattrs(other)):
        return False
    if stat.S_ISLNK(now.st_mode):
        return os.readlink(one) == os.readlink(other)
    return not stat.S_ISREG(now.st_mode) or _have_same_contents(one, other)


def _facts(status: os.stat_result) -> tuple[int, ...]:
    size = status.st_size if stat.S_ISREG(status.st_mode) else 0
    device = status.st_rdev if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode) else 0
    return status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns // 10**9, size, device


def _have_same_contents(one: bytes, other: bytes) -> bool:
    with open(one, "rb", buffering=0) as a, open(other, "rb", buffering=0) as b:
        while True:
            piece = a.read(_CHUNK)
            if piece != b.read(_CHUNK):
                return False
            if not piece:
                return True
