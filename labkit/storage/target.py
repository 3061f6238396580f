"""The directory that a layer is unpacked into, and what the layer has done to it until now.

    >>> target = Target(tree, overlay=True)
    >>> parent, path = target.parent(b"etc", b"motd")        # made if it is missing
    >>> target.whiteout(b"etc", b".wh.hosts")
    >>> target.set_times()

A layer's entries come in any order. What the layer has made is remembered by its path without links: it outlives the layer's own
whiteouts, which are of what is below; and a directory that comes after a deletion of the same name hides what is below.

Source: OCI image-spec ``layer.md``, "Whiteouts". Shown in notebook 05.
"""

from __future__ import annotations

import os
import stat

from labkit.errors import InvalidInput
from labkit.storage import attributes, trees
from labkit.storage.attributes import at

WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"


class Target:
    """``tree``, as an upper directory of overlayfs or as a plain one. The functions raise ``OSError`` as the kernel does.

    What was noted of a path may no longer be true at the end, when a later entry has put something else there: it is looked at again.
    """

    def __init__(self, tree: trees.Tree, overlay: bool) -> None:
        self.tree = tree
        self.overlay = overlay
        self._implicit: dict[bytes, None] = {b"": None}
        self._made: set[bytes] = set()
        self._times: dict[bytes, int] = {}
        self._whiteouts: dict[bytes, None] = {}

    def parent(self, head: bytes, name: bytes) -> tuple[int, bytes]:
        """A descriptor of the directory ``head``, good until the next call, and the path without links of ``name`` in it."""
        directory, above = self.tree.directory(head, self._make_missing, self._clear_the_way)
        path = above
        while path and path not in self._made:  # the directory, and those that it is in, are of this layer from now on
            self._made.add(path)
            path = path.rpartition(b"/")[0]
        return directory, above + b"/" + name if above and name else name

    def made(self, path: bytes, mtime: int | None = None) -> None:
        """An entry has made the file or, with the ``mtime`` that it shall have at the end, the directory at ``path``."""
        self._made.add(path)
        if mtime is not None:
            self._implicit.pop(path, None)
            self._times[path] = mtime

    def make_directory(self, parent: int, name: bytes) -> None:
        """A directory of this name: what is in one that is there stays, anything else makes room."""
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                attributes.clear_xattrs(at(parent, name))
                return
            self.take_away(parent, name)
            os.mkdir(name, 0o700, dir_fd=parent)
            if self.overlay:
                attributes.make_opaque(at(parent, name))  # the whiteout or file that was there had hidden what is below

    def take_away(self, parent: int, name: bytes) -> None:
        """Whatever has this name makes room; nothing is fine."""
        try:
            mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return
        if stat.S_ISDIR(mode) or stat.S_ISLNK(mode):
            self.tree.changed()
        trees.remove(name, parent)

    def is_whiteout(self, status: os.stat_result) -> bool:
        """Whether this is one, and no device that a plain directory may have."""
        return self.overlay and stat.S_ISCHR(status.st_mode) and status.st_rdev == 0

    def whiteout(self, head: bytes, name: bytes) -> None:
        """Delete what is below, as an entry called ``name`` says; what this layer has made stays."""
        gone = name[len(WHITEOUT) :]
        parent, path = self.parent(head, gone)
        if name == _OPAQUE:
            self._hide_below(parent, b".", path.rpartition(b"/")[0])
        elif not gone.startswith(WHITEOUT):  # aufs' own notes, which Docker skips, too
            self._delete(parent, gone, path)

    def _delete(self, parent: int, name: bytes, path: bytes) -> None:
        try:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            if self.overlay and path not in self._made:
                os.mknod(name, stat.S_IFCHR, 0, dir_fd=parent)
                self._whiteouts[path] = None
            return
        if path not in self._made:
            if not self.overlay:
                self.take_away(parent, name)
        elif stat.S_ISDIR(status.st_mode):
            self._hide_below(parent, name, path)

    def _hide_below(self, parent: int, name: bytes, path: bytes) -> None:
        """A directory keeps what this layer has made in it, alone."""
        if self.overlay:
            attributes.make_opaque(at(parent, name))
            return
        waiting = [path]
        while waiting:
            here = waiting.pop()
            directory, _ = self.tree.directory(here)
            for child in map(os.fsencode, os.listdir(directory)):
                there = here + b"/" + child if here else child
                if there not in self._made:
                    self.take_away(directory, child)
                elif stat.S_ISDIR(os.stat(child, dir_fd=directory, follow_symlinks=False).st_mode):
                    waiting.append(there)

    def set_times(self) -> None:
        """Of directories, at the end, since each file that is made in one changes its time."""
        for path in self._implicit:
            if path or self.overlay:  # the root of a plain directory was there before
                self._times.setdefault(path, 0)  # not now: the same layer gives the same tree
        for path, mtime in self._times.items():
            directory = self.tree.real_directory(path)
            if directory is not None:  # no entry that came later put something else there
                os.utime(directory, ns=(mtime, mtime))

    def implicit(self) -> tuple[bytes, ...]:
        """The directories that no entry told of; b"" is the root."""
        return tuple(path for path in self._implicit if (status := self.look(path)) and stat.S_ISDIR(status.st_mode))

    def whiteouts(self) -> tuple[bytes, ...]:
        """Those that are there."""
        return tuple(path for path in self._whiteouts if (status := self.look(path)) and self.is_whiteout(status))

    def look(self, path: bytes) -> os.stat_result | None:
        """What is at ``path``, if there is something."""
        head, _, name = path.rpartition(b"/")
        directory = self.tree.real_directory(head)
        try:
            return None if directory is None else os.stat(name or b".", dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def is_free(self, path: bytes) -> bool:
        """Whether there is nothing at ``path``, though there is the directory that it would be in."""
        return self.look(path) is None and self.tree.real_directory(path.rpartition(b"/")[0]) is not None

    def _make_missing(self, parent: int, name: bytes, path: bytes) -> None:
        """A directory is missing on the way to an entry."""
        os.mkdir(name, 0o755, dir_fd=parent)
        self._is_implicit(parent, name, path)

    def _clear_the_way(self, parent: int, name: bytes, path: bytes) -> None:
        """On the way to an entry something is no directory."""
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if path in self._made and not self.is_whiteout(status):
            raise InvalidInput(f"layer: {os.fsdecode(path)!r} is a file in it, and is said to be a directory, too")
        self.make_directory(parent, name)
        self._is_implicit(parent, name, path)

    def _is_implicit(self, parent: int, name: bytes, path: bytes) -> None:
        os.chmod(name, 0o755, dir_fd=parent)  # whatever the umask is
        self._implicit[path] = None
        self._times.pop(path, None)
