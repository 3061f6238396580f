"""``labkit inspect``: all about an image, as JSON.

    labkit inspect nginx                     labkit inspect -f '{{json .RootFS.Layers}}' nginx

The fields are those of Docker's API. Source: ``docker inspect --help``. Seen in notebook 05.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import click

from labkit.cli import engines, exits
from labkit.cli.grammar import command, value
from labkit.errors import NotFound

_FORMAT = "Format output using a custom template: 'json' or a Go 'TEMPLATE'"


@command("inspect", "IMAGE [IMAGE...]", at_least=1, complete=engines.names)
@value("-f", "--format", help=_FORMAT)
def image_inspect(format: str, words: tuple[str, ...]) -> int:
    """Display detailed information on one or more images."""
    return inspect(format, words)


def inspect(format: str, words: Sequence[str], missing: str = "") -> int:
    """What is there is printed, what is not is complained of afterwards, in the words ``missing`` if those are given."""
    from labkit.cli import templates

    template = templates.parse("{{json .}}" if format == "json" else format) if format else None
    engine = engines.images()
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
