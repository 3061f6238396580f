"""``labkit inspect``: all that the daemon knows of a container, an image, a network or a volume, as it says it.

    labkit inspect web                                   labkit inspect -f '{{.State.Status}}' web
    labkit inspect --type image nginx                    labkit network inspect bridge

Without a type, what has the name first in this order: container, image, network, volume. The JSON is the daemon's, indented.
Source: ``docker inspect --help``; engine-api, 4. Shown in notebook 06.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import click

from labkit.cli import engines, exits, inspecting
from labkit.cli.client import api, complete
from labkit.cli.client.api import Api
from labkit.cli.client.grammar import Failed, ask, option, say
from labkit.cli.grammar import switch
from labkit.errors import InvalidInput, LabError, NotFound

_FORMAT = "Format output using a custom template: 'json' or a Go 'TEMPLATE'"
_BAD_TEMPLATE = 64  # EX_USAGE of sysexits.h
_PATHS = {
    "container": "/containers/{}/json",
    "image": "/images/{}/json",
    "network": "/networks/{}",
    "volume": "/volumes/{}",
}


@ask("inspect", "NAME|ID [NAME|ID...]", at_least=1, complete=complete.containers())
@option("-f", "--format", help=_FORMAT)
@switch("-s", "--size", help="Display total file sizes if the type is container")
@option("--type", default=None, help="Only inspect objects of the given type")
def inspect(words: tuple[str, ...], format: str, size: bool, type: str | None) -> int:
    """Return low-level information on Docker objects."""
    if type == "":
        raise Failed("type is empty: must be one of config, container, image, network, node, plugin, secret, service, task, volume")
    if type and type not in _PATHS:
        raise Failed(f"unknown type: '{type}': must be one of {', '.join(_PATHS)}")
    if type in (None, "image") and not engines.asks_daemon():
        return inspecting.inspect(format, words, "" if type else "No such object")  # images are there without a daemon, too
    return show(words, format, [type] if type else list(_PATHS), size)


@ask("inspect", "CONTAINER [CONTAINER...]", at_least=1, complete=complete.containers())
@option("-f", "--format", help=_FORMAT)
@switch("-s", "--size", help="Display total file sizes")
def container_inspect(words: tuple[str, ...], format: str, size: bool) -> int:
    """Display detailed information on one or more containers."""
    return show(words, format, ["container"], size)


def show(words: Sequence[str], form: str, types: Sequence[str], size: bool = False) -> int:
    """Print what is there; what is not is complained of afterwards."""
    from labkit.cli import templates

    try:
        template = templates.parse("{{json .}}" if form == "json" else form) if form else None
    except InvalidInput as error:
        raise Failed(str(error), _BAD_TEMPLATE) from None
    found: list[str] = []
    complaints: list[str] = []
    with api.connect() as daemon:
        for word in words:
            try:
                found.append(_raw(daemon, word, types, size))
            except LabError as error:
                complaints.append(f"Error: No such object: {word}" if len(types) > 1 and isinstance(error, NotFound) else str(error))
    if template:
        click.echo("\n".join(template.render(json.loads(each)) for each in found))
    else:
        click.echo(indented(f"[{','.join(found)}]"))
    for complaint in complaints:
        say(complaint)
    return exits.FAILED if complaints else exits.DONE


def _raw(daemon: Api, name: str, types: Sequence[str], size: bool) -> str:
    """The JSON of the first thing that has the name."""
    *others, last = types
    for type in others:
        try:
            return _text(daemon, type, name, size)
        except NotFound:
            continue
    return _text(daemon, last, name, size)


def _text(daemon: Api, type: str, name: str, size: bool) -> str:
    sized = True if size and type == "container" else None
    return daemon.text(_PATHS[type].format(name), size=sized)


_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+)')


def indented(text: str) -> str:
    """JSON over several lines, every value as it was written: Go's escapes stay, and so do the digits of numbers."""
    out: list[str] = []
    depth = 0
    before = ""
    for token in _TOKEN.findall(text):
        if token in "]}":
            depth -= 1
            out.append("" if before in "[{" else "\n" + "    " * depth)
        elif before and before in "[{,":
            out.append("\n" + "    " * depth)
        out.append(": " if token == ":" else token)
        depth += token in "[{"
        before = token
    return "".join(out)
