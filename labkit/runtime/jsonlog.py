"""Docker's json-file, the format of a container's log: a JSON object for each line, written and read many lines at a time.

    {"log":"hello\\n","stream":"stdout","time":"2026-11-24T01:55:28.067484879Z"}
     └ HEAD ┘      └─────── tail: the same for all that is written at once ──────┘

A line longer than 16 KiB comes in pieces, of which the last alone ends in a newline; who reads them in a row has the line again.

    >>> from labkit.runtime import jsonlog
    >>> entries = jsonlog.encode(1, b"one\\ntwo\\n", b"2026-11-24T01:55:28.067484879Z")
    >>> jsonlog.decode(entries)
    [Run(stream=1, lines=[b'one\\n', b'two\\n'], stamps=[])]

Ten million lines have to go through here in seconds, so no line is looked at alone unless it has to be. To write, newlines are replaced by
what stands between two texts; to read, each entry is cut where entries of ours are always to be cut. Entries that others wrote in
another way are JSON, and are read as that. Source: moby's ``daemon/logger/jsonfilelog``.
"""

from __future__ import annotations

import json
from itertools import groupby
from json.encoder import encode_basestring
from typing import NamedTuple

LONGEST = 16384
"""Bytes of a line, or of a piece of one, in one entry."""

HEAD = b'{"log":"'
_NAMES = {1: b"stdout", 2: b"stderr"}
_PLAIN = bytes(code for code in range(0x20, 0x80) if code not in b'"\\') + b"\n"
"""What stands in JSON as it is, and the newline, which is taken care of."""

_STAMP = len(b"2026-11-24T01:55:28.067484879Z")
_AFTER = {rb'\n","stream":"' + name + b'","time":"': stream for stream, name in _NAMES.items()}
_TEXT_END = -(len(next(iter(_AFTER))) + _STAMP + 2)  # from the end of an entry: where its text ends …
_STAMP_BEGIN, _STAMP_END = -(_STAMP + 2), -2  # … and where its time stands


class Run(NamedTuple):
    """Entries of one stream (1 or 2) in a row: their texts, each with its newline if it has one, and when they were written."""

    stream: int
    lines: list[bytes]
    stamps: list[bytes]


def encode(stream: int, lines: bytes, stamp: bytes) -> bytes:
    """Entries: one for each line of ``lines``, which end in a newline, or one for a piece without any."""
    tail = b'","stream":"%b","time":"%b"}\n' % (_NAMES[stream], stamp)
    text, end = (lines[:-1], b"\\n") if lines.endswith(b"\n") else (lines, b"")
    between = b"\\n" + tail + HEAD
    if not text.translate(None, _PLAIN):
        body = text.replace(b"\n", between)
    else:
        escaped = encode_basestring(text.decode(errors="replace"))[1:-1]
        if b"\\" in text:
            # An escaped backslash may stand before an n; while newlines are looked for it is a NUL, which cannot be there itself.
            escaped = escaped.replace("\\\\", "\0").replace("\\n", between.decode()).replace("\0", "\\\\")
        else:
            escaped = escaped.replace("\\n", between.decode())
        body = escaped.encode()
    return b"".join((HEAD, body, end, tail))


def decode(block: bytes, stamped: bool = False) -> list[Run]:
    """What a block of whole entries says, in order; with ``stamped`` when, too. What is no entry is left out."""
    entries = block.split(b"\n")
    entries.pop()  # what follows the last newline: nothing
    if not entries:
        return []
    kinds = {entry[_TEXT_END:_STAMP_BEGIN] for entry in entries}
    framed = kinds <= _AFTER.keys() and block.startswith(HEAD) and block.count(b"}\n" + HEAD) == len(entries) - 1
    if not framed:
        return _decode_each(entries, stamped)
    is_plain = block.count(b"\\") == len(entries)  # each has its newline escaped, and no more
    if len(kinds) == 1:
        return [_run(_AFTER[kinds.pop()], entries, is_plain, stamped)]
    runs = groupby(entries, lambda entry: entry[_TEXT_END:_STAMP_BEGIN])
    return [_run(_AFTER[kind], list(group), is_plain, stamped) for kind, group in runs]


def _run(stream: int, entries: list[bytes], is_plain: bool, stamped: bool) -> Run:
    """Entries in our own frame."""
    if is_plain:
        lines = [entry[8:_TEXT_END] + b"\n" for entry in entries]
    else:
        lines = [
            entry[8:_TEXT_END] + b"\n" if entry.find(b"\\", 8) == len(entry) + _TEXT_END else _text(entry[7 : _TEXT_END + 3])
            for entry in entries
        ]
    return Run(stream, lines, [entry[_STAMP_BEGIN:_STAMP_END] for entry in entries] if stamped else [])


def _text(quoted: bytes) -> bytes:
    """A JSON string, as bytes."""
    try:
        text: str = json.loads(quoted)
    except ValueError:
        return quoted  # somebody has been at the file
    return text.encode(errors="replace")


def _decode_each(entries: list[bytes], stamped: bool) -> list[Run]:
    """Entries of any form: those of long lines, without a newline, and those that Docker wrote."""
    runs: list[Run] = []
    for entry in entries:
        try:
            found = json.loads(entry)
            stream = 2 if found["stream"] == "stderr" else 1
            text, stamp = found["log"].encode(errors="replace"), found["time"].encode()
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # somebody has been at the file, or the machine went down in the middle of a line
        if not runs or runs[-1].stream != stream:
            runs.append(Run(stream, [], []))
        runs[-1].lines.append(text)
        if stamped:
            runs[-1].stamps.append(_whole(stamp))
    return runs


def _whole(stamp: bytes) -> bytes:
    """A time with nine digits behind the dot; Docker leaves out the zeros at their end."""
    moment, _, fraction = stamp.rstrip(b"Z").partition(b".")
    return b"%b.%bZ" % (moment, fraction.ljust(9, b"0"))
