"""Compression of layers, as a stream: pieces in, pieces out, never more than a few in memory.

    >>> from labkit.storage import compression
    >>> squeezed = b"".join(compression.gzipped([b"hello " * 1000]))
    >>> len(squeezed), len(b"".join(compression.decompressed([squeezed])))
    (49, 6000)

How a stream is compressed is told by its first bytes, as Docker does, not by the media type of a manifest:

    1f 8b         gzip    any number of members, one after the other
    28 b5 2f fd   zstd    any number of frames
    42 5a 68      bzip2   in archives that people ADD to a build; no registry has layers in these two
    fd 37 7a 58   xz
    else          not at all

A kilobyte can hold a gigabyte of zeros, so that whoever reads what strangers compressed sets a ``limit``.

Source: RFC 1952 (gzip), RFC 8878 (zstd); OCI image-spec ``layer.md``. Shown in notebook 05.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator

from labkit.errors import InvalidInput

PIECE = 256 << 10
# How far back a compressed stream may point, and therefore what it may take of our memory. zstd's own default is 8 MiB.
_WINDOW = 64 << 20
_GZIP, _WRAPPED_AS_GZIP = b"\x1f\x8b", 31


def decompressed(chunks: Iterable[bytes], limit: int | None = None) -> Iterator[bytes]:
    """What ``chunks`` say; ``InvalidInput`` if they break off, are damaged, or say more than ``limit`` bytes."""
    source = _Source(chunks)
    written = 0
    for piece in _plain(source):
        written += len(piece)
        if limit is not None and written > limit:
            raise InvalidInput(f"layer: is larger than {limit} bytes when decompressed, which is the limit here")
        yield piece


def gzipped(chunks: Iterable[bytes], level: int = 6) -> Iterator[bytes]:
    """``chunks`` as one gzip member without name or time: the same bytes give the same bytes."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, _WRAPPED_AS_GZIP)
    for chunk in chunks:
        if squeezed := compressor.compress(chunk):
            yield squeezed
    yield compressor.flush()


class _Source:
    """The compressed bytes: looked at, or taken."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._buffer = bytearray()

    def peek(self, count: int) -> bytes:
        """The next ``count`` bytes, or fewer at the end."""
        while len(self._buffer) < count and (chunk := next(self._chunks, None)) is not None:
            self._buffer += chunk
        return bytes(self._buffer[:count])

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes; ``InvalidInput`` if there are fewer."""
        taken = self.peek(count)
        if len(taken) < count:
            raise _cut()
        del self._buffer[:count]
        return taken

    def pieces(self) -> Iterator[bytes]:
        """All that is left, in pieces of whatever size they come."""
        while True:
            while self._buffer:
                piece = bytes(self._buffer[:PIECE])
                del self._buffer[:PIECE]
                yield piece
            chunk = next(self._chunks, None)
            if chunk is None:
                return
            if len(chunk) <= PIECE:
                yield chunk
            else:
                self._buffer += chunk

    def give_back(self, rest: bytes) -> None:
        """``rest`` was taken, and belongs to what comes next."""
        self._buffer[:0] = rest


def _plain(source: _Source) -> Iterator[bytes]:
    start = source.peek(6)
    if start.startswith(_GZIP):
        return _members(source, "gzip", _gzip_member, _GZIP)
    if start.startswith((b"\x28\xb5\x2f\xfd",)) or (start[1:4] == b"\x2a\x4d\x18" and start[0] & 0xF0 == 0x50):
        return _zstd(source)
    if start.startswith(b"BZh"):
        return _members(source, "bzip2", _bzip2_member, b"BZh")
    if start.startswith(b"\xfd7zXZ\0"):
        return _members(source, "xz", _xz_member, b"\xfd7zXZ\0")
    return source.pieces()


def _members(source: _Source, kind: str, member: Callable[[_Source], Iterator[bytes]], magic: bytes) -> Iterator[bytes]:
    """One compressed stream after the other; zeros that fill up a block at the end are no stream."""
    while True:
        try:
            yield from member(source)
        except (zlib.error, lzma.LZMAError, OSError, ValueError) as error:
            raise InvalidInput(f"layer: its {kind} stream is damaged: {error}") from None
        rest = source.peek(len(magic))
        if rest == magic:
            continue
        for piece in source.pieces():
            if piece.strip(b"\0"):
                raise InvalidInput(f"layer: after the end of its {kind} stream comes something else")
        return


def _gzip_member(source: _Source) -> Iterator[bytes]:
    decompressor = zlib.decompressobj(_WRAPPED_AS_GZIP)
    for piece in source.pieces():
        while piece and not decompressor.eof:
            if plain := decompressor.decompress(piece, PIECE):
                yield plain
            piece = decompressor.unconsumed_tail
        if decompressor.eof:
            source.give_back(decompressor.unused_data)
            return
    while plain := decompressor.decompress(b"", PIECE):  # all was read, but not yet all said
        yield plain
    if not decompressor.eof:
        raise _cut()


def _bzip2_member(source: _Source) -> Iterator[bytes]:
    return _by_need(source, bz2.BZ2Decompressor())


def _xz_member(source: _Source) -> Iterator[bytes]:
    return _by_need(source, lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_WINDOW + (4 << 20)))


def _by_need(source: _Source, decompressor: bz2.BZ2Decompressor | lzma.LZMADecompressor) -> Iterator[bytes]:
    for piece in source.pieces():
        if plain := decompressor.decompress(piece, PIECE):
            yield plain
        while not decompressor.eof and not decompressor.needs_input:
            if plain := decompressor.decompress(b"", PIECE):
                yield plain
        if decompressor.eof:
            source.give_back(decompressor.unused_data)
            return
    raise _cut()


def _zstd(source: _Source) -> Iterator[bytes]:
    """Frame by frame, and in a frame block by block.

        magic │ header │ block header │ block … │ block header, "last" │ block │ checksum │ magic …
          4     2 to 14       3                                                     4

    A block gives 128 KiB at most, so that this keeps to little memory; and where a stream breaks off is plain to see, which
    the library would pass over in silence.
    """
    import zstandard  # here, because most layers do without

    while magic := source.peek(4):
        if magic[1:4] == b"\x2a\x4d\x18" and magic[0] & 0xF0 == 0x50:  # a frame to be skipped
            left = int.from_bytes(source.take(8)[4:], "little")
            while left:
                left -= len(source.take(min(left, PIECE)))
            continue
        if magic != b"\x28\xb5\x2f\xfd":
            raise InvalidInput("layer: after the end of its zstd frame comes something else") if len(magic) == 4 else _cut()
        frame = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
        try:
            descriptor = source.peek(5)[-1]
            is_single = descriptor >> 5 & 1
            sizes = (not is_single) + (0, 1, 2, 4)[descriptor & 3] + (is_single, 2, 4, 8)[descriptor >> 6]
            yield frame.decompress(source.take(5 + sizes))
            is_last = False
            while not is_last:
                header = source.take(3)
                word = int.from_bytes(header, "little")
                is_last, kind, size = bool(word & 1), word >> 1 & 3, word >> 3
                if size > 128 << 10 or kind == 3:
                    raise InvalidInput("layer: its zstd stream is damaged: no such block")
                if plain := frame.decompress(header + source.take(1 if kind == 1 else size)):
                    yield plain
            if descriptor & 4 and (plain := frame.decompress(source.take(4))):
                yield plain
        except zstandard.ZstdError as error:
            raise InvalidInput(f"layer: its zstd stream is damaged: {error}") from None


def _cut() -> InvalidInput:
    return InvalidInput("layer: breaks off in the middle")
