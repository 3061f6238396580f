"""The keys that leave a container without ending it: ctrl-p ctrl-q, or what ``--detach-keys`` says.

    >>> keys = DetachKeys("ctrl-p,ctrl-q")
    >>> keys.pass_on(b"ls\\n\\x10")
    (b'ls\\n', False)
    >>> keys.pass_on(b"\\x11 what comes after is not heard")
    (b'', True)

What may be the beginning of the sequence is held back until it is clear that it is not. Source: moby's ``term/ascii.go``, ``proxy.go``.
"""

from __future__ import annotations

from labkit.errors import InvalidInput

DEFAULT = "ctrl-p,ctrl-q"
_CONTROLS = {f"ctrl-{chr(code).lower()}": code - 64 for code in range(ord("@"), ord("_") + 1)}


class DetachKeys:
    """Watches what is typed. ``InvalidInput`` in Docker's words if ``keys`` are none."""

    def __init__(self, keys: str = "") -> None:
        self._sequence = parse(keys or DEFAULT)
        self._held = b""

    def pass_on(self, data: bytes) -> tuple[bytes, bool]:
        """What the program is to get, and whether the sequence was typed: then what follows it is dropped."""
        passed = bytearray()
        for code in data:
            self._held += bytes((code,))
            while not self._sequence.startswith(self._held):
                passed.append(self._held[0])
                self._held = self._held[1:]
            if self._held == self._sequence:
                self._held = b""
                return bytes(passed), True
        return bytes(passed), False


def parse(keys: str) -> bytes:
    """The bytes that keys such as ``ctrl-p,ctrl-q`` or ``x`` send."""
    found = bytearray()
    for key in keys.split(","):
        if len(key) == 1 and key.isascii():
            found += key.encode()
        elif key in _CONTROLS:
            found.append(_CONTROLS[key])
        else:
            raise InvalidInput(f"Invalid detach keys ({keys}) provided")
    return bytes(found)
