"""``labkit diff``, ``export``, ``commit`` and ``port``: a container's files, and the doors that lead to it.

    labkit diff web                              what it has added (A), changed (C) and deleted (D)
    labkit commit web me/web:v2                  that as a layer of a new image
    labkit export -o web.tar web                 all its files, as a tar archive
    labkit port web                              80/tcp -> 0.0.0.0:32768

Source: ``docker diff --help`` and so on; engine-api, 4 and 5. Shown in notebook 06.
"""

from __future__ import annotations

import sys

import click

from labkit import codec
from labkit.cli import archives
from labkit.cli.client import answers, api, complete
from labkit.cli.client.grammar import Failed, ask, option
from labkit.cli.client.listing import joined
from labkit.cli.client.values import LIST
from labkit.cli.grammar import switch

_KINDS = ("C", "A", "D")


@ask("diff", "CONTAINER", at_least=1, at_most=1, complete=complete.containers())
def diff(words: tuple[str, ...]) -> None:
    """Inspect changes to files or directories on a container's filesystem."""
    with api.connect() as daemon:
        changes = daemon.read_all(answers.Change, f"/containers/{words[0]}/changes")
    click.echo("".join(f"{_KINDS[change.Kind]} {change.Path}\n" for change in changes), nl=False)


@ask("export", "CONTAINER", at_least=1, at_most=1, complete=complete.containers())
@option("-o", "--output", help="Write to a file, instead of STDOUT")
def export(words: tuple[str, ...], output: str) -> None:
    """Export a container's filesystem as a tar archive."""
    if not output and sys.stdout.isatty():
        raise Failed("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    with api.connect() as daemon:
        chunks = daemon.pieces(f"/containers/{words[0]}/export")
        first = next(chunks, b"")  # an error comes before the file is made
        with archives.written(output) if output else archives.standard_output() as out:
            out.write(first)
            for chunk in chunks:
                out.write(chunk)


@ask("commit", "CONTAINER [REPOSITORY[:TAG]]", at_least=1, at_most=2, complete=complete.one_container())
@option("-a", "--author", help='Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")')
@option("-c", "--change", kind=LIST, many=True, help="Apply Dockerfile instruction to the created image")
@option("-m", "--message", help="Commit message")
@switch("-p", "--pause", default=True, help="Pause container during commit (default true)")
def commit(words: tuple[str, ...], author: str, change: tuple[str, ...], message: str, pause: bool) -> None:
    """Create a new image from a container's changes."""
    repository = tag = ""
    if len(words) > 1:
        from labkit.image import references

        name = references.parse(words[1])
        if name.digest:
            raise Failed("cannot use digest reference")
        repository, tag = name.name, name.tag or ""
    with api.connect() as daemon:
        created = daemon.post(
            "/commit", container=words[0], repo=repository, tag=tag, comment=message, author=author, changes=change or None,
            pause=None if pause else False,
        )  # fmt: skip
    click.echo(codec.decode(answers.Created, created).Id)


@ask("port", "CONTAINER [PRIVATE_PORT[/PROTO]]", at_least=1, at_most=2, complete=complete.one_container("running"))
def port(words: tuple[str, ...]) -> None:
    """List port mappings or a specific mapping for the container."""
    with api.connect() as daemon:
        found = daemon.read(answers.Inspected, f"/containers/{words[0]}/json").NetworkSettings.Ports
    if len(words) > 1:
        wanted = words[1] if "/" in words[1] else f"{words[1]}/tcp"
        if not found.get(wanted):
            raise Failed(f"Error: No public port '{words[1]}' published for {words[0]}")
        found = {wanted: found[wanted]}
    for private, bindings in sorted(found.items(), key=lambda item: (int(item[0].partition("/")[0]), item[0])):
        for binding in bindings or ():
            public = joined(binding.HostIp, binding.HostPort)
            click.echo(public if len(words) > 1 else f"{private} -> {public}")
