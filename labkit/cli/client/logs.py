"""``labkit logs`` and ``labkit top``: what a container has written, and what runs in it.

    labkit logs -f -t --tail 10 web            the last ten lines with their times, and all that come
    labkit logs --since 5m web
    labkit top web -o pid,comm                 ps, of the processes in the container

Source: ``docker logs --help``, ``docker top --help``; engine-api, 4. Shown in notebook 06.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from labkit import codec
from labkit.cli.client import answers, api, complete
from labkit.cli.client.grammar import Program, ask, option
from labkit.cli.client.streams import OUT, Frames, write
from labkit.cli.client.times import parameter
from labkit.cli.grammar import switch

_CELL, _PADDING = 20, 3


@ask("logs", "CONTAINER", at_least=1, at_most=1, complete=complete.containers())
@switch("--details", help="Show extra details provided to logs")
@switch("-f", "--follow", help="Follow log output")
@option("--since", help='Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)')
@option("-n", "--tail", default="all", help='Number of lines to show from the end of the logs (default "all")')
@switch("-t", "--timestamps", help="Show timestamps")
@option("--until", help='Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)')
def logs(words: tuple[str, ...], details: bool, follow: bool, since: str, tail: str, timestamps: bool, until: str) -> None:
    """Fetch the logs of a container."""
    with api.connect() as daemon:
        found = daemon.read(answers.Inspected, f"/containers/{words[0]}/json")
        bounds = {"since": parameter("since", since), "until": parameter("until", until)}
        switches = {"details": details or None, "follow": follow or None, "timestamps": timestamps or None}
        frames = Frames()
        for chunk in daemon.pieces(f"/containers/{found.Id}/logs", stdout=True, stderr=True, tail=tail, **switches, **bounds):
            for stream, piece in [(OUT, chunk)] if found.Config.Tty else frames.feed(chunk):
                write(1 if stream == OUT else 2, piece)


@ask("top", "CONTAINER [ps OPTIONS]", at_least=1, kind=Program, complete=complete.one_container("running"))
def top(words: tuple[str, ...]) -> None:
    """Display the running processes of a container."""
    container, *options = words
    with api.connect() as daemon:
        found = codec.decode(answers.Top, daemon.get(f"/containers/{container}/top", ps_args=" ".join(options) or None))
    for line in (found.Titles, *found.Processes):
        click.echo(_row(line, [found.Titles, *found.Processes]))


def _row(cells: Sequence[str], table: Sequence[Sequence[str]]) -> str:
    widths = [max([_CELL, *(len(line[index]) + _PADDING for line in table if len(line) > index)]) for index in range(len(cells))]
    return "".join(f"{cell:{width}}" for cell, width in zip(cells[:-1], widths, strict=False)) + (cells[-1] if cells else "")
