"""The first step of ``run`` and ``create``: the container is made, of an image that may have to be pulled first.

    POST /containers/create ── 201 ──▶ ID
            │ 404                ▲
            ▼                    │
    POST /images/create ─────────┘         unless --pull=never
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from labkit import codec
from labkit.cli.client import answers
from labkit.cli.client.api import Api
from labkit.cli.client.body import Body
from labkit.cli.client.grammar import say
from labkit.errors import InvalidInput, NotFound


def check(given: Mapping[str, object]) -> None:
    """What can be refused before the daemon is asked."""
    if given["pull"] not in (None, "always", "missing", "never"):
        raise InvalidInput(f"invalid pull option: '{given['pull']}': must be one of \"always\", \"missing\" or \"never\"")
    cidfile = given["cidfile"]
    if cidfile and os.path.exists(str(cidfile)):
        raise InvalidInput(f"container ID file found, make sure the other container isn't running or delete {cidfile}")


def create(daemon: Api, made: Body, given: Mapping[str, object]) -> str:
    """Make the container; returns its ID. Warnings are said on stderr."""
    image = str(made["Image"])
    name = _full_name(image)
    if given["pull"] == "always":
        _pull(daemon, image, given)
    try:
        answer = _post(daemon, made, given)
    except NotFound:
        if given["pull"] == "never" or not name:
            raise
        if not given["quiet"]:
            say(f"Unable to find image '{name}' locally")
        _pull(daemon, image, given)
        answer = _post(daemon, made, given)
    created = codec.decode(answers.Created, answer)
    for warning in created.Warnings:
        say(f"WARNING: {warning}")
    if given["cidfile"]:
        _write(str(given["cidfile"]), created.Id)
    return created.Id


def _full_name(image: str) -> str:
    """The image's name with its tag; "" for an ID, which no registry knows."""
    from labkit.image import references

    return "" if re.fullmatch(r"(sha256:)?[0-9a-f]{64}", image) else references.parse(image).tagged.familiar


def _post(daemon: Api, made: Body, given: Mapping[str, object]) -> object:
    name, platform = str(given["name"] or ""), str(given["platform"] or "")
    return daemon.post("/containers/create", made, name=name or None, platform=platform or None)


def _pull(daemon: Api, image: str, given: Mapping[str, object]) -> None:
    from labkit.cli.client import pulling

    pulling.pull_for_container(daemon, image, str(given["platform"] or ""), bool(given["quiet"]))


def _write(path: str, id: str) -> None:
    try:
        with open(path, "w") as file:
            file.write(id)
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        raise InvalidInput(f"failed to create the container ID file: open {path}: {why}") from None
