"""The format of a log: what is written is JSON that everybody reads, and reading gives back what was written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.runtime import jsonlog
from labkit.runtime.jsonlog import Run

STAMP = b"2026-11-24T01:55:28.067484879Z"
LATER = b"2026-11-24T01:55:29.000000000Z"

# Bytes that JSON escapes, backslashes before an n, broken UTF-8, characters of every length.
pieces = st.sampled_from(
    [
        b"a",
        b"n",
        b"\\",
        b"\\n",
        b'"',
        b"\t",
        b"\r",
        b"\0",
        b"\x1b[0m",
        b"\x7f",
        b"\xff",
        b"\xc3",
        "é€😀\u2028".encode(),
        b'","stream":"stderr"',
        b"{",
    ]
)
lines = st.lists(st.lists(pieces).map(lambda parts: b"".join(parts) + b"\n"), min_size=1)


def parsed(entries: bytes) -> list[dict[str, str]]:
    return [json.loads(entry) for entry in entries.splitlines()]


def as_text(data: bytes) -> bytes:
    """What becomes of bytes that are no UTF-8, in Docker's logs, too."""
    return data.decode(errors="replace").encode()


def test_an_entry_is_byte_for_byte_as_docker_writes_it() -> None:
    expected = b'{"log":"one\\n","stream":"stdout","time":"%b"}\n{"log":"two\\n","stream":"stdout","time":"%b"}\n' % (STAMP, STAMP)
    assert jsonlog.encode(1, b"one\ntwo\n", STAMP) == expected
    assert jsonlog.encode(2, b"no end", STAMP) == b'{"log":"no end","stream":"stderr","time":"%b"}\n' % STAMP


@given(lines, st.sampled_from([1, 2]))
def test_any_json_reader_reads_what_is_written(written: list[bytes], stream: int) -> None:
    found = parsed(jsonlog.encode(stream, b"".join(written), STAMP))
    assert [entry["log"] for entry in found] == [line.decode(errors="replace") for line in written]
    assert {(entry["stream"], entry["time"]) for entry in found} == {("stdout" if stream == 1 else "stderr", STAMP.decode())}


@given(st.lists(st.tuples(st.sampled_from([1, 2]), lines, st.sampled_from([STAMP, LATER])), min_size=1))
def test_reading_gives_back_streams_lines_and_times(written: list[tuple[int, list[bytes], bytes]]) -> None:
    block = b"".join(jsonlog.encode(stream, b"".join(said), stamp) for stream, said, stamp in written)
    expected = [(stream, as_text(line), stamp) for stream, said, stamp in written for line in said]
    runs = jsonlog.decode(block, stamped=True)
    assert [(run.stream, line, stamp) for run in runs for line, stamp in zip(run.lines, run.stamps, strict=True)] == expected
    assert [(run.stream, line) for run in jsonlog.decode(block) for line in run.lines] == [each[:2] for each in expected]


@given(st.lists(st.tuples(st.lists(pieces).map(b"".join), st.booleans()), min_size=1))
def test_entries_of_others_are_read_as_json(said: list[tuple[bytes, bool]]) -> None:
    """With spaces, with characters escaped that need not be, with attributes, with times cut short."""
    entries = [
        {"log": text.decode(errors="replace"), "stream": "stderr", "attrs": {"a": "b"}, "time": "2026-11-24T01:55:28.06Z"}
        for text, _ in said
    ]
    block = b"".join(
        json.dumps(entry, separators=(",", ":") if tight else None).encode() + b"\n"
        for entry, (_, tight) in zip(entries, said, strict=True)
    )
    runs = jsonlog.decode(block, stamped=True)
    assert [line for run in runs for line in run.lines] == [as_text(text) for text, _ in said]
    assert {stamp for run in runs for stamp in run.stamps} == {b"2026-11-24T01:55:28.060000000Z"}


def test_pieces_of_a_long_line_are_read_between_whole_lines() -> None:
    block = jsonlog.encode(1, b"whole\n", STAMP) + jsonlog.encode(1, b"x" * 16384, STAMP) + jsonlog.encode(1, b"end\n", STAMP)
    assert jsonlog.decode(block) == [Run(1, [b"whole\n", b"x" * 16384, b"end\n"], [])]


@pytest.mark.parametrize(
    "nonsense", [b"", b"x", b"{}", b"[]", b"null", b'{"log":1,"stream":"stdout","time":"x"}', b"\xff\0", b'{"log":"cut o']
)
def test_what_is_no_entry_is_left_out(nonsense: bytes) -> None:
    good = jsonlog.encode(1, b"good\n", STAMP)
    assert jsonlog.decode(good + nonsense + b"\n" + good) == [Run(1, [b"good\n", b"good\n"], [])]


def test_a_damaged_entry_in_our_own_frame_does_not_break_the_reader() -> None:
    damaged = b'{"log":"\\q\\n","stream":"stdout","time":"%b"}\n' % STAMP
    (run,) = jsonlog.decode(damaged + jsonlog.encode(1, b"good\n", STAMP))
    assert run.lines[-1] == b"good\n" and len(run.lines) == 2


def test_nothing_is_read_from_nothing() -> None:
    assert jsonlog.decode(b"") == []
