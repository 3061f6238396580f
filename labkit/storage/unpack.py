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

A whiteout is of what is below; what the same layer makes stays, in whichever order they come. A name that comes twice: the last one wins.

What a stranger's archive tries: a name with ``..`` that leads above the root is refused, an absolute one begins at the root of the
directory; links are followed as a process would whose root directory this is (labkit.storage.trees), so that no entry leaves it
through a link that came before; overlayfs' own attributes are left out; whatever stands where a file goes is removed, not written through.

Source: OCI image-spec ``layer.md``; overlayfs.rst. Shown in notebook 05.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator

from labkit.errors import InvalidInput, KernelError, Unsupported
from labkit.records import record
from labkit.storage import tar, trees
from labkit.storage.digests import Hasher
from labkit.storage.tar import Entry

_WHITEOUT, _OPAQUE = b".wh.", b".wh..wh..opq"
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
        unpacker = _Unpacker(tree, archive, overlay)
        for entry in archive:
            try:
                unpacker.apply(entry)
            except OSError as error:
                raise _failed(error, entry, directory) from None
        unpacker.set_times()
    return unpacker.result(hasher.digest())


def _hashed(chunks: Iterable[bytes], hasher: Hasher, limit: int | None) -> Iterator[bytes]:
    for chunk in chunks:
        hasher.update(chunk)
        if limit is not None and hasher.size > limit:
            raise InvalidInput(f"layer: is larger than {limit} bytes unpacked, which is the limit here")
        yield chunk


class _Unpacker:
    def __init__(self, tree: trees.Tree, archive: tar.Reader, overlay: bool) -> None:
        self._tree = tree
        self._archive = archive
        self._overlay = overlay
        self._size = 0
        self._entries = 0
        # All by path without links.
        self._made: set[bytes] = set()
        self._times: dict[bytes, int] = {}
        self._implicit: dict[bytes, None] = {b"": None}
        self._links: dict[bytes, bytes] = {}
        self._whiteouts: dict[bytes, None] = {}

    def apply(self, entry: Entry) -> None:
        """Do what one entry says."""
        self._entries += 1
        head, _, name = _clean(entry.path, entry).rpartition(b"/")
        if name.startswith(_WHITEOUT):
            self._apply_whiteout(head, name, entry)
            return
        parent, above = self._tree.directory(head, self._make_implicit, self._clear_the_way)
        if not name:
            if entry.kind != tar.DIRECTORY:
                raise InvalidInput(f"layer: entry {entry} stands for the root, and is no directory")
            _clear_xattrs(_name(self._tree.root, b"."))
            self._set_directory(self._tree.root, b".", b"", entry)
            return
        path = above + b"/" + name if above else name
        self._keep(above)
        if self._links or self._whiteouts:
            self._links.pop(path, None)
        if entry.kind == tar.FILE:
            self._make_file(parent, name, path, entry)
        elif entry.kind == tar.DIRECTORY:
            try:
                os.mkdir(name, 0o700, dir_fd=parent)
            except FileExistsError:
                if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                    _clear_xattrs(_name(parent, name))
                else:
                    self._replace_by_directory(parent, name, path)
            self._set_directory(parent, name, path, entry)
        elif entry.kind == tar.HARD_LINK:
            self._make_link(parent, name, path, entry)
        else:
            try:
                self._make_special(parent, name, entry)
            except FileExistsError:
                self._take_away(parent, name, path)
                self._make_special(parent, name, entry)
            self._set_attributes(parent, name, entry)
        self._made.add(path)

    def set_times(self) -> None:
        """Last, since each file that is made in a directory changes its time."""
        for path in self._implicit:
            if path or self._overlay:  # the root of a plain directory was there before
                self._times.setdefault(path, 0)  # not now: the same layer gives the same tree
        for path, mtime in self._times.items():
            try:
                fd, found = self._tree.directory(path)
            except (FileNotFoundError, NotADirectoryError):
                continue  # an entry that came later put something else there
            if found == path:
                os.utime(fd, ns=(mtime, mtime))

    def result(self, diff_id: str) -> Unpacked:
        """What was done."""
        return Unpacked(
            diff_id,
            self._size,
            self._entries,
            tuple(map(os.fsdecode, self._implicit)),
            tuple((os.fsdecode(path), os.fsdecode(target)) for path, target in self._links.items()),
            tuple(map(os.fsdecode, self._whiteouts)),
        )

    # ── Files, links, devices ────────────────────────────────────────────────────────────────────────────────────────

    def _make_file(self, parent: int, name: bytes, path: bytes, entry: Entry) -> None:
        try:
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
        except FileExistsError:
            self._take_away(parent, name, path)
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
        try:
            if entry.parts is None:
                self._write_contents(fd, entry.size)
            else:
                self._write_parts(fd, entry)
            os.fchown(fd, entry.uid, entry.gid)
            os.fchmod(fd, entry.mode)  # after chown, which clears setuid and setgid
            for key, value in entry.xattrs:
                _set_xattr(fd, key, value, entry)  # after chown, which clears security.capability
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
        head, _, target = _clean(entry.link, entry).rpartition(b"/")
        if not target or target.startswith(_WHITEOUT):
            raise InvalidInput(f"layer: entry {entry} is a hard link to {entry.link[:200]!r}, which cannot be")
        here = os.dup(parent)  # looking for the target may close it
        try:
            try:
                directory, above = self._tree.directory(head)
                found = above + b"/" + target if above else target
                mode = os.stat(target, dir_fd=directory, follow_symlinks=False).st_mode
            except (FileNotFoundError, NotADirectoryError):
                found, mode = head + b"/" + target if head else target, 0
            if found in self._whiteouts:
                raise InvalidInput(f"layer: entry {entry} is a hard link to {entry.link[:200]!r}, which this layer deletes")
            if stat.S_ISDIR(mode):
                raise InvalidInput(f"layer: entry {entry} is a hard link to {entry.link[:200]!r}, which is a directory")
            if found == path:
                return
            if not mode:
                if not self._overlay:
                    raise InvalidInput(f"layer: entry {entry} is a hard link to {entry.link[:200]!r}, which is not there")
                self._take_away(here, name, path)
                self._links[path] = found
                return
            try:
                os.link(target, name, src_dir_fd=directory, dst_dir_fd=here, follow_symlinks=False)
            except FileExistsError:
                if stat.S_ISDIR(os.stat(name, dir_fd=here, follow_symlinks=False).st_mode) and (found + b"/").startswith(path + b"/"):
                    raise InvalidInput(f"layer: entry {entry} takes the place of the directory that it is a hard link into") from None
                self._take_away(here, name, path)
                directory, _ = self._tree.directory(head)
                os.link(target, name, src_dir_fd=directory, dst_dir_fd=here, follow_symlinks=False)
        finally:
            os.close(here)

    def _make_special(self, parent: int, name: bytes, entry: Entry) -> None:
        if entry.kind == tar.SYMLINK:
            os.symlink(entry.link, name, dir_fd=parent)
        elif entry.kind == tar.FIFO:
            os.mkfifo(name, 0o600, dir_fd=parent)
        else:
            if entry.major >= 1 << 12 or entry.minor >= 1 << 20:
                raise InvalidInput(f"layer: entry {entry} is a device {entry.major}:{entry.minor}, of which there is none")
            kind = stat.S_IFCHR if entry.kind == tar.CHARACTER else stat.S_IFBLK
            os.mknod(name, kind | 0o600, os.makedev(entry.major, entry.minor), dir_fd=parent)

    def _set_attributes(self, parent: int, name: bytes, entry: Entry) -> None:
        os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        if entry.kind != tar.SYMLINK:
            os.chmod(name, entry.mode, dir_fd=parent)
        for key, value in entry.xattrs:
            _set_xattr(_name(parent, name), key, value, entry)
        if entry.kind != tar.DIRECTORY:
            os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)

    # ── Directories ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _set_directory(self, parent: int, name: bytes, path: bytes, entry: Entry) -> None:
        self._set_attributes(parent, name, entry)
        self._implicit.pop(path, None)
        self._times[path] = entry.mtime

    def _keep(self, directory: bytes) -> None:
        """The directory, and those that it is in, are of this layer, too."""
        while directory and directory not in self._made:
            self._made.add(directory)
            directory = directory.rpartition(b"/")[0]

    def _make_implicit(self, parent: int, name: bytes, path: bytes) -> None:
        """A directory that is missing on the way to an entry."""
        os.mkdir(name, 0o755, dir_fd=parent)
        os.chmod(name, 0o755, dir_fd=parent)  # whatever the umask is
        self._implicit[path] = None
        self._times.pop(path, None)

    def _clear_the_way(self, parent: int, name: bytes, path: bytes) -> None:
        """On the way to an entry something is no directory."""
        if path in self._made and path not in self._whiteouts:
            raise InvalidInput(f"layer: {os.fsdecode(path)!r} is a file in it, and is said to be a directory, too")
        self._replace_by_directory(parent, name, path)
        os.chmod(name, 0o755, dir_fd=parent)
        self._implicit[path] = None

    def _replace_by_directory(self, parent: int, name: bytes, path: bytes) -> None:
        was_deleted = path in self._whiteouts
        self._take_away(parent, name, path)
        os.mkdir(name, 0o700, dir_fd=parent)
        if was_deleted:
            _make_opaque(_name(parent, name))

    def _take_away(self, parent: int, name: bytes, path: bytes) -> None:
        """Whatever is there makes room."""
        try:
            mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return
        self._whiteouts.pop(path, None)
        if stat.S_ISDIR(mode) or stat.S_ISLNK(mode):
            self._tree.changed()
        if stat.S_ISDIR(mode):
            trees.remove(name, parent)
            for table in self._links, self._whiteouts:
                for stale in [key for key in table if key.startswith(path + b"/")]:
                    del table[stale]
        else:
            os.unlink(name, dir_fd=parent)

    # ── Whiteouts ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _apply_whiteout(self, head: bytes, name: bytes, entry: Entry) -> None:
        target = name[len(_WHITEOUT) :]
        if target in (b"", b".", b".."):
            raise InvalidInput(f"layer: entry {entry} would delete a directory from within it")
        parent, above = self._tree.directory(head, self._make_implicit, self._clear_the_way)
        self._keep(above)
        if name == _OPAQUE:
            if self._overlay:
                _make_opaque(_name(parent, b"."))
            else:
                self._prune(above)
            return
        if target.startswith(_WHITEOUT):
            return  # aufs' own notes, which Docker skips, too
        path = above + b"/" + target if above else target
        try:
            mode = os.stat(target, dir_fd=parent, follow_symlinks=False).st_mode
        except FileNotFoundError:
            if self._overlay:
                os.mknod(target, stat.S_IFCHR, 0, dir_fd=parent)
                self._whiteouts[path] = None
            return
        if path not in self._made:
            if not self._overlay:
                self._take_away(parent, target, path)
        elif stat.S_ISDIR(mode):  # this layer's own stays, and shows nothing of what is below
            if self._overlay:
                _make_opaque(_name(parent, target))
            else:
                self._prune(path)

    def _prune(self, directory: bytes) -> None:
        """Remove what is in a directory and this layer has not made."""
        waiting = [directory]
        while waiting:
            here = waiting.pop()
            fd, _ = self._tree.directory(here)
            for name in map(os.fsencode, os.listdir(fd)):
                path = here + b"/" + name if here else name
                if path not in self._made:
                    self._take_away(fd, name, path)
                elif stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                    waiting.append(path)


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
        if name.startswith(_WHITEOUT):
            raise InvalidInput(f"layer: entry {entry} lies in a directory whose name means a deletion")
    return b"/".join(names)


def _name(directory: int, name: bytes) -> bytes:
    """For calls on attributes, which take no descriptor of a directory; the last component is not followed."""
    return b"/proc/self/fd/%d/%s" % (directory, name)


def _write(fd: int, piece: bytes | memoryview) -> None:
    while (count := os.write(fd, piece)) < len(piece):
        piece = piece[count:]


def _make_opaque(directory: bytes) -> None:
    os.setxattr(directory, "trusted.overlay.opaque", b"y", follow_symlinks=False)


def _set_xattr(target: int | bytes, key: str, value: bytes, entry: Entry) -> None:
    if key.startswith(("trusted.overlay.", "user.overlay.")):
        return  # they would tell overlayfs to look elsewhere
    try:
        if isinstance(target, int):
            os.setxattr(target, key, value)
        else:
            os.setxattr(target, key, value, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        if key == "security.capability":  # a program without its capabilities is another program
            raise Unsupported(f"layer: entry {entry} has capabilities, which this file system cannot hold") from None


def _clear_xattrs(target: bytes) -> None:
    for key in os.listxattr(target, follow_symlinks=False):
        if not key.startswith(("trusted.overlay.", "security.selinux")):
            os.removexattr(target, key, follow_symlinks=False)


def _failed(error: OSError, entry: Entry, directory: str) -> InvalidInput | KernelError:
    if error.errno in _OF_THE_ARCHIVE:
        return InvalidInput(f"layer: entry {entry}: {error.strerror}")
    hint = {
        errno.EPERM: "owners, devices and attributes take root; has the file system +i files?",
        **dict.fromkeys(_FULL, "the disk is full: df -h shows which; make room and try again"),
    }.get(error.errno or 0, "")
    return KernelError.of(error, f"unpack entry {entry} in", directory, hint)
