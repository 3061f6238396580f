"""Compression: what was compressed in whatever way and arrives in whatever pieces comes out, or an error does."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import InvalidInput
from labkit.storage.compression import decompressed, gzipped

DATA = random.Random(1).randbytes(300_000) + bytes(1_000_000) + b"words " * 50_000
SKIPPED = b"\x50\x2a\x4d\x18\x03\0\0\0abc"


def zstd_stream(data: bytes) -> bytes:
    """Without its size in the header, as a pipe gives it."""
    compressor = zstandard.ZstdCompressor(level=3).compressobj()
    return compressor.compress(data) + compressor.flush()


FORMS = {
    "gzip": gzip.compress(DATA[:1000]) + gzip.compress(DATA[1000:]),
    "gzip with a name": b"\x1f\x8b\x08\x08\0\0\0\0\0\x03name\0" + gzip.compress(DATA)[10:],
    "gzip filled up with zeros": gzip.compress(DATA) + bytes(700),
    "our gzip": b"".join(gzipped([DATA[:5], b"", DATA[5:]])),
    "zstd": SKIPPED + zstandard.ZstdCompressor(write_checksum=True).compress(DATA[:1000]) + zstandard.compress(DATA[1000:]) + SKIPPED,
    "zstd stream": zstd_stream(DATA),
    "zstd of nothing": zstd_stream(b"") + zstandard.compress(b"") + zstd_stream(DATA),
    "bzip2": bz2.compress(DATA[:1000]) + bz2.compress(DATA[1000:]),
    "xz": lzma.compress(DATA[:1000]) + lzma.compress(DATA[1000:]),
    "none": DATA,
}


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@pytest.mark.parametrize("size", [997, 65536, 1 << 24])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_in_pieces_of_any_size(form: str, size: int) -> None:
    assert b"".join(decompressed(pieces(FORMS[form], size))) == DATA


@pytest.mark.parametrize("form", [form for form in FORMS if form != "none" and "zeros" not in form])
def test_a_stream_that_breaks_off_is_an_error(form: str) -> None:
    whole = FORMS[form]
    for end in [len(whole) - 1, len(whole) - 5, len(whole) - 9, len(whole) // 2, 100, 20]:
        with pytest.raises(InvalidInput, match="layer: breaks off in the middle"):
            list(decompressed([whole[:end]]))


@pytest.mark.parametrize("form", ["gzip", "our gzip", "bzip2", "xz"])
def test_a_stream_with_a_checksum_that_is_damaged_is_an_error(form: str) -> None:
    for at in random.Random(2).sample(range(20, len(FORMS[form])), 50):
        broken = bytearray(FORMS[form])
        broken[at] ^= 0x41
        with pytest.raises(InvalidInput, match=r"^layer: "):
            list(decompressed([bytes(broken)]))


@pytest.mark.parametrize("form", ["zstd", "zstd stream"])
def test_a_damaged_zstd_stream_is_an_error_or_other_data_but_nothing_worse(form: str) -> None:
    for at in random.Random(3).sample(range(len(FORMS[form])), 200):
        broken = bytearray(FORMS[form])
        broken[at] ^= 0x41
        try:
            list(decompressed([bytes(broken)]))
        except InvalidInput as error:
            assert str(error).startswith("layer: ")


@pytest.mark.parametrize("form", ["gzip", "zstd", "bzip2", "xz"])
def test_what_follows_a_stream_and_is_none_is_an_error(form: str) -> None:
    with pytest.raises(InvalidInput, match="comes something else"):
        list(decompressed([FORMS[form] + b"rubbish"]))


@pytest.mark.parametrize("form", FORMS)
def test_more_than_the_limit_is_an_error_that_names_it(form: str) -> None:
    with pytest.raises(InvalidInput, match="larger than 1000000 bytes when decompressed"):
        list(decompressed([FORMS[form]], limit=1_000_000))
    assert b"".join(decompressed([FORMS[form]], limit=len(DATA))) == DATA


@pytest.mark.parametrize("bomb", [zlib.compress(bytes(1 << 29), 9, 31), zstandard.compress(bytes(1 << 29), 19)], ids=["gzip", "zstd"])
def test_a_bomb_takes_little_memory_until_the_limit_stops_it(bomb: bytes) -> None:
    assert len(bomb) < 600_000
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match="larger than 104857600 bytes"):
            for _ in decompressed([bomb], limit=100 << 20):
                pass
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_zstd_window_that_takes_all_memory_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=27)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    stream = compressor.compress(DATA) + compressor.flush()
    with pytest.raises(InvalidInput, match=r"its zstd stream is damaged: .*memory"):
        list(decompressed([stream]))


@given(st.lists(st.binary(max_size=300)))
def test_what_is_gzipped_is_what_comes_out_and_the_same_each_time(chunks: list[bytes]) -> None:
    data = b"".join(chunks)
    assert b"".join(decompressed(gzipped(chunks))) == data
    assert b"".join(gzipped(chunks)) == b"".join(gzipped(chunks))
    assert gzip.decompress(b"".join(gzipped([data]))) == data


@given(st.binary(max_size=200))
def test_any_bytes_give_bytes_or_an_error(data: bytes) -> None:
    for start in (b"", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"BZh9", b"\xfd7zXZ\0", b"\x50\x2a\x4d\x18"):
        try:
            b"".join(decompressed([start + data], limit=1 << 20))
        except InvalidInput as error:
            assert str(error).startswith("layer: ")


def test_nothing_is_nothing() -> None:
    assert list(decompressed([])) == []
    assert list(decompressed([b"", b""])) == []
