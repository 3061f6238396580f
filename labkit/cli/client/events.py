"""``labkit events``: what happens in the daemon, as it happens.

    labkit events --since 10m --filter type=container --format '{{.Action}} {{.Actor.Attributes.name}}'

Source: ``docker events --help``; engine-api, 4. Shown in notebook 06.
"""

from __future__ import annotations

import sys

from labkit import codec
from labkit.cli.client import api
from labkit.cli.client.answers import Event
from labkit.cli.client.grammar import ask, option
from labkit.cli.client.times import parameter, printed
from labkit.cli.client.values import FILTER


@ask("events", at_most=0)
@option("-f", "--filter", kind=FILTER, many=True, help="Filter output based on conditions provided")
@option("--format", help="Format output using a custom template: 'json' or a Go 'TEMPLATE'")
@option("--since", help="Show all events created since timestamp")
@option("--until", help="Stream events until this timestamp")
def events(filter: tuple[str, ...], format: str, since: str, until: str) -> None:
    """Get real time events from the server."""
    from labkit.cli import templates

    template = templates.parse("{{json .}}" if format == "json" else format) if format else None
    first, last = parameter("since", since), parameter("until", until)
    with api.connect() as daemon:
        for each in daemon.stream("GET", "/events", filters=api.filters(filter), since=first, until=last):
            text = template.render(each) if template else line(codec.decode(Event, each))
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()


def line(event: Event) -> str:
    """``2026-11-24T08:49:00.020716364Z container die ID (exitCode=0, image=busybox, name=web)``."""
    moment = printed(event.timeNano or event.time * 10**9)
    attributes = ", ".join(f"{name}={value}" for name, value in sorted(event.Actor.Attributes.items()))
    return f"{moment} {event.Type} {event.Action} {event.Actor.ID}{f' ({attributes})' if attributes else ''}"
