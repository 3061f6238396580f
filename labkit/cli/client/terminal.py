"""The terminal in front of the person, and the keys that leave a container without ending it.

    >>> keys = DetachKeys.parse("ctrl-p,ctrl-q")
    >>> keys.feed(b"ls\\n"), keys.feed(b"\\x10\\x11")          # (what the container shall get, whether to leave)
    ((b'ls\\n', False), (b'', True))

While the client is attached to a container's terminal, its own is raw: every key goes to the container, ctrl-c as well, and the terminal
there does with it what terminals do. ``labkit.linux.pty`` makes it raw and, however the block is left, what it was before.

Source: docker-attach(1), "Override the detach sequence"; ``man 3 termios``; github.com/moby/term. Shown in notebook 06.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from labkit.errors import InvalidInput

DEFAULT = "ctrl-p,ctrl-q"
_CONTROL = {**{chr(letter): letter - 96 for letter in range(ord("a"), ord("z") + 1)}, "@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


class DetachKeys:
    """Looks for the sequence in what is typed. Keys that may begin it are held back until the next one shows that they do not."""

    def __init__(self, keys: Sequence[int]) -> None:
        self.keys = bytes(keys)
        self._seen = b""

    @classmethod
    def parse(cls, text: str) -> DetachKeys:
        """``ctrl-p,ctrl-q``, ``a``, ``ctrl-]``; ``InvalidInput`` for what is no key."""
        keys = []
        for key in (text or DEFAULT).split(","):
            if len(key) == 1:
                keys.append(ord(key))
            elif key.startswith("ctrl-") and key[5:].lower() in _CONTROL:
                keys.append(_CONTROL[key[5:].lower()])
            elif key == "DEL":
                keys.append(127)
            else:
                raise InvalidInput(f"invalid detach keys ({text}): Unknown character: '{key}'")
        return cls(keys)

    def feed(self, typed: bytes) -> tuple[bytes, bool]:
        """What to pass on, and whether the sequence is complete: then the rest is for nobody."""
        passed = bytearray()
        for key in typed:
            self._seen += bytes((key,))
            while self._seen and not self.keys.startswith(self._seen):
                passed.append(self._seen[0])
                self._seen = self._seen[1:]
            if self._seen == self.keys:
                self._seen = b""
                return bytes(passed), True
        return bytes(passed), False


def is_terminal(fd: int) -> bool:
    """Whether a person may be there."""
    return os.isatty(fd)


def size(*fds: int) -> tuple[int, int]:
    """Rows and columns of the first of these that is a terminal; (0, 0) if none is."""
    for fd in fds:
        try:
            columns, rows = os.get_terminal_size(fd)
        except OSError:
            continue
        return rows, columns
    return 0, 0
