"""A bit is flipped so that nothing but the content tells."""

import os

from labkit.lessons import stores


def test_one_bit_is_another_and_size_and_time_are_as_before(tmp_path):
    path = tmp_path / "blob"
    path.write_bytes(b"some bytes")
    os.utime(path, ns=(1, 2))
    stores.flip_bit(str(path))
    before, after = b"some bytes", path.read_bytes()
    assert len(after) == len(before)
    assert sum((one ^ other).bit_count() for one, other in zip(before, after, strict=True)) == 1
    assert path.stat().st_mtime_ns == 2
    stores.flip_bit(str(path))
    assert path.read_bytes() == before
