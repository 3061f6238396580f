"""Blobs: whole or not there, whoever writes them and however it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from labkit.errors import InvalidInput, KernelError, NotFound
from labkit.storage import digests
from labkit.storage.blobs import Blobs

DATA = b"hello, " * 1000
DIGEST = digests.of(DATA)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(str(tmp_path))


def partial(blobs: Blobs) -> list[str]:
    return os.listdir(f"{blobs.directory}/ingest")


def test_the_directory_is_an_oci_layout(blobs: Blobs, tmp_path: Path) -> None:
    assert json.loads((tmp_path / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    blobs.put(DATA)
    assert (tmp_path / "blobs/sha256" / DIGEST[7:]).read_bytes() == DATA


def test_what_was_put_is_found_by_its_digest(blobs: Blobs) -> None:
    assert blobs.put(DATA) == blobs.put(DATA) == DIGEST
    assert (blobs.has(DIGEST), blobs.size(DIGEST), blobs.list()) == (True, len(DATA), (DIGEST,))
    assert blobs.read(DIGEST) == DATA
    with blobs.open(DIGEST) as file:
        assert file.read(5) == b"hello"
    blobs.remove(DIGEST)
    blobs.remove(DIGEST)
    assert (blobs.has(DIGEST), blobs.list(), partial(blobs)) == (False, (), [])


def test_what_is_not_there_is_not_found_and_what_is_no_digest_is_refused(blobs: Blobs) -> None:
    for ask in (blobs.read, blobs.size, blobs.open):
        with pytest.raises(NotFound, match=f"blob {DIGEST}: there is none in "):
            ask(DIGEST)
        with pytest.raises(InvalidInput):
            ask("sha256:../../etc/passwd")


def test_a_blob_that_changed_on_disk_is_not_read(blobs: Blobs) -> None:
    blobs.put(DATA)
    Path(blobs.path(DIGEST)).write_bytes(DATA[:-1] + b"?")
    with pytest.raises(InvalidInput, match="has changed on disk"):
        blobs.read(DIGEST)


def test_a_blob_larger_than_the_limit_is_not_read(blobs: Blobs) -> None:
    blobs.put(DATA)
    with pytest.raises(InvalidInput, match="has 7000 bytes, more than the limit of 6999"):
        blobs.read(DIGEST, limit=6999)


def test_a_blob_whose_digest_is_not_known_before_gets_it_at_the_end(blobs: Blobs) -> None:
    with blobs.writer() as writer:
        writer.write(DATA[:10])
        writer.write(DATA[10:])
        assert writer.commit() == DIGEST
    assert blobs.read(DIGEST) == DATA


def test_a_sha512_blob_lies_beside_the_others(blobs: Blobs) -> None:
    hasher = digests.Hasher("sha512")
    hasher.update(DATA)
    with blobs.writer(hasher.digest()) as writer:
        writer.write(DATA)
        writer.commit()
    assert blobs.list() == (hasher.digest(),)
    assert blobs.read(hasher.digest()) == DATA


def test_nobody_sees_a_blob_before_it_is_whole(blobs: Blobs) -> None:
    with blobs.writer(DIGEST) as writer:
        writer.write(DATA)
        assert not blobs.has(DIGEST)
        writer.commit()
        assert blobs.has(DIGEST)


@pytest.mark.parametrize(
    ("data", "size", "message"),
    [
        (DATA + b"!", len(DATA), "more than the 7000 bytes"),
        (DATA[:-1], len(DATA), "6999 bytes instead of 7000"),
        (DATA[:-1] + b"?", len(DATA), "have the digest sha256:"),
        (DATA[:-1], None, "have the digest sha256:"),
    ],
)
def test_a_wrong_blob_is_refused_and_thrown_away(blobs: Blobs, data: bytes, size: int | None, message: str) -> None:
    with blobs.writer(DIGEST, size) as writer, pytest.raises(InvalidInput, match=f"blob {DIGEST}: .*{message}"):
        writer.write(data)
        writer.commit()
    assert (blobs.list(), partial(blobs)) == ((), [])


def test_a_writer_goes_on_where_the_last_one_was_interrupted(blobs: Blobs) -> None:
    with pytest.raises(ConnectionError), blobs.writer(DIGEST, len(DATA)) as writer:
        writer.write(DATA[:3000])
        raise ConnectionError
    with blobs.writer(DIGEST, len(DATA)) as writer:
        assert writer.offset == writer.written == 3000
        assert b"".join(writer.resumed()) == DATA[:3000]
        writer.write(DATA[3000:])
        assert writer.commit() == DIGEST
    assert blobs.read(DIGEST) == DATA
    assert partial(blobs) == []


def test_a_writer_may_begin_anew_instead(blobs: Blobs) -> None:
    with blobs.writer(DIGEST) as writer:
        writer.write(b"wrong")
    with blobs.writer(DIGEST) as writer:
        writer.restart()
        assert (writer.offset, list(writer.resumed())) == (0, [])
        writer.write(DATA)
        writer.commit()
    assert blobs.read(DIGEST) == DATA


def test_what_an_earlier_writer_left_wrong_is_told_and_gone(blobs: Blobs) -> None:
    with blobs.writer(DIGEST) as writer:
        writer.write(b"wrong")
    with blobs.writer(DIGEST) as writer:
        writer.write(DATA[5:])
        with pytest.raises(InvalidInput, match="its first part is of an earlier try: try again"):
            writer.commit()
    with blobs.writer(DIGEST) as writer:
        assert writer.offset == 0


def test_what_an_earlier_writer_left_too_long_is_not_used(blobs: Blobs) -> None:
    with blobs.writer(DIGEST) as writer:
        writer.write(DATA + b"more")
    with blobs.writer(DIGEST, len(DATA)) as writer:
        assert writer.offset == 0


def test_an_interrupted_blob_of_unknown_digest_is_thrown_away(blobs: Blobs) -> None:
    with blobs.writer() as writer:
        writer.write(DATA)
    assert partial(blobs) == []


def test_a_second_writer_waits_and_finds_the_blob_there(blobs: Blobs) -> None:
    found: list[tuple[bool, int, bytes, str]] = []

    def second() -> None:
        with blobs.writer(DIGEST, len(DATA)) as writer:
            found.append((writer.there, writer.offset, b"".join(writer.resumed()), writer.commit()))

    with blobs.writer(DIGEST, len(DATA)) as writer:
        writer.write(DATA[:100])
        thread = threading.Thread(target=second)
        thread.start()
        writer.write(DATA[100:])
        assert not found
        writer.commit()
    thread.join()
    assert found == [(True, len(DATA), DATA, DIGEST)]
    assert partial(blobs) == []


def test_a_writer_that_was_killed_leaves_what_it_had_written(blobs: Blobs) -> None:
    program = f"""
import os, signal, sys
from labkit.storage.blobs import Blobs
with Blobs({blobs.directory!r}).writer({DIGEST!r}) as writer:
    writer.write(sys.stdin.buffer.read())
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program], input=DATA[:4321], check=False)
    with blobs.writer(DIGEST) as writer:
        assert writer.offset == 4321
        writer.write(DATA[4321:])
        writer.commit()
    assert blobs.read(DIGEST) == DATA


def test_a_place_where_no_directory_can_be_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KernelError, match=r"make an image layout in .*/file/images: ENOTDIR"):
        Blobs(f"{tmp_path}/file/images")
