"""The log that a monitor writes: lines made whole, the file begun anew when it is large, and no harm done when the disk is full.

    stdout, stderr ──▶ whole lines, or pieces of 16 KiB ──▶ jsonlog ──▶ ID-json.log
                                                                        ID-json.log.1   the one before, and so on up to max-file

    >>> from labkit.runtime.logfile import Log
    >>> log = Log("/tmp/log", max_size=10_000_000, max_files=3)
    >>> log.write(1, b"a line\\nhalf a ")
    >>> log.end()

What cannot be written now is kept for later, as far as it does not become too much, and said once. The program never hears of it. An entry
is in the file as a whole or not at all, so whoever reads along sees nothing that is later taken back.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from labkit.errors import KernelError
from labkit.runtime import jsonlog

if TYPE_CHECKING:
    from collections.abc import Callable

_KEPT = 1 << 20  # bytes of entries that wait for room
RETRY = 1.0
"""Seconds after which it is tried again."""


class Log:
    """A container's log. It is begun anew after ``max_size`` bytes (0: never), and ``max_files`` of it are kept."""

    def __init__(self, path: str, max_size: int = 0, max_files: int = 1, tell: Callable[[str], None] | None = None) -> None:
        self.path, self.max_size, self.max_files = path, max_size, max_files
        self.tell = tell
        self.file = -1
        self.size = 0
        self.begun = {1: b"", 2: b""}  # by stream: the line that has yet to end
        self.waiting = b""  # entries that could not be written
        self.lost = 0
        self._tried, self._written = 0.0, 0
        self._second, self._text = 0, ""
        try:
            self._open()
        except OSError as error:
            self._say(error)

    def write(self, stream: int, data: bytes) -> None:
        """Take what a stream (1 or 2) has said."""
        if self.begun[stream]:
            data = self.begun[stream] + data
        stamp = self._stamp()
        start, entries = 0, []
        while True:
            end = data.rfind(b"\n", start, start + jsonlog.LONGEST) + 1
            if not end:
                if len(data) - start <= jsonlog.LONGEST:
                    break
                end = _character_end(data, start + jsonlog.LONGEST)
            entries.append(jsonlog.encode(stream, data[start:end], stamp))
            start = end
        self.begun[stream] = data[start:]
        for text in entries:
            self._put(text)

    def retry(self) -> None:
        """Try again to write what waits."""
        self._put(b"")

    def end(self) -> None:
        """Write the lines that were begun, and close."""
        self._tried = 0.0
        for stream, rest in self.begun.items():
            if rest:
                self._put(jsonlog.encode(stream, rest, self._stamp()))
        self.retry()
        if self.file >= 0:
            os.close(self.file)

    def _put(self, text: bytes) -> None:
        """Write entries, after those that wait."""
        if self.waiting:
            if len(self.waiting) < _KEPT:
                self.waiting += text
            else:
                self.lost += text.count(b"\n")
            if time.monotonic() < self._tried + RETRY:
                return
            text, self.waiting = self.waiting, b""
        self._written = 0
        try:
            if self.file < 0:
                self._open()
            while self._written < len(text):
                self._write(text)
        except OSError as error:
            self._tried = time.monotonic()
            self.waiting = self._take_back(text)
            self._say(error)

    def _write(self, text: bytes) -> None:
        """Write what is left of ``text``, or as much of it as goes into this file."""
        if self.max_size and self.size >= self.max_size:
            self._rotate()
        end = len(text)
        if self.max_size and self.size + end - self._written > self.max_size:
            end = text.index(b"\n", self._written + self.max_size - self.size - 1) + 1
        while self._written < end:
            whole = self._written == 0 and end == len(text)
            written = os.write(self.file, text if whole else text[self._written : end])
            self._written += written
            self.size += written

    def _take_back(self, text: bytes) -> bytes:
        """Of an entry that has got into the file in part, that part; what is to be written later."""
        whole = text.rfind(b"\n", 0, self._written) + 1
        if part := self._written - whole:
            with suppress(OSError):
                os.ftruncate(self.file, os.fstat(self.file).st_size - part)
                self.size -= part
        return text[whole:]

    def _open(self) -> None:
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        if self.file >= 0:
            os.close(self.file)
        self.file, self.size = file, os.fstat(file).st_size

    def _rotate(self) -> None:
        """Begin a new file. Whoever reads the old one still has it open, and finds it under its new name."""
        try:
            for number in range(self.max_files - 1, 0, -1):
                with suppress(FileNotFoundError):
                    os.rename(f"{self.path}.{number - 1}" if number > 1 else self.path, f"{self.path}.{number}")
            if self.max_files == 1:
                with suppress(FileNotFoundError):
                    os.unlink(self.path)
            self._open()
        except OSError as error:
            self.size = 0  # so the old one grows on for another while
            self._say(error)

    def _say(self, error: OSError) -> None:
        if self.tell:
            hint = f"{os.strerror(error.errno or 0)}: the program goes on, but what it writes may be missing from its log"
            self.tell(str(KernelError.of(error, "write", self.path, hint)))
            self.tell = None

    def _stamp(self) -> bytes:
        """Now, as Docker writes it."""
        second, nanosecond = divmod(time.time_ns(), 10**9)
        if second != self._second:
            self._second, self._text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return b"%b.%09dZ" % (self._text.encode(), nanosecond)


def _character_end(data: bytes, end: int) -> int:
    """``end``, or a little less, so that no character of UTF-8 is cut in two."""
    return next((end - back for back in range(4) if data[end - back] & 0xC0 != 0x80), end)
