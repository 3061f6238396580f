"""Files as members of a tar archive: the header, the contents, filled up to 512 bytes; the same file gives the same bytes.

    >>> from labkit.storage import members, trees
    >>> with trees.Tree("/layers/app") as tree, open("/tmp/app.tar", "wb") as archive:
    ...     for piece in members.Members(tree).member(b"etc/hosts"):
    ...         archive.write(piece)
    ...     archive.write(members.END)

Nothing of when, where and by whom the archive was made is in it: no user names, no access times, times of change in whole seconds, as
Docker writes them. What the ustar header has no room for goes into PAX records, sorted.

Source: POSIX.1-2017 ``pax``, "ustar Interchange Format"; OCI image-spec ``layer.md``. Shown in notebook 05.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence

from labkit.errors import Conflict, InvalidInput
from labkit.storage import copies, tar, trees
from labkit.storage.attributes import at

END = bytes(1024)
_CHUNK = 256 << 10
_KINDS = {
    stat.S_IFREG: tar.FILE,
    stat.S_IFDIR: tar.DIRECTORY,
    stat.S_IFLNK: tar.SYMLINK,
    stat.S_IFCHR: tar.CHARACTER,
    stat.S_IFBLK: tar.BLOCK_DEVICE,
    stat.S_IFIFO: tar.FIFO,
}
_PAX = ord("x")


class Members:
    """Members of one archive, of the files in ``tree``. A file that has several names is there once; the later names are hard links."""

    def __init__(self, tree: trees.Tree) -> None:
        self._tree = tree
        self._first_names: dict[tuple[int, int], bytes] = {}

    def member(self, path: bytes) -> Iterator[bytes]:
        """The file at ``path`` below the root of the tree, b"" being the root itself; nothing for a socket."""
        parent, name = directory(self._tree, path)
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        kind = _KINDS.get(stat.S_IFMT(found.st_mode))
        if kind is None:
            return  # a socket is of the process that listens there
        mtime = found.st_mtime_ns // 10**9
        if found.st_nlink > 1 and kind != tar.DIRECTORY:
            first = self._first_names.setdefault((found.st_dev, found.st_ino), path)
            if first != path:
                yield header(path, tar.HARD_LINK, found, 0, mtime, first)
                return
        xattrs = tuple(copies.xattrs(at(parent, name)))
        if kind == tar.DIRECTORY:
            yield header(path + b"/" if path else b"./", kind, found, 0, mtime, xattrs=xattrs)
        elif kind == tar.SYMLINK:
            yield header(path, kind, found, 0, mtime, os.readlink(name, dir_fd=parent), xattrs)
        elif kind == tar.FILE:
            yield from self._file(parent, name, path, mtime, xattrs)
        else:
            yield header(path, kind, found, 0, mtime, xattrs=xattrs)

    def _file(self, parent: int, name: bytes, path: bytes, mtime: int, xattrs: tuple[tuple[str, bytes], ...]) -> Iterator[bytes]:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
        try:
            found = os.fstat(fd)
            yield header(path, tar.FILE, found, found.st_size, mtime, xattrs=xattrs)
            yield from contents(fd, found.st_size)
            yield bytes(-found.st_size % tar.BLOCK)
        except EOFError:
            raise Conflict(f"layer: {os.fsdecode(path)!r} became shorter while it was read: stop who writes to it") from None
        finally:
            os.close(fd)


def contents(fd: int, size: int) -> Iterator[bytes]:
    """What an open file holds; holes are not read, but made."""
    at = 0
    if size > _CHUNK:
        for offset, length in copies.parts(fd, size):
            yield from _zeros(offset - at)
            os.lseek(fd, offset, os.SEEK_SET)
            yield from _read(fd, length)
            at = offset + length
        yield from _zeros(size - at)
    else:
        yield from _read(fd, size)


def directory(tree: trees.Tree, path: bytes) -> tuple[int, bytes]:
    """A descriptor of the directory that ``path`` is in, without a link on the way, and the name there."""
    head, _, name = path.rpartition(b"/")
    parent, found = tree.directory(head)
    if found != head:
        raise Conflict(f"layer: {os.fsdecode(head)!r} became a link while it was read: stop who writes to it")
    return parent, name or b"."


def whiteout(path: bytes) -> bytes:
    """A member that says: what the layers below have at ``path`` is no longer there."""
    head, slash, name = path.rpartition(b"/")
    return header(head + slash + b".wh." + name, tar.FILE, None, 0, 0)


def opaque(directory: bytes) -> bytes:
    """A member that says: what the layers below have in ``directory`` is no longer there."""
    return header((directory + b"/" if directory else b"") + b".wh..wh..opq", tar.FILE, None, 0, 0)


def header(
    path: bytes,
    kind: int,
    found: os.stat_result | None,
    size: int,
    mtime: int,
    link: bytes = b"",
    xattrs: Sequence[tuple[str, bytes]] = (),
) -> bytes:
    """The header of a member with the attributes of ``found``, and before it the PAX records that it needs."""
    records: dict[bytes, bytes] = {b"SCHILY.xattr." + os.fsencode(name): value for name, value in xattrs}
    mode, uid, gid = (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) if found else (0, 0, 0)
    device = found.st_rdev if found and kind in (tar.CHARACTER, tar.BLOCK_DEVICE) else 0
    texts = {b"path": path, b"linkpath": link}
    records |= {key: text for key, text in texts.items() if len(text) > 100 or not text.isascii()}
    numbers = {b"size": (size, 8**11), b"uid": (uid, 8**7), b"gid": (gid, 8**7), b"mtime": (mtime, 8**11)}
    records |= {key: b"%d" % number for key, (number, limit) in numbers.items() if not 0 <= number < limit}
    fields = (mode, uid, gid, size, mtime, kind, link, os.major(device), os.minor(device))
    main = _ustar(path, *fields)
    if not records:
        return main
    data = b"".join(_record(key, records[key]) for key in sorted(records))
    head, slash, name = path.rstrip(b"/").rpartition(b"/")
    before = _ustar(head + slash + b"PaxHeaders.0/" + name, 0o644, 0, 0, len(data), 0, _PAX, b"", 0, 0)
    return before + data + bytes(-len(data) % tar.BLOCK) + main


def _ustar(path: bytes, mode: int, uid: int, gid: int, size: int, mtime: int, kind: int, link: bytes, major: int, minor: int) -> bytes:
    """512 bytes. What does not fit, and is said in PAX records, is cut or 0."""
    block = b"".join(
        (
            _text(path),
            b"%07o\0" % mode,
            b"%07o\0" % (uid if uid < 8**7 else 0),
            b"%07o\0" % (gid if gid < 8**7 else 0),
            b"%011o\0" % (size if size < 8**11 else 0),
            b"%011o\0" % (mtime if 0 <= mtime < 8**11 else 0),
            b"        ",
            bytes([kind]),
            _text(link),
            b"ustar\00000",
            bytes(64),  # names of user and group
            b"%07o\0%07o\0" % (major, minor),
            bytes(167),
        )
    )
    return b"%b%06o\0 %b" % (block[:148], sum(block), block[156:])


def _text(text: bytes) -> bytes:
    if not text.isascii():
        text = bytes(byte if byte < 128 else ord("?") for byte in text)
    return text[:100].ljust(100, b"\0")


def _record(key: bytes, value: bytes) -> bytes:
    """``LENGTH KEY=VALUE\\n``, the length counting its own digits."""
    length = len(key) + len(value) + 3
    digits = len(str(length))
    while len(str(length + digits)) > digits:
        digits += 1
    return b"%d %b=%b\n" % (length + digits, key, value)


def _read(fd: int, size: int) -> Iterator[bytes]:
    while size:
        piece = os.read(fd, min(size, _CHUNK))
        if not piece:
            raise EOFError
        size -= len(piece)
        yield piece


def _zeros(count: int) -> Iterator[bytes]:
    while count:
        piece = min(count, _CHUNK)
        count -= piece
        yield bytes(piece)


def refuse_name(name: bytes, path: bytes) -> None:
    """``InvalidInput`` for a file that no layer can hold."""
    if name.startswith(b".wh."):
        raise InvalidInput(f"layer: {os.fsdecode(path)!r} cannot be in it: a name that begins with .wh. means a deletion there")
