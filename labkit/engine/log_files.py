"""A log as a row of files: read from its beginning or from its last lines, and on while it is written and begun anew.

    ID-json.log.2 ──▶ ID-json.log.1 ──▶ ID-json.log        oldest first; the monitor renames them while we read

    >>> cursor = Cursor("/var/lib/labkit/containers/4cfc…/4cfc…-json.log", tail=10)
    >>> cursor.read()                    # whole entries, as many as go into a block; b"" if there are no more
    b'{"log":"hello\\\\n","stream":"stdout","time":"2026-11-24T01:55:28.067484879Z"}\\n'

A file that was renamed, or removed, is still the same to whoever has it open; which one comes next is told by inode numbers.
"""

from __future__ import annotations

import os

BLOCK = 1 << 20
"""Bytes that are read at once. An entry is at most a tenth of that."""


class Cursor:
    """A place in a log. Nothing is read beyond what is there now, unless it is to ``follow``. ``tail``: so many entries; -1 all."""

    def __init__(self, path: str, tail: int = -1, follow: bool = False) -> None:
        self.path, self.follow = path, follow
        self._files = _opened(path)
        self._sizes = [_whole_size(fd) for fd in self._files]
        self._offset = 0
        if tail >= 0:
            self._skip_to_last(tail)

    def read(self) -> bytes:
        """The next entries; nothing if there are no more, or not yet."""
        while self._files:
            fd, is_last = self._files[0], len(self._files) == 1
            is_open_ended = is_last and self.follow
            block = os.pread(fd, BLOCK if is_open_ended else min(BLOCK, self._sizes[0] - self._offset), self._offset)
            end = block.rfind(b"\n") + 1
            if end:
                self._offset += end
                return block[:end] if end < len(block) else block
            if len(block) == BLOCK:
                self._offset += BLOCK  # no entry of anybody's: somebody has been at the file
            elif not is_last:
                self._go_on()
            elif not is_open_ended or not self._find_next():
                return b""
        return b""

    def close(self) -> None:
        """Close the files."""
        for fd in self._files:
            os.close(fd)
        self._files = []

    def _skip_to_last(self, wanted: int) -> None:
        """Go to where the last entries begin, however many files they are in."""
        for index in range(len(self._files) - 1, -1, -1):
            offset, found = _last_lines(self._files[index], self._sizes[index], wanted)
            wanted -= found
            if wanted <= 0 or index == 0:
                for _ in range(index):
                    self._go_on()
                self._offset = offset
                return

    def _go_on(self) -> None:
        """To the beginning of the next file."""
        os.close(self._files.pop(0))
        self._sizes.pop(0)
        self._offset = 0

    def _find_next(self) -> bool:
        """Whether the log has been begun anew, and what is new here or in the next file may be read."""
        ours = os.fstat(self._files[0]).st_ino
        for _ in range(10):
            names = _names(self.path)
            inodes = [inode for inode, _ in names]
            place = inodes.index(ours) if ours in inodes else -1  # -1: removed, and then all that are left are newer
            if place == len(names) - 1:
                return False
            fd = _open(names[place + 1][1])
            if fd >= 0 and os.fstat(fd).st_ino == inodes[place + 1]:
                self._files.append(fd)
                # Whoever has begun a new file writes no more to the old one, of which this is the end.
                self._sizes = [_whole_size(self._files[0]), 0]
                return True
            if fd >= 0:
                os.close(fd)
        return False


def _opened(path: str) -> list[int]:
    """The files of a log, oldest first, as they were at one moment."""
    for _ in range(10):
        names = _names(path)
        files = [fd for _, name in names if (fd := _open(name)) >= 0]
        if [os.fstat(fd).st_ino for fd in files] == [inode for inode, _ in names] and names == _names(path):
            return files
        for fd in files:
            os.close(fd)
    return [fd for fd in [_open(path)] if fd >= 0]


def _names(path: str) -> list[tuple[int, str]]:
    """Inode number and name of each file of a log, oldest first."""
    directory, base = os.path.split(path)
    found = []
    try:
        for entry in os.scandir(directory):
            head, _, number = entry.name.partition(f"{base}.")
            if entry.name == base or (not head and number.isdecimal()):
                found.append((int(number or 0), entry.inode(), entry.path))
    except FileNotFoundError:
        return []
    return [(inode, name) for _, inode, name in sorted(found, reverse=True)]


def _open(path: str) -> int:
    """A descriptor of a file; -1 if it is not there any more."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1


def _whole_size(fd: int) -> int:
    """The size of a file without an entry that is being written."""
    end = os.fstat(fd).st_size
    while end > 0:
        begin = max(0, end - 65536)
        newline = os.pread(fd, end - begin, begin).rfind(b"\n")
        if newline >= 0:
            return begin + newline + 1
        end = begin
    return 0


def _last_lines(fd: int, size: int, wanted: int) -> tuple[int, int]:
    """Where the last lines of a file begin, and how many there are; fewer than ``wanted`` if it has no more."""
    found, end = 0, size
    while end > 0:
        begin = max(0, end - BLOCK)
        block = os.pread(fd, end - begin, begin)
        count = block.count(b"\n")
        if found + count > wanted:
            index = len(block)
            for _ in range(wanted + 1 - found):
                index = block.rfind(b"\n", 0, index)
            return begin + index + 1, wanted
        found, end = found + count, begin
    return 0, found
