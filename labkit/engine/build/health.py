"""HEALTHCHECK: how to see whether a container works.

    >>> from labkit.engine.build import health
    >>> health.check(("CMD", "curl -f http://localhost/"), {"interval": "30s"}, exec_form=False)
    Healthcheck(Test=('CMD-SHELL', 'curl -f http://localhost/'), Interval=30000000000, …)

Source: Dockerfile reference, "HEALTHCHECK"; Docker's image spec 1.2. Shown in notebook 09.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from labkit.engine.build import golang
from labkit.errors import InvalidInput
from labkit.image.container_config import Healthcheck

SHORTEST = 10**6  # nanoseconds
_NUMBERS = ("Interval", "Timeout", "StartPeriod", "StartInterval", "Retries")


def check(arguments: Sequence[str], flags: Mapping[str, str], exec_form: bool) -> Healthcheck:
    """What ``HEALTHCHECK`` says: NONE, or CMD and a command."""
    kind, *run = arguments
    if kind == "NONE":
        if run:
            raise InvalidInput("HEALTHCHECK NONE takes no arguments")
        return Healthcheck(("NONE",))
    if kind != "CMD":
        raise InvalidInput(f'Unknown type "{kind}" in HEALTHCHECK (try CMD)')
    if not run:
        raise InvalidInput("Missing command after HEALTHCHECK CMD")
    retries = flags.get("retries", "")
    if retries and not (retries.isdigit() and 0 < int(retries) < 1 << 31):
        raise InvalidInput(f"--retries must be at least 1 (not {retries})")
    interval, timeout, start, between = (_interval(flags, name) for name in ("interval", "timeout", "start-period", "start-interval"))
    return Healthcheck(("CMD" if exec_form else "CMD-SHELL", *run), interval, timeout, start, between, int(retries or 0))


def _interval(flags: Mapping[str, str], name: str) -> int:
    if not flags.get(name):
        return 0
    nanoseconds = golang.parse_duration(flags[name])
    if nanoseconds < SHORTEST:
        raise InvalidInput(f'Interval "{name}" cannot be less than {golang.duration(SHORTEST)}')
    return nanoseconds


def merged(check: Healthcheck, before: Healthcheck | None) -> Healthcheck:
    """With the numbers of the check that was there before, where this one has none: so does Docker."""
    unsaid = {name: getattr(before, name) for name in _NUMBERS if before and not getattr(check, name)}
    return replace(check, **unsaid)


def said(check: Healthcheck) -> str:
    """As the history tells it, which is as Go prints the structure: the number of retries as the character of that number."""
    times = " ".join(f'"{golang.duration(each)}"' for each in (check.Interval, check.Timeout, check.StartPeriod))
    return f"&{{{golang.quoted_list(check.Test)} {times} {golang.quote(chr(check.Retries), chr(39))}}}"
