"""Moments in options, ``--since 42m`` and ``--until 2026-11-24T08:15:30``, as the API takes them; and how they are printed.

    >>> parameter("since", "2013-01-02T13:23:37Z")
    '1357133017.000000000'

A date without a zone is of this machine's zone. Source: ``timetypes`` of github.com/docker/docker.
"""

from __future__ import annotations

import re
import time

from labkit.cli.client.values import DURATION
from labkit.errors import InvalidInput

_DATE = re.compile(r"(\d{4}-\d\d-\d\d)(?:T(\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?)?(Z|[+-]\d\d:\d\d)?")


def parameter(option: str, text: str) -> str | None:
    """What the API is told; None if nothing is said."""
    if not text:
        return None
    try:
        span = DURATION.read(text)
        assert isinstance(span, int)
        return str((time.time_ns() - span) // 10**9)
    except ValueError:
        pass
    found = _DATE.fullmatch(text)
    if not found:
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return text
        raise InvalidInput(f'invalid value for "{option}": failed to parse value as time or duration: "{text}"')
    day, hour, minute, second, fraction, zone = found.groups()
    clock = f"{day}T{hour or '00'}:{minute or '00'}:{second or '00'}"
    return f"{_seconds(clock, zone, option, text)}.{(fraction or '').ljust(9, '0')}"


def _seconds(clock: str, zone: str | None, option: str, text: str) -> int:
    import calendar

    try:
        parts = time.strptime(clock, "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        raise InvalidInput(f'invalid value for "{option}": failed to parse value as time or duration: "{text}"') from None
    if zone is None:
        return int(time.mktime(parts))
    offset = 0 if zone == "Z" else (int(zone[1:3]) * 60 + int(zone[4:])) * (60 if zone[0] == "+" else -60)
    return calendar.timegm(parts) - offset


def printed(nanoseconds: int) -> str:
    """A moment in this machine's zone, with all its digits: ``2026-11-24T08:49:00.020716364Z``."""
    seconds, rest = divmod(nanoseconds, 10**9)
    local = time.localtime(seconds)
    offset = time.strftime("%z", local)
    zone = "Z" if offset == "+0000" else f"{offset[:3]}:{offset[3:]}"
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{rest:09d}{zone}"
