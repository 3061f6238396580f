"""``labkit inspect``: all about an image, as JSON.

    labkit inspect nginx                     labkit inspect -f '{{json .RootFS.Layers}}' nginx

The fields are those of Docker's API. Source: ``docker inspect --help``. Seen in notebook 05.
"""

from __future__ import annotations

import json
import sys

import click

from labkit.cli import engines, exits
from labkit.cli.grammar import command, switch, value
from labkit.errors import NotFound

_FORMAT = "Format output using a custom template: 'json' or a Go 'TEMPLATE'"


@command("inspect", "NAME|ID [NAME|ID...]", at_least=1, complete=engines.names)
@value("-f", "--format", help=_FORMAT)
@switch("-s", "--size", help="Display total file sizes if the type is container")
@value("--type", help="Only inspect objects of the given type")
def inspect(format: str, size: bool, type: str, words: tuple[str, ...]) -> int:
    """Return low-level information on images."""
    if type not in ("", "image"):
        raise NotFound(f"inspect --type {type}: there are images alone in this lab yet")
    return _inspect(format, words, "" if type else "No such object")


@command("inspect", "IMAGE [IMAGE...]", at_least=1, complete=engines.names)
@value("-f", "--format", help=_FORMAT)
def image_inspect(format: str, words: tuple[str, ...]) -> int:
    """Display detailed information on one or more images."""
    return _inspect(format, words, "")


def _inspect(format: str, words: tuple[str, ...], missing: str) -> int:
    """What is there is printed, what is not is complained of afterwards."""
    from labkit.cli import templates

    template = templates.parse("{{json .}}" if format == "json" else format) if format else None
    engine = engines.engine()
    found: list[dict[str, object]] = []
    complaints: list[NotFound] = []
    for word in words:
        try:
            found.append(engine.inspect(word))
        except NotFound as error:
            complaints.append(NotFound(f"{missing}: {word}") if missing else error)
    if template is None:
        click.echo(json.dumps(found, indent=4, ensure_ascii=False))
    for each in found if template else ():
        assert template
        click.echo(template.render(each))
    sys.stdout.flush()
    for complaint in complaints:
        exits.report(complaint)
    return exits.FAILED if complaints else exits.DONE
