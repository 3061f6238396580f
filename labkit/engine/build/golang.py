"""How Go writes things: an image's history is read by tools and people who know Docker's, which Go's ``fmt`` wrote.

    >>> from labkit.engine.build import golang
    >>> golang.quoted_list(["nginx", "-g", "daemon off;"])
    '["nginx" "-g" "daemon off;"]'
    >>> golang.duration(90 * 10**9)
    '1m30s'

Source: https://pkg.go.dev/fmt (``%q``), https://pkg.go.dev/time (``Duration.String``, ``ParseDuration``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

from labkit.errors import InvalidInput

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_NAMED = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\"}


def quote(text: str, mark: str = '"') -> str:
    """``%q`` of a string; with ``mark`` of ``'`` that of a character."""
    return mark + "".join(_escaped(char, mark) for char in text) + mark


def _escaped(char: str, mark: str) -> str:
    if char == mark:
        return f"\\{mark}"
    if char in _NAMED:
        return _NAMED[char]
    if char.isprintable():
        return char
    number = ord(char)
    if number < 0x80:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def quoted_list(words: Iterable[str]) -> str:
    """``%q`` of a list of strings."""
    return f"[{' '.join(map(quote, words))}]"


def duration(nanoseconds: int) -> str:
    """A ``time.Duration``: ``1h0m30s``, ``1.5s``, ``20ms``, ``0s``."""
    if nanoseconds < 10**9:
        name = next(name for name in ("ms", "µs", "ns") if nanoseconds >= _UNITS[name] or name == "ns")
        return f"{_trimmed(Decimal(nanoseconds) / _UNITS[name])}{name}" if nanoseconds else "0s"
    minutes, rest = divmod(nanoseconds, _UNITS["m"])
    hours, minutes = divmod(minutes, 60)
    seconds = f"{_trimmed(Decimal(rest) / _UNITS['s'])}s"
    return f"{hours}h{minutes}m{seconds}" if hours else f"{minutes}m{seconds}" if minutes else seconds


def _trimmed(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def parse_duration(text: str) -> int:
    """The nanoseconds of ``1m30s`` and the like."""
    if text == "0":
        return 0
    parts = re.findall(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidInput(f'time: invalid duration "{text}": write it as 30s, 1m30s or 500ms')
    return int(sum(Decimal(number) * _UNITS[unit] for number, unit in parts))
