"""The tar format, read: a stream of bytes becomes entries, each with the contents that follow it.

    header of 512 bytes │ contents, filled up to 512 │ header │ … │ 1024 zeros

    >>> from labkit.storage import tar
    >>> archive = tar.Reader(open("layer.tar", "rb"))
    >>> for entry in archive:
    ...     print(entry.path, entry.size)

What a header has no room for stands in an entry of its own before it: PAX records ("x": long names, large sizes, extended
attributes, times with fractions) or GNU's long names ("L", "K"); GNU tar also leaves the holes of sparse files out, in four forms. All of
it is read. Python's ``tarfile`` is not used here: a layer comes from strangers, and ``tarfile`` takes an archive that breaks off for one
that ends, reads records of any size into memory, and takes names for text. Names are bytes here, as they are to the kernel.

Source: POSIX.1-2017 ``pax``, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format", "Storing Sparse Files". Shown in notebook 05.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from labkit.errors import InvalidInput
from labkit.records import record
from labkit.storage import tar_fields as fields

BLOCK = 512
_PIECE = 256 << 10
# Names and extended attributes are small. Go's archive/tar, and so Docker, draws the line at the same size.
_RECORDS_LIMIT = 1 << 20

FILE, HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = b"0123456"
_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK, _GNU_SPARSE, _OLD_PAX = b"xgLKSX"
_LAST_TIME = (1 << 63) - 1  # nanoseconds, in the year 2262
_SAME_AS_FILE = (0, ord("7"))  # before POSIX; "contiguous"


@record
class Entry:
    """One entry: names as they stand there, ``mtime`` in nanoseconds; ``size`` is that of the file once it is unpacked."""

    path: bytes
    kind: int
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    link: bytes
    major: int
    minor: int
    xattrs: tuple[tuple[str, bytes], ...]
    parts: tuple[tuple[int, int], ...] | None  # of a sparse file: offset and length of what is there, between the holes

    def __str__(self) -> str:
        return repr(self.path.decode(errors="backslashreplace"))


class Reader:
    """The entries of an archive, in order. ``contents`` belongs to the entry that came last, and need not be read."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._buffer = b""
        self._position = 0
        self._left = 0  # bytes of the entry's contents that nobody has read yet
        self._padding = 0

    def __iter__(self) -> Iterator[Entry]:
        """``InvalidInput`` where the archive is damaged or breaks off. At its end, all that follows is read, too."""
        pax: dict[bytes, bytes] = {}
        sparse: list[tuple[int, int]] = []
        gnu: dict[int, bytes] = {}
        while header := self._header():
            kind = header[156]
            size = fields.number(header[124:136], "size")
            if kind in (_PAX, _OLD_PAX):
                pax, sparse = fields.pax_records(self._records(size))
            elif kind == _PAX_GLOBAL:
                self._records(size)  # as Go does, and so Docker: it says nothing of the entries
            elif kind in (_GNU_NAME, _GNU_LINK):
                gnu[kind] = self._records(size).split(b"\0", 1)[0]
            else:
                yield self._entry(header, kind, size, pax, sparse, gnu)
                self._skip(self._left + self._padding)
                self._left = self._padding = 0
                pax, sparse, gnu = {}, [], {}
        if pax or gnu:
            raise InvalidInput("layer: breaks off after the records of an entry that does not come")
        for _ in self._chunks:
            pass

    def contents(self) -> Iterator[bytes | memoryview]:
        """What this entry holds, in pieces."""
        while self._left:
            have = len(self._buffer) - self._position
            if not have:
                self._fill()
                continue
            count = min(have, self._left, _PIECE)
            piece = memoryview(self._buffer)[self._position : self._position + count]
            self._position += count
            self._left -= count
            yield piece

    def _entry(
        self, header: bytes, kind: int, size: int, pax: dict[bytes, bytes], sparse: list[tuple[int, int]], gnu: dict[int, bytes]
    ) -> Entry:
        path, link = fields.text(header, 0, 100), fields.text(header, 157, 100)
        mtime = fields.number(header[136:148], "mtime") * 10**9
        uid, gid = fields.number(header[108:116], "uid"), fields.number(header[116:124], "gid")
        if header[257:263] == b"ustar\0" and header[345]:
            path = fields.text(header, 345, 155) + b"/" + path
        path, link = gnu.get(_GNU_NAME, path), gnu.get(_GNU_LINK, link)
        xattrs: tuple[tuple[str, bytes], ...] = ()
        if pax:
            path, link = pax.get(b"path", path), pax.get(b"linkpath", link)
            size = fields.decimal(pax, b"size", size)
            uid, gid = fields.decimal(pax, b"uid", uid), fields.decimal(pax, b"gid", gid)
            if b"mtime" in pax:
                mtime = fields.nanoseconds(pax[b"mtime"])
            xattrs = tuple((key[13:].decode(errors="surrogateescape"), pax[key]) for key in pax if key.startswith(b"SCHILY.xattr."))
        if kind in _SAME_AS_FILE or kind == _GNU_SPARSE:
            kind = DIRECTORY if kind == 0 and path.endswith(b"/") else FILE
        if not FILE <= kind <= FIFO:
            raise InvalidInput(f"layer: entry {path[:200]!r} is of a kind that is not known here: {chr(kind)!r}")
        self._left = size if kind == FILE else 0
        self._padding = -self._left % BLOCK
        parts = None
        if kind == FILE and (header[156] == _GNU_SPARSE or any(key.startswith(b"GNU.sparse.") for key in pax)):
            path = pax.get(b"GNU.sparse.name", path)
            parts, size = self._sparse(header, pax, sparse, size)
        if max(uid, gid) >= 0xFFFFFFFF:  # which the kernel takes for "leave it as it is"
            raise fields.damaged(f"entry {path[:200]!r} belongs to {uid}:{gid}")
        if b"\0" in path or b"\0" in link:
            raise InvalidInput(f"layer: the name of entry {path[:200]!r} holds a zero byte")
        return Entry(
            path, kind, fields.number(header[100:108], "mode") & 0o7777, uid, gid, size if kind == FILE else 0,
            max(-_LAST_TIME, min(mtime, _LAST_TIME)), link,
            fields.number(header[329:337], "devmajor"), fields.number(header[337:345], "devminor"), xattrs, parts,
        )  # fmt: skip

    def _sparse(
        self, header: bytes, pax: dict[bytes, bytes], parts: list[tuple[int, int]], size: int
    ) -> tuple[tuple[tuple[int, int], ...], int]:
        """Where the parts of a sparse file are, in GNU tar's four forms, and how large the file is."""
        if header[156] == _GNU_SPARSE:
            real, parts, more, at, count = fields.number(header[483:495], "real size"), [], header[482], 386, 4
            block = header
            while True:
                parts += [
                    (
                        fields.number(block[at + 24 * i : at + 24 * i + 12], "offset"),
                        fields.number(block[at + 24 * i + 12 : at + 24 * i + 24], "length"),
                    )
                    for i in range(count)
                    if block[at + 24 * i]
                ]
                if not more:
                    break
                block, at, count = self._take(BLOCK), 0, 21
                more = block[504]
                _check_parts(len(parts))
        elif pax.get(b"GNU.sparse.major") == b"1":
            real = fields.decimal(pax, b"GNU.sparse.realsize", size)
            numbers = [self._line()]
            while len(numbers) < 1 + 2 * numbers[0]:
                numbers.append(self._line())
                _check_parts(numbers[0])
            parts = list(zip(numbers[1::2], numbers[2::2], strict=True))
            consumed = size - self._left
            rest = -consumed % BLOCK
            self._left -= rest
            if self._left < 0:
                raise fields.damaged("the map of a sparse file is longer than its entry")
            self._skip(rest)
        else:
            real = fields.decimal(pax, b"GNU.sparse.realsize", fields.decimal(pax, b"GNU.sparse.size", size))
            if b"GNU.sparse.map" in pax:
                numbers = [fields.integer(word, "GNU.sparse.map") for word in pax[b"GNU.sparse.map"].split(b",") if word]
                if len(numbers) % 2:
                    raise fields.damaged("the map of a sparse file has an odd number of numbers")
                parts = list(zip(numbers[::2], numbers[1::2], strict=True))
        end = 0
        for offset, length in parts:
            if offset < end or length < 0:
                raise fields.damaged("the parts of a sparse file overlap")
            end = offset + length
        if end > real or sum(length for _, length in parts) != self._left:
            raise fields.damaged("the map of a sparse file does not fit what comes")
        return tuple(parts), real

    def _line(self) -> int:
        """A number in a line of its own, at the beginning of a sparse file's contents."""
        digits = b""
        while len(digits) < 24 and self._left:
            self._left -= 1
            if (byte := self._take(1)) == b"\n":
                return fields.integer(digits, "sparse map")
            digits += byte
        raise fields.damaged("the map of a sparse file has no end")

    def _header(self) -> bytes | None:
        """The next header, or None at the end: a block of zeros, or where there is nothing more."""
        if self._position == len(self._buffer) and not self._more():
            return None
        header = self._take(BLOCK)
        if not any(header):
            return None
        # The sum of all bytes, with spaces in place of the sum itself; some old tars took the bytes for signed.
        found, expected = sum(header) - sum(header[148:156]) + 256, fields.number(header[148:156], "checksum")
        if found != expected:
            signed = found - 256 * sum(byte > 127 for byte in header[:148] + header[156:])
            if signed != expected:
                raise fields.damaged("a header has a wrong checksum")
        return header

    def _records(self, size: int) -> bytes:
        if size > _RECORDS_LIMIT:
            raise InvalidInput(f"layer: names or attributes of {size} bytes for one entry; the limit is {_RECORDS_LIMIT}")
        data = self._take(size)
        self._skip(-size % BLOCK)
        return data

    def _take(self, count: int) -> bytes:
        end = self._position + count
        while end > len(self._buffer):
            self._fill()
            end = self._position + count
        data = self._buffer[self._position : end]
        self._position = end
        return data

    def _skip(self, count: int) -> None:
        while count > (have := len(self._buffer) - self._position):
            count -= have
            self._position = len(self._buffer)
            self._fill()
        self._position += count

    def _more(self) -> bool:
        """Get the next piece, behind what is left of this one."""
        for chunk in self._chunks:
            if chunk:
                self._buffer = self._buffer[self._position :] + chunk if self._position < len(self._buffer) else chunk
                self._position = 0
                return True
        return False

    def _fill(self) -> None:
        if not self._more():
            raise InvalidInput("layer: breaks off in the middle")


def _check_parts(count: int) -> None:
    if count > 1 << 20:
        raise fields.damaged(f"a sparse file has {count} parts")
