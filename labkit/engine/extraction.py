"""A tar archive unpacked in a live file system: what ``docker cp`` brings in.

    >>> from labkit.engine import extraction
    >>> with trees.Tree(view.root) as tree:
    ...     extraction.extract(chunks, tree, b"srv", extraction.Rules(keeps_kinds=True))

    there is           comes            then
    ──────────────────────────────────────────────────────────────────────────────────────────────────
    a directory        a directory      one of the two, with the owner and mode that come
    anything           anything         it is replaced; with ``keeps_kinds`` no directory for a file, no file for a directory
    a mount point      anything else    refused, or the mount would be gone in the container, too

Unlike in the archive of a layer, ``.wh.`` at the beginning of a name means nothing. Links on the way are followed as a process in there
follows them; so ``..`` and links lead nowhere else, whoever swaps them meanwhile.

Source: moby's ``pkg/archive``, ``Unpack``; POSIX.1-2017 ``pax``.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator

from labkit.errors import Conflict, Denied, InvalidInput, KernelError
from labkit.records import record
from labkit.storage import attributes, tar, trees
from labkit.storage.attributes import at
from labkit.storage.compression import decompressed
from labkit.storage.tar import Entry

_HOLE = 4096
_ZEROS = bytes(1 << 18)
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OF_THE_ARCHIVE = (errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT, errno.EISDIR, errno.EXDEV)


@record
class Rules:
    """``owner``: of all that comes, as the archive has it if None; ``mount_points``: paths that stay what they are."""

    keeps_kinds: bool = False
    owner: tuple[int, int] | None = None
    mount_points: frozenset[bytes] = frozenset()


def extract(chunks: Iterable[bytes], tree: trees.Tree, base: bytes, rules: Rules) -> None:
    """Unpack an archive, compressed or not, in the directory ``base`` of ``tree``, a path without links.

    ``InvalidInput`` and ``Conflict`` say what is wrong with an entry; what came before it is there. What ``chunks`` raises is raised.
    """
    source = _Source(chunks)
    archive = tar.Reader(decompressed(source))
    extractor = _Extractor(archive, tree, base, rules)
    try:
        for entry in archive:
            try:
                extractor.apply(entry)
            except OSError as error:
                if source.has_failed:
                    raise
                raise _failed(error, entry, base) from None
        extractor.set_times()
    except InvalidInput as error:
        raise InvalidInput(str(error).replace("layer:", "archive:", 1)) from None


class _Source:
    """Chunks, and whether an error came from them."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self.has_failed = False

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._chunks
        except BaseException:
            self.has_failed = True
            raise


class _Extractor:
    def __init__(self, archive: tar.Reader, tree: trees.Tree, base: bytes, rules: Rules) -> None:
        self._archive, self._tree, self._base, self._rules = archive, tree, base, rules
        self._times: dict[bytes, int] = {}

    def apply(self, entry: Entry) -> None:
        """Do what one entry says."""
        path = self._path(entry.path)
        if path == self._base:
            return  # the directory itself stays as it is
        head, _, name = path.rpartition(b"/")
        parent, above = self._tree.directory(head, _make_directory)
        here = os.dup(parent)  # looking for another one may close it
        try:
            there = above + b"/" + name if above else name
            if entry.kind != tar.HARD_LINK:
                self._make_room(here, name, there, entry.kind == tar.DIRECTORY)
            if entry.kind == tar.FILE:
                self._make_file(here, name, entry)
            elif entry.kind == tar.HARD_LINK:
                self._make_link(here, name, there, entry)
            else:
                _make_special(here, name, entry)
                self._set_attributes(here, name, entry)
            if entry.kind == tar.DIRECTORY:
                self._times[there] = entry.mtime
        finally:
            os.close(here)

    def set_times(self) -> None:
        """Of directories, at the end, since each file that is made in one changes its time."""
        for path, mtime in self._times.items():
            try:
                directory, found = self._tree.directory(path)
            except (FileNotFoundError, NotADirectoryError):
                continue  # replaced by a later entry, or by the container
            if found == path:
                os.utime(directory, ns=(mtime, mtime))

    def _path(self, path: bytes) -> bytes:
        """The path in the tree of what the archive calls ``path``; ``InvalidInput`` if that leads out of the directory."""
        names: list[bytes] = []
        for name in path.split(b"/"):
            if name == b".." and not names:
                raise InvalidInput(f'"{_text(path)}" is outside of "/{_text(self._base)}"')
            if name == b"..":
                names.pop()
            elif name not in (b"", b"."):
                names.append(name)
        return b"/".join([self._base, *names] if self._base else names)

    def _make_room(self, parent: int, name: bytes, path: bytes, for_directory: bool) -> None:
        try:
            is_directory = stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return
        if is_directory and for_directory:
            return
        if self._rules.keeps_kinds and is_directory:
            raise InvalidInput(f'cannot overwrite directory "/{_text(path)}" with non-directory "/{_text(self._base)}"')
        if self._rules.keeps_kinds and for_directory:
            raise InvalidInput(f'cannot overwrite non-directory "/{_text(path)}" with directory "/{_text(self._base)}"')
        if any(point == path or point.startswith(path + b"/") for point in self._rules.mount_points):
            raise Conflict(f"unlinkat /{_text(path)}: device or resource busy: something is mounted there, which stays")
        if is_directory:
            self._tree.changed()
        trees.remove(name, parent)

    def _make_file(self, parent: int, name: bytes, entry: Entry) -> None:
        fd = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
        try:
            self._write(fd, entry)
            os.fchown(fd, *self._owner(entry))
            os.fchmod(fd, entry.mode)  # after chown, which clears setuid and setgid
            for key, value in entry.xattrs:
                attributes.set_xattr(fd, key, value, str(entry))  # after chown, which clears security.capability
            os.utime(fd, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(fd)

    def _write(self, fd: int, entry: Entry) -> None:
        """The contents, in the parts in which they come: between these are holes."""
        parts = iter(entry.parts if entry.parts is not None else ((0, entry.size),))
        offset = left = 0
        for piece in self._archive.contents():
            rest = memoryview(piece)
            while rest:
                while not left:
                    offset, left = next(parts)
                part = rest[:left]
                is_hole = len(part) >= _HOLE and not part[0] and part == _ZEROS[: len(part)]  # zeros need no room
                count = len(part) if is_hole else os.pwrite(fd, part, offset)
                rest, offset, left = rest[count:], offset + count, left - count
        os.ftruncate(fd, entry.size)

    def _make_link(self, parent: int, name: bytes, path: bytes, entry: Entry) -> None:
        """A hard link to what the archive calls ``entry.link``."""
        head, _, last = self._path(entry.link).rpartition(b"/")
        directory, above = self._tree.directory(head)
        target = os.dup(directory)
        try:
            if (above + b"/" + last if above else last) == path:
                return
            os.stat(last, dir_fd=target, follow_symlinks=False)  # before anything is removed for it
            self._make_room(parent, name, path, for_directory=False)
            os.link(last, name, src_dir_fd=target, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(target)

    def _set_attributes(self, parent: int, name: bytes, entry: Entry) -> None:
        os.chown(name, *self._owner(entry), dir_fd=parent, follow_symlinks=False)
        if entry.kind != tar.SYMLINK:
            os.chmod(name, entry.mode, dir_fd=parent)
        for key, value in entry.xattrs:
            attributes.set_xattr(at(parent, name), key, value, str(entry))
        if entry.kind != tar.DIRECTORY:
            os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)

    def _owner(self, entry: Entry) -> tuple[int, int]:
        return self._rules.owner or (entry.uid, entry.gid)


def _make_directory(parent: int, name: bytes, path: bytes) -> None:
    """One that is missing on the way to an entry."""
    os.mkdir(name, 0o755, dir_fd=parent)
    os.chmod(name, 0o755, dir_fd=parent)  # whatever the umask is


def _make_special(parent: int, name: bytes, entry: Entry) -> None:
    if entry.kind == tar.DIRECTORY:
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            return  # it is one
    elif entry.kind == tar.SYMLINK:
        os.symlink(entry.link, name, dir_fd=parent)
    elif entry.kind == tar.FIFO:
        os.mkfifo(name, 0o600, dir_fd=parent)
    elif entry.major >= 1 << 12 or entry.minor >= 1 << 20:
        raise InvalidInput(f"archive: entry {entry} is a device {entry.major}:{entry.minor}, of which there is none")
    else:
        kind = stat.S_IFCHR if entry.kind == tar.CHARACTER else stat.S_IFBLK
        os.mknod(name, kind | 0o600, os.makedev(entry.major, entry.minor), dir_fd=parent)


def _text(path: bytes) -> str:
    return path[:4096].decode(errors="backslashreplace")


def _failed(error: OSError, entry: Entry, base: bytes) -> InvalidInput | Denied | KernelError:
    if error.errno in _OF_THE_ARCHIVE:
        return InvalidInput(f"archive: entry {entry}: {(error.strerror or '').lower()}")
    if error.errno == errno.EROFS:
        return Denied(f"archive: entry {entry}: where it leads to is mounted read-only in the container")
    hint = "the disk is full: df -h shows which; make room and try again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return KernelError.of(error, f"copy {entry} to", f"/{_text(base)}", hint)
