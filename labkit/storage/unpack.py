"""A layer unpacked: what its archive says is done to a directory, and to nothing else on the machine.

    >>> from labkit.storage.unpack import unpack
    >>> unpacked = unpack(open("layer.tar", "rb"), "/var/lib/labkit/snapshots/active/c1/upper", overlay=True)
    >>> unpacked.diff_id
    'sha256:5b7d…'

A layer says what is there, and what is no longer there:

    entry                in an upper directory (overlay=True)      in a plain directory (overlay=False)
    ─────────────────────────────────────────────────────────────────────────────────────────────────────
    etc/hosts            made                                      made, in place of what was there
    etc/.wh.motd         character device 0:0 called motd          motd is removed
    etc/.wh..wh..opq     attribute trusted.overlay.opaque=y        all in etc that this layer has not made is removed

A name that comes twice: the last one wins. What a stranger's archive tries:

    ..  above the root             refused; an absolute name begins at the root of the directory
    a link, and a file through it  the link is followed as a process would whose root directory this is (labkit.storage.trees)
    a link, and a file in its place    whatever stands where a file goes is removed, never written through
    attributes of overlayfs        left out: they would tell it to look elsewhere

Source: OCI image-spec ``layer.md``; overlayfs.rst. Shown in notebook 05.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator

from labkit.errors import InvalidInput, KernelError
from labkit.records import record
from labkit.storage import attributes, tar, trees
from labkit.storage.attributes import at
from labkit.storage.digests import Hasher
from labkit.storage.tar import Entry
from labkit.storage.target import WHITEOUT, Target

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_HOLE = 4096
_ZEROS = bytes(1 << 20)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_OF_THE_ARCHIVE = (errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT, errno.EISDIR, errno.EXDEV)


@record
class Unpacked:
    """What was found: ``size`` is the bytes of all files; ``implicit`` are directories that no entry told of, "" being the root;
    ``links`` are hard links to what this layer does not have, path and target; ``whiteouts`` the paths of those that were made."""

    diff_id: str
    size: int
    entries: int
    implicit: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    whiteouts: tuple[str, ...]


def unpack(chunks: Iterable[bytes], directory: str, *, overlay: bool, limit: int | None = None) -> Unpacked:
    """Do to ``directory`` what the tar archive says that comes in ``chunks``, of at most ``limit`` bytes.

    ``InvalidInput`` if the archive is damaged, breaks off or wants out; what was unpacked until then is there.
    """
    hasher = Hasher()
    archive = tar.Reader(_hashed(chunks, hasher, limit))
    with trees.Tree(directory) as tree:
        unpacker = _Unpacker(Target(tree, overlay), archive)
        for entry in archive:
            try:
                unpacker.apply(entry)
            except OSError as error:
                raise _failed(error, entry, directory) from None
        try:
            return unpacker.finish(hasher)
        except OSError as error:
            raise KernelError.of(error, "finish the layer in", directory) from None


def _hashed(chunks: Iterable[bytes], hasher: Hasher, limit: int | None) -> Iterator[bytes]:
    for chunk in chunks:
        hasher.update(chunk)
        if limit is not None and hasher.size > limit:
            raise InvalidInput(f"layer: is larger than {limit} bytes unpacked, which is the limit here")
        yield chunk


class _Unpacker:
    def __init__(self, target: Target, archive: tar.Reader) -> None:
        self._target = target
        self._archive = archive
        self._size = 0
        self._entries = 0
        self._links: dict[bytes, bytes] = {}

    def apply(self, entry: Entry) -> None:
        """Do what one entry says."""
        self._entries += 1
        head, _, name = _clean(entry.path, entry).rpartition(b"/")
        if name.startswith(WHITEOUT):
            if name[len(WHITEOUT) :] in (b"", b".", b".."):
                raise InvalidInput(f"layer: entry {entry} would delete a directory from within it")
            self._target.whiteout(head, name)
            return
        parent, path = self._target.parent(head, name)
        if entry.kind == tar.DIRECTORY:
            self._target.make_directory(parent, name or b".")
            self._set_attributes(parent, name or b".", entry)
            self._target.made(path, entry.mtime)
            return
        if not name:
            raise InvalidInput(f"layer: entry {entry} stands for the root, and is no directory")
        if entry.kind == tar.FILE:
            self._make_file(parent, name, entry)
        elif entry.kind == tar.HARD_LINK:
            self._make_link(parent, name, path, entry)
        else:
            self._make_special(parent, name, entry)
            self._set_attributes(parent, name, entry)
        self._target.made(path)

    def finish(self, hasher: Hasher) -> Unpacked:
        """What was done, all told."""
        self._target.set_times()
        links = [(path, link) for path, link in self._links.items() if self._target.is_free(path)]
        return Unpacked(
            hasher.digest(),
            self._size,
            self._entries,
            tuple(map(os.fsdecode, self._target.implicit())),
            tuple((os.fsdecode(path), os.fsdecode(link)) for path, link in links),
            tuple(map(os.fsdecode, self._target.whiteouts())),
        )

    def _make_file(self, parent: int, name: bytes, entry: Entry) -> None:
        try:
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
        except FileExistsError:
            self._target.take_away(parent, name)
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
        try:
            if entry.parts is None:
                self._write_contents(fd, entry.size)
            else:
                self._write_parts(fd, entry)
            os.fchown(fd, entry.uid, entry.gid)
            os.fchmod(fd, entry.mode)  # after chown, which clears setuid and setgid
            for key, value in entry.xattrs:
                attributes.set_xattr(fd, key, value, str(entry))  # after chown, which clears security.capability
            os.utime(fd, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(fd)
        self._size += entry.size

    def _write_contents(self, fd: int, size: int) -> None:
        has_hole = False
        for piece in self._archive.contents():
            if len(piece) >= _HOLE and not piece[0] and piece == _ZEROS[: len(piece)]:
                os.lseek(fd, len(piece), os.SEEK_CUR)  # zeros need no room: Docker and we write holes out when we make an archive
                has_hole = True
            else:
                _write(fd, piece)
        if has_hole:
            os.ftruncate(fd, size)

    def _write_parts(self, fd: int, entry: Entry) -> None:
        parts = iter(entry.parts or ())
        left = 0
        for piece in self._archive.contents():
            rest = memoryview(piece)
            while rest:
                while not left:
                    offset, left = next(parts)
                    os.lseek(fd, offset, os.SEEK_SET)
                _write(fd, rest[:left])
                count = min(left, len(rest))
                rest, left = rest[count:], left - count
        os.ftruncate(fd, entry.size)

    def _make_link(self, parent: int, name: bytes, path: bytes, entry: Entry) -> None:
        """A hard link; one to a file of a layer below is noted, for the layers to be put together."""
        head, _, there = _clean(entry.link, entry).rpartition(b"/")
        here = os.dup(parent)  # looking for the target may close it
        try:
            try:
                directory, above = self._target.tree.directory(head)
                target = above + b"/" + there if above else there
                found = os.stat(there or b".", dir_fd=directory, follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                if not self._target.overlay:
                    raise self._bad_link(entry, "which is not there") from None
                self._target.take_away(here, name)
                self._links[path] = head + b"/" + there if head else there
                return
            if stat.S_ISDIR(found.st_mode):
                raise self._bad_link(entry, "which is a directory")
            if self._target.is_whiteout(found):
                raise self._bad_link(entry, "which this layer deletes")
            if target.startswith(path + b"/"):
                raise self._bad_link(entry, "which lies in what it takes the place of")
            if target != path:
                self._target.take_away(here, name)
                directory, _ = self._target.tree.directory(head)
                os.link(there, name, src_dir_fd=directory, dst_dir_fd=here, follow_symlinks=False)
        finally:
            os.close(here)

    def _bad_link(self, entry: Entry, why: str) -> InvalidInput:
        return InvalidInput(f"layer: entry {entry} is a hard link to {entry.link[:200]!r}, {why}")

    def _make_special(self, parent: int, name: bytes, entry: Entry) -> None:
        if entry.major >= 1 << 12 or entry.minor >= 1 << 20:
            raise InvalidInput(f"layer: entry {entry} is a device {entry.major}:{entry.minor}, of which there is none")
        self._target.take_away(parent, name)
        if entry.kind == tar.SYMLINK:
            os.symlink(entry.link, name, dir_fd=parent)
        elif entry.kind == tar.FIFO:
            os.mkfifo(name, 0o600, dir_fd=parent)
        else:
            kind = stat.S_IFCHR if entry.kind == tar.CHARACTER else stat.S_IFBLK
            os.mknod(name, kind | 0o600, os.makedev(entry.major, entry.minor), dir_fd=parent)

    def _set_attributes(self, parent: int, name: bytes, entry: Entry) -> None:
        os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        if entry.kind != tar.SYMLINK:
            os.chmod(name, entry.mode, dir_fd=parent)
        for key, value in entry.xattrs:
            attributes.set_xattr(at(parent, name), key, value, str(entry))
        if entry.kind != tar.DIRECTORY:
            os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)


def _clean(path: bytes, entry: Entry) -> bytes:
    """The path from the root: without ``.``, ``..`` and double slashes, as ``filepath.Clean`` of Go makes it."""
    names: list[bytes] = []
    for name in path.split(b"/"):
        if name == b"..":
            if not names:
                raise InvalidInput(f"layer: entry {entry} leads out of the root: {path[:200]!r}")
            names.pop()
        elif name not in (b"", b"."):
            names.append(name)
    if len(names) > trees.DEPTH:
        raise InvalidInput(f"layer: directories lie in each other more than {trees.DEPTH} deep, which is the limit here")
    for name in names[:-1]:
        if name.startswith(WHITEOUT):
            raise InvalidInput(f"layer: entry {entry} lies in a directory whose name means a deletion")
    return b"/".join(names)


def _write(fd: int, piece: bytes | memoryview) -> None:
    while (count := os.write(fd, piece)) < len(piece):
        piece = piece[count:]


def _failed(error: OSError, entry: Entry, directory: str) -> InvalidInput | KernelError:
    if error.errno in _OF_THE_ARCHIVE:
        return InvalidInput(f"layer: entry {entry}: {error.strerror}")
    hint = ""
    if error.errno == errno.EPERM:
        hint = "owners, devices and attributes take root; has the file system files that nobody may change (lsattr)?"
    elif error.errno in _FULL:
        hint = "the disk is full: df -h shows which; make room and try again"
    return KernelError.of(error, f"unpack entry {entry} in", directory, hint)
