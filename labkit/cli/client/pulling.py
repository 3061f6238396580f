"""What the daemon tells while it pulls or pushes, as the ``Progress`` that labkit's own commands tell with.

    {"status": "Downloading", "id": "4f4fb700ef54", "progressDetail": {"current": 32, "total": 64}}  ──▶  Progress(…)
    {"error": "manifest unknown"}                                                                    ──▶  LabError

``run`` and ``create`` pull an image that is missing, and tell of it on stderr, for stdout is the container's. Source: engine-api, 5.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from labkit import codec
from labkit.cli.client.api import Api
from labkit.errors import LabError
from labkit.image import references
from labkit.image.progress import Progress, Report, silent
from labkit.records import record


@record
class _Detail:
    current: int | None = None
    total: int | None = None


@record
class _Message:
    status: str = ""
    id: str = ""
    progressDetail: _Detail = _Detail()
    error: str = ""


def pull(daemon: Api, image: str, platform: str, quiet: bool) -> None:
    """Pull an image for a container that is to be made."""
    name = references.parse(image).tagged
    tag = name.digest or name.tag
    with _on_stderr(quiet) as report:
        told = daemon.stream(
            "POST", "/images/create", headers=credentials(name.domain), fromImage=name.name, tag=tag, platform=platform or None
        )
        follow(told, report)


def follow(told: Iterable[object], report: Report) -> None:
    """Report all that is told; ``LabError`` if an error is."""
    for each in told:
        message = codec.decode(_Message, each)
        if message.error:
            raise LabError(message.error)
        if message.status:
            report(Progress(message.id, message.status, message.progressDetail.current, message.progressDetail.total))


def credentials(domain: str) -> Mapping[str, str]:
    """The header that says who asks a registry, as docker's own config.json has it."""
    import base64
    import json

    from labkit.image.registry import credentials

    found = credentials.find(domain)
    known = {}
    if found:
        known = {"username": found.username, "password": found.password, "identitytoken": found.identity_token, "serveraddress": domain}
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(known).encode()).decode()}


@contextmanager
def _on_stderr(quiet: bool) -> Iterator[Report]:
    if quiet:
        yield silent
    elif sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb"):
        from rich.console import Console

        from labkit.cli.progress import Display

        display = Display(Console(stderr=True, highlight=False, soft_wrap=False))
        try:
            yield display.report
        finally:
            display.close()
    else:
        yield _line


def _line(said: Progress) -> None:
    if said.current is None:
        print(said, file=sys.stderr, flush=True)
