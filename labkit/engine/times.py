"""Moments as Docker writes them: RFC 3339 with nanoseconds, in UTC; and how long ago that is, in words.

    >>> from labkit.engine import times
    >>> times.text(times.now())
    '2026-11-24T08:15:30.123456789Z'
    >>> times.human(61)
    'About a minute'

A moment is a number of nanoseconds since 1970, an ``int``: a float loses the last hundreds of them.
"""

from __future__ import annotations

import re
import time
from calendar import timegm

from labkit.errors import InvalidInput

NEVER = "0001-01-01T00:00:00Z"
"""How Docker writes a moment that has not come: Go's zero time."""

SECOND = 10**9
_RFC_3339 = re.compile(r"(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:\d\d)?")
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND}


def now() -> int:
    """Nanoseconds since 1970."""
    return time.time_ns()


def text(moment: int) -> str:
    """A moment in RFC 3339."""
    seconds, nanoseconds = divmod(moment, SECOND)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds:09d}Z"


def parse(written: str) -> int:
    """The moment that ``text`` has written; 0 for ``NEVER``."""
    if written in ("", NEVER):
        return 0
    return moment(written)


def moment(said: str, when: int | None = None) -> int:
    """What a user means by ``--since`` or ``until``: seconds since 1970, an RFC 3339 date, or "10m": that long before ``when``."""
    if re.fullmatch(r"-?\d+(\.\d{0,9})?", said):
        whole, _, fraction = said.partition(".")
        return int(whole) * SECOND + int(fraction.ljust(9, "0"))
    if found := _RFC_3339.fullmatch(said):
        day, clock, fraction, zone = found.groups()
        clock = clock or "00:00:00"
        try:
            seconds = timegm(time.strptime(f"{day}T{clock}" + (":00" if clock.count(":") == 1 else ""), "%Y-%m-%dT%H:%M:%S"))
        except ValueError:
            raise InvalidInput(f"invalid value for a time: {said!r} is no date that there is") from None
        return (seconds - _offset(zone)) * SECOND + int((fraction or "").ljust(9, "0"))
    return (now() if when is None else when) - duration(said)


def duration(said: str) -> int:
    """Nanoseconds of a duration as Go writes it: ``1h30m``, ``1.5s``, ``100ms``."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", said)
    if not parts or "".join(number + unit for number, unit in parts) != said:
        raise InvalidInput(f'invalid duration: {said!r} is not like "10m", "1.5h", a date or a number of seconds since 1970')
    return int(sum(float(number) * _UNITS[unit] for number, unit in parts))


def _offset(zone: str | None) -> int:
    """Seconds by which a zone is ahead of UTC."""
    if zone in (None, "", "Z"):
        return 0
    hours, minutes = zone[1:].split(":")
    return (-1 if zone[0] == "-" else 1) * (int(hours) * 3600 + int(minutes) * 60)


def human(seconds: float) -> str:
    """A duration in the words of ``docker ps``: "Less than a second", "8 seconds", "About an hour", "3 weeks"."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    minutes, hours = whole // 60, int(seconds / 3600 + 0.5)
    for limit, words in (
        (minutes == 1, "About a minute"),
        (minutes < 60, f"{minutes} minutes"),
        (hours == 1, "About an hour"),
        (hours < 48, f"{hours} hours"),
        (hours < 24 * 7 * 2, f"{hours // 24} days"),
        (hours < 24 * 30 * 2, f"{hours // 24 // 7} weeks"),
        (hours < 24 * 365 * 2, f"{hours // 24 // 30} months"),
    ):
        if limit:
            return words
    return f"{int(seconds / 3600) // 24 // 365} years"
