"""Frames however they arrive, keys that leave a container, and JSON as it was written."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.cli.client import inspecting, times
from labkit.cli.client.foreground import Foreground
from labkit.cli.client.streams import Connection, Frames
from labkit.cli.client.terminal import DetachKeys
from labkit.errors import InvalidInput


def framed(pieces: list[tuple[int, bytes]]) -> bytes:
    return b"".join(struct.pack(">BxxxL", stream, len(data)) + data for stream, data in pieces)


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=8), st.lists(st.integers(1, 30), max_size=40))
def test_frames_are_the_same_however_their_bytes_arrive(pieces: list[tuple[int, bytes]], cuts: list[int]) -> None:
    data, frames, found = framed(pieces), Frames(), {1: b"", 2: b""}
    for cut in (*cuts, len(data)):
        for stream, piece in frames.feed(data[:cut]):
            found[stream] += piece
        data = data[cut:]
    assert found == {stream: b"".join(data for one, data in pieces if one == stream) for stream in (1, 2)}


@pytest.mark.parametrize(
    ("typed", "passed", "left"),
    [
        (b"ls\n", b"ls\n", False),
        (b"\x10\x11", b"", True),
        (b"a\x10\x11rest", b"a", True),
        (b"\x10a\x11", b"\x10a\x11", False),
        (b"\x10\x10\x11", b"\x10", True),
        (b"\x10", b"", False),
    ],
)
def test_the_keys_that_leave_are_looked_for_in_what_is_typed(typed: bytes, passed: bytes, left: bool) -> None:
    assert DetachKeys.parse("").feed(typed) == (passed, left)
    one_by_one = DetachKeys.parse("ctrl-p,ctrl-q")
    results = []
    for key in typed:
        results.append(one_by_one.feed(bytes((key,))))
        if results[-1][1]:
            break
    assert (b"".join(data for data, _ in results), results[-1][1]) == (passed, left)


@given(st.binary(max_size=30), st.lists(st.sampled_from([b"a", b"b", b"\x01"]), min_size=1, max_size=4))
def test_keys_are_neither_lost_nor_doubled(typed: bytes, sequence: list[bytes]) -> None:
    keys = DetachKeys(b"".join(sequence))
    passed, left = keys.feed(typed)
    held = keys._seen
    if left:
        assert typed.startswith(passed + keys.keys)
    else:
        assert passed + held == typed


@pytest.mark.parametrize(
    ("text", "keys"), [("a", b"a"), ("ctrl-a,b", b"\x01b"), ("ctrl-@", b"\0"), ("ctrl-[,ctrl-\\", b"\x1b\x1c"), ("DEL", b"\x7f")]
)
def test_keys_are_written_as_docker_writes_them(text: str, keys: bytes) -> None:
    assert DetachKeys.parse(text).keys == keys


@pytest.mark.parametrize("text", ["ctrl-?", "nonsense", "ctrl-p,,ctrl-q"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="invalid detach keys"):
        DetachKeys.parse(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_indented_json_is_what_goes_json_indent_makes(document: object) -> None:
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    assert inspecting.indented(text) == json.dumps(document, ensure_ascii=False, indent=4)
    assert json.loads(inspecting.indented(json.dumps(document))) == document


def test_indented_json_keeps_what_go_has_escaped() -> None:
    wanted = '[\n    {\n        "a": "\\u003cb\\u003e",\n        "n": 1.50\n    }\n]'
    assert inspecting.indented('[{"a":"\\u003cb\\u003e","n":1.50}]') == wanted


def test_times_are_told_to_the_api_as_docker_tells_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 1_000_000 * 10**9)
    assert times.parameter("since", "") is None
    assert times.parameter("since", "42m") == str(1_000_000 - 42 * 60)
    assert times.parameter("since", "2013-01-02T13:23:37Z") == "1357133017.000000000"
    assert times.parameter("since", "2013-01-02T13:23:37.5+01:00") == "1357129417.500000000"
    assert times.parameter("since", "1136073600.000000001") == "1136073600.000000001"
    for wrong in ("x", "2013-13-01", "2013-01-02X"):
        with pytest.raises(InvalidInput, match=f'invalid value for "since": failed to parse value as time or duration: "{wrong}"'):
            times.parameter("since", wrong)


@pytest.fixture
def daemon() -> tuple[socket.socket, Connection]:
    ours, theirs = socket.socketpair()
    return theirs, Connection(ours, b"")


def run(connection: Connection, input: int, **how: bool) -> bytes:
    """What ``Foreground`` writes to stdout, while stdin is ``input``."""
    reader, writer = os.pipe()
    saved = os.dup(0), os.dup(1)
    os.dup2(input, 0)
    os.dup2(writer, 1)
    os.close(writer)
    try:
        Foreground(connection, tty=how.get("tty", False), stdin=how.get("stdin", True), keys=DetachKeys.parse("")).run()
    finally:
        os.dup2(saved[0], 0)
        os.dup2(saved[1], 1)
        for fd in saved:
            os.close(fd)
    with open(reader, "rb") as out:
        return out.read()


def test_input_and_output_pass_each_other_though_both_are_more_than_fits(daemon: tuple[socket.socket, Connection], tmp_path: Path) -> None:
    """A daemon that answers before it has read: whoever waited for it to read would wait for ever."""
    theirs, connection = daemon
    (tmp_path / "in").write_bytes(b"x" * (4 << 20))
    received = bytearray()

    def echo() -> None:
        theirs.sendall(framed([(1, b"y" * 60_000)]))
        while data := theirs.recv(1 << 16):
            received.extend(data)
            if len(received) % 7 == 0:
                theirs.sendall(framed([(1, b"y")]))
        theirs.close()

    thread = threading.Thread(target=echo)
    thread.start()
    with open(tmp_path / "in", "rb") as file:
        written = run(connection, file.fileno())
    thread.join(20)
    assert bytes(received) == b"x" * (4 << 20) and written.startswith(b"y" * 60_000)


def test_what_came_with_the_head_is_not_lost(daemon: tuple[socket.socket, Connection]) -> None:
    theirs, connection = daemon
    connection.early = framed([(1, b"early")])[:10]
    theirs.sendall(framed([(1, b"early"), (1, b" and late")])[10:])
    theirs.shutdown(socket.SHUT_WR)
    with open(os.devnull, "rb") as nothing:
        assert run(connection, nothing.fileno()) == b"early and late"
    with suppress(OSError):
        theirs.close()


def test_without_input_the_process_finds_its_end_at_once(daemon: tuple[socket.socket, Connection]) -> None:
    theirs, connection = daemon
    theirs.sendall(b"raw bytes")
    theirs.shutdown(socket.SHUT_WR)
    with open("/dev/zero", "rb") as endless:
        assert run(connection, endless.fileno(), tty=True, stdin=False) == b"raw bytes"
    assert theirs.recv(10) == b""
