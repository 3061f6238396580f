"""The log that a monitor writes: lines made whole, files begun anew, and what happens when it cannot be written."""

from __future__ import annotations

import os
from errno import ENOSPC
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.runtime import jsonlog, logfile
from labkit.runtime.logfile import Log


def said(path: Path | str, stream: int | None = None) -> list[bytes]:
    return [line for run in jsonlog.decode(Path(path).read_bytes()) if stream in (None, run.stream) for line in run.lines]


class Disk:
    """Stands in for ``os.write``: a disk with so much room, in bytes, that can be made larger."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room, self.write = room, os.write
        monkeypatch.setattr(os, "write", self)

    def __call__(self, fd: int, data: bytes) -> int:
        if not self.room:
            raise OSError(ENOSPC, "full")
        written = self.write(fd, data[: self.room])
        self.room -= written
        return written


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.lists(st.sampled_from([b"a", b"\n", b"\xc3\xa9", b"long " * 4000])).map(b"".join))))
def test_both_streams_are_in_the_log_as_they_were_said_however_they_arrive(
    tmp_path_factory: pytest.TempPathFactory, data: list[tuple[int, bytes]]
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    log = Log(str(path))
    for stream, piece in data:
        log.write(stream, piece)
    log.end()
    for stream in (1, 2):
        assert b"".join(said(path, stream)) == b"".join(piece for which, piece in data if which == stream)
        assert all(line.count(b"\n") <= 1 and len(line) <= jsonlog.LONGEST for line in said(path, stream))


def test_a_line_is_logged_when_it_is_whole(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "log"))
    log.write(1, b"half ")
    assert said(tmp_path / "log") == []
    log.write(1, b"a line\nmore")
    assert said(tmp_path / "log") == [b"half a line\n"]
    log.end()
    assert said(tmp_path / "log") == [b"half a line\n", b"more"]


def test_no_character_is_cut_in_two_between_pieces(tmp_path: Path) -> None:
    text = "x" + "€" * 12000
    log = Log(str(tmp_path / "log"))
    log.write(1, text.encode() + b"\n")
    log.end()
    pieces = said(tmp_path / "log")
    assert b"".join(pieces).decode() == text + "\n" and len(pieces) == 3


def test_a_log_is_gone_on_with_where_it_was_left(tmp_path: Path) -> None:
    for word in (b"one\n", b"two\n"):
        log = Log(str(tmp_path / "log"))
        log.write(1, word)
        log.end()
    assert said(tmp_path / "log") == [b"one\n", b"two\n"]


@pytest.mark.parametrize("files", [1, 2, 3, 5])
def test_a_log_is_begun_anew_and_only_so_many_files_are_kept(tmp_path: Path, files: int) -> None:
    log = Log(str(tmp_path / "log"), max_size=1000, max_files=files)
    for number in range(200):
        log.write(1, b"line %d\n" % number)
    log.end()
    names = ["log", *(f"log.{number}" for number in range(1, files))]
    assert sorted(os.listdir(tmp_path)) == names
    kept = [line for name in reversed(names) for line in said(tmp_path / name)]
    assert kept == [b"line %d\n" % number for number in range(200 - len(kept), 200)]
    sizes = [os.path.getsize(tmp_path / name) for name in names]
    assert all(1000 <= size < 1100 for size in sizes[1:]) and sizes[0] < 1100


def test_a_block_of_many_lines_is_spread_over_files_at_the_ends_of_entries(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "log"), max_size=5000, max_files=100)
    log.write(1, b"".join(b"line %d\n" % number for number in range(1000)))
    log.end()
    names = sorted(os.listdir(tmp_path), key=lambda name: -int(name.partition(".")[2] or 0))
    assert [line for name in names for line in said(tmp_path / name)] == [b"line %d\n" % number for number in range(1000)]
    assert max(os.path.getsize(tmp_path / name) for name in names) < 5100


def test_what_a_full_disk_does_not_take_is_written_when_there_is_room_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(logfile, "RETRY", 0.0)
    disk = Disk(monkeypatch, room=130)
    log = Log(str(tmp_path / "log"), tell=told.append)
    log.write(1, b"one\ntwo\nthree\n")
    log.write(2, b"four\n")
    assert said(tmp_path / "log") == [b"one\n"], "nothing is left of an entry that went in by half"
    assert log.waiting.count(b"\n") == 3
    disk.room = 10**6
    log.write(1, b"five\n")
    log.end()
    assert said(tmp_path / "log") == [b"one\n", b"two\n", b"three\n", b"four\n", b"five\n"]
    (message,) = told
    assert message.startswith(f"write {tmp_path}/log: ENOSPC (No space left on device: ")


def test_a_log_that_can_never_be_written_costs_no_more_than_a_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Disk(monkeypatch, room=0)
    log = Log(str(tmp_path / "log"))
    for _ in range(100):
        log.write(1, b"x" * 79 + b"\n" * 1000)
    assert 1 << 20 <= len(log.waiting) < 2 << 20 and log.lost > 0
    log.end()


def test_while_the_disk_is_full_it_is_not_tried_at_every_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch, room=0)
    log = Log(str(tmp_path / "log"))
    log.write(1, b"one\n")
    disk.room = 10**6
    log.write(1, b"two\n")
    assert said(tmp_path / "log") == []
    log.end()
    assert said(tmp_path / "log") == [b"one\n", b"two\n"]


def test_a_log_whose_directory_is_gone_is_told_and_hurts_nobody(tmp_path: Path) -> None:
    told: list[str] = []
    log = Log(str(tmp_path / "gone/log"), tell=told.append)
    log.write(1, b"word\n")
    log.end()
    assert len(told) == 1 and "ENOENT" in told[0]


def test_a_log_that_cannot_be_begun_anew_grows_on(tmp_path: Path) -> None:
    told: list[str] = []
    (tmp_path / "log.1").mkdir()
    (tmp_path / "log.1/file").touch()
    log = Log(str(tmp_path / "log"), max_size=200, max_files=2, tell=told.append)
    for number in range(20):
        log.write(1, b"line %d\n" % number)
    log.end()
    assert said(tmp_path / "log") == [b"line %d\n" % number for number in range(20)]
    assert len(told) == 1
