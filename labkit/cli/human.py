"""Sizes and times as people read them, in the words that docker's tables use.

    >>> human.size(1_982_256), human.size(0), human.ago(3600)
    ('1.98MB', '0B', 'About an hour ago')

A size has three digits and powers of 1000. A time gets coarser the longer ago it is.
Source: ``units`` of github.com/docker/go-units, which docker prints with. Seen in notebook 05.
"""

from __future__ import annotations

from datetime import UTC, datetime

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_HOUR, _DAY, _WEEK, _MONTH, _YEAR = 3600, 24 * 3600, 7 * 24 * 3600, 30 * 24 * 3600, 365 * 24 * 3600


def size(count: float, digits: int = 3) -> str:
    """A number of bytes with ``digits`` significant digits: ``1.98MB``."""
    for unit in _UNITS:
        if float(f"{count:.{digits}g}") < 1000 or unit == _UNITS[-1]:
            break
        count /= 1000
    return f"{float(f'{count:.{digits}g}'):.15g}{unit}"


def binary(count: float) -> str:
    """A number of bytes with up to four digits and powers of 1024, as memory is told: ``23.54GiB``."""
    units = iter(("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))
    unit = next(units)
    while count >= 1024 and unit != "EiB":
        count, unit = count / 1024, next(units)
    return f"{float(f'{count:.4g}'):.15g}{unit}"


def bytes_of(text: str) -> int | None:
    """The number of bytes that a person wrote (``512``, ``64m``, ``1.5GB``; 1k is 1024); None if it is no such thing."""
    words = text.strip().lower().removesuffix("b").removesuffix("i")
    powers = {"k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
    power = powers.get(words[-1:], 0)
    try:
        count = float(words[:-1] if power else words)
    except ValueError:
        return None
    return int(count * 1024**power) if 0 <= count < float("inf") else None


def duration(seconds: float) -> str:
    """A time span: ``Less than a second``, ``About a minute``, ``3 weeks``."""
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return "1 second" if int(seconds) == 1 else f"{int(seconds)} seconds"
    minutes = int(seconds / 60)
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    hours = int(seconds / _HOUR + 0.5)
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    for limit, unit, name in ((2 * _WEEK, _DAY, "days"), (2 * _MONTH, _WEEK, "weeks"), (2 * _YEAR, _MONTH, "months")):
        if hours * _HOUR < limit:
            return f"{int(hours * _HOUR / unit)} {name}"
    return f"{int(seconds / _YEAR)} years"


def ago(seconds: float) -> str:
    """How long ago something was."""
    return f"{duration(seconds)} ago"


def moment(unix: float) -> str:
    """A point in time as docker's ``CreatedAt`` has it: ``2026-11-24 07:47:46 +0000 UTC``, in this machine's time zone."""
    local = datetime.fromtimestamp(unix, UTC).astimezone()
    return f"{local:%Y-%m-%d %H:%M:%S %z %Z}"


def rfc3339(unix: float) -> str:
    """A point in time as JSON has it: ``2026-11-24T07:47:46Z``, in this machine's time zone."""
    text = datetime.fromtimestamp(int(unix), UTC).astimezone().isoformat()
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text


def short(digest: str) -> str:
    """The twelve digits by which people know an image: ``a752e4a2727b``."""
    return digest.rpartition(":")[2][:12]


def shortened(text: str, length: int) -> str:
    """At most ``length`` characters, the last of which tells that there were more."""
    return text if len(text) <= length else text[: length - 1] + "…"
