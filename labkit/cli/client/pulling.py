"""What the daemon tells while it pulls or pushes, as the ``Progress`` that labkit's own commands tell with.

    {"status": "Downloading", "id": "4f4fb700ef54", "progressDetail": {"current": 32, "total": 64}}  ──▶  Progress(…)
    {"error": "manifest unknown"}                                                                    ──▶  LabError

``run`` and ``create`` pull an image that is missing, and tell of it on stderr, for stdout is the container's. Source: engine-api, 5.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from labkit import codec
from labkit.cli.client.answers import Said
from labkit.cli.client.api import Api
from labkit.errors import LabError
from labkit.image import references
from labkit.image.progress import Progress, Report, silent
from labkit.image.references import Reference


def pull(daemon: Api, name: Reference, platform: str, report: Report) -> None:
    """Have the daemon pull an image; all tags of a repository if there is none."""
    tag = name.digest or name.tag
    headers = credentials(name.domain)
    told = daemon.stream("POST", "/images/create", headers=headers, fromImage=name.name, tag=tag, platform=platform or None)
    follow(told, report)


def pull_for_container(daemon: Api, image: str, platform: str, quiet: bool) -> None:
    """Pull the image of a container that is to be made."""
    with _on_stderr(quiet) as report:
        pull(daemon, references.parse(image).tagged, platform, report)


def follow(told: Iterable[object], report: Report) -> None:
    """Report all that is told; ``LabError`` if an error is."""
    for each in told:
        report_one(each, report)


def report_one(message: object, report: Report) -> None:
    """Report one thing; ``LabError`` if it is an error."""
    said = codec.decode(Said, message)
    if said.error:
        raise LabError(said.error)
    if said.status:
        report(Progress(said.id, said.status, said.progressDetail.current, said.progressDetail.total))


def credentials(domain: str) -> Mapping[str, str]:
    """The header that says who asks a registry, as docker's own config.json has it."""
    from labkit.image.registry import credentials

    known = {}
    if found := credentials.find(domain):
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
