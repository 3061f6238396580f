"""Reading a log of several files, while it is written and begun anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.engine import log_files
from labkit.engine.log_files import Cursor
from labkit.runtime import jsonlog
from labkit.runtime.logfile import Log


def line(number: int) -> bytes:
    return b"line %d\n" % number


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Nine lines in three files, the oldest in ``log.2``."""
    for name, numbers in (("log.2", range(3)), ("log.1", range(3, 6)), ("log", range(6, 9))):
        (tmp_path / name).write_bytes(b"".join(map(line, numbers)))
    return str(tmp_path / "log")


def rest(cursor: Cursor) -> bytes:
    blocks = b""
    while block := cursor.read():
        blocks += block
    return blocks


def test_the_files_are_read_oldest_first(path: str) -> None:
    assert rest(Cursor(path)) == b"".join(map(line, range(9)))


@pytest.mark.parametrize("tail", range(12))
def test_the_last_lines_are_found_in_whatever_file_they_begin(path: str, tail: int) -> None:
    assert rest(Cursor(path, tail)) == b"".join(map(line, range(max(0, 9 - tail), 9)))


@given(st.lists(st.binary().map(lambda data: data.replace(b"\n", b"") + b"\n")), st.integers(-1, 20), st.integers(1, 40))
def test_the_last_lines_are_found_whatever_a_blocks_size(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], tail: int, block: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    path.write_bytes(b"".join(lines))
    before, log_files.BLOCK = log_files.BLOCK, block
    try:
        cursor = Cursor(str(path), tail)
        log_files.BLOCK = before
        assert rest(cursor) == b"".join(lines if tail < 0 else lines[max(0, len(lines) - tail) :])
    finally:
        log_files.BLOCK = before


def test_numbers_of_files_are_numbers(tmp_path: Path) -> None:
    for number in range(11, -1, -1):
        (tmp_path / (f"log.{number}" if number else "log")).write_bytes(line(11 - number))
    for stranger in ("log.gz", "log.1.gz", "log.new", "other", "log-1", "xlog"):
        (tmp_path / stranger).write_bytes(b"nothing of the log's\n")
    assert rest(Cursor(str(tmp_path / "log"))) == b"".join(map(line, range(12)))


def test_an_entry_that_is_being_written_is_left_for_later(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"whole\nhal")
    cursor = Cursor(str(tmp_path / "log"), follow=True)
    assert rest(cursor) == b"whole\n"
    with open(tmp_path / "log", "ab") as file:
        file.write(b"f\nmore")
    assert rest(cursor) == b"half\n"


def test_without_following_nothing_is_read_that_was_written_later(path: str) -> None:
    cursor = Cursor(path)
    with open(path, "ab") as file:
        file.write(line(9))
    assert rest(cursor) == b"".join(map(line, range(9)))


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert rest(Cursor(str(tmp_path / "log"), 10, follow=True)) == b""
    assert rest(Cursor(str(tmp_path / "gone/log"))) == b""


@pytest.mark.parametrize(("files", "every"), [(1, 1), (1, 10), (2, 10), (2, 20), (3, 35)])
def test_a_reader_who_keeps_up_misses_nothing_when_the_log_is_begun_anew(tmp_path: Path, files: int, every: int) -> None:
    path = str(tmp_path / "log")
    log = Log(path, max_size=1000, max_files=files)  # thirteen lines
    cursor = Cursor(path, follow=True)
    found = b""
    for number in range(200):
        log.write(1, line(number))
        if number % every == 0:
            found += rest(cursor)
    log.end()
    found += rest(cursor)
    assert [each for run in jsonlog.decode(found) for each in run.lines] == [line(number) for number in range(200)]


def test_a_reader_who_is_too_slow_goes_on_with_the_oldest_that_is_left(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    log = Log(path, max_size=1000, max_files=3)
    log.write(1, line(0))
    cursor = Cursor(path, follow=True)
    for number in range(1, 500):
        log.write(1, line(number))
    log.end()
    kept = [Path(f"{path}{suffix}").read_bytes() for suffix in (".2", ".1", "")]
    found = rest(cursor)
    assert found.endswith(b"".join(kept)) and found.startswith(b'{"log":"line 0\\n"')


def test_a_log_that_was_removed_is_at_its_end(path: str) -> None:
    cursor = Cursor(path, follow=True)
    rest(cursor)
    for name in os.listdir(os.path.dirname(path)):
        os.unlink(f"{os.path.dirname(path)}/{name}")
    assert cursor.read() == b""
    cursor.close()
    assert cursor.read() == b""
