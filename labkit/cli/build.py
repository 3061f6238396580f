"""``labkit build`` and ``labkit builder prune``: a Dockerfile becomes an image.

    labkit build -t me/web:v1 .                              the Dockerfile in this directory, whose files COPY may take
    labkit build -t me/web:v1 - < Dockerfile                 a Dockerfile alone
    tar -c . | labkit build -f other.Dockerfile -            a directory that comes as a tar archive

What it prints is what docker's classic builder prints; a RUN that fails is a build that fails, with the same exit code.
Source: ``docker build --help``. Seen in notebook 09.
"""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import click

from labkit.cli import engines, exits, human, progress
from labkit.cli.grammar import Command, command, switch, value
from labkit.cli.images import confirmed
from labkit.errors import InvalidInput, LabError, Unsupported

if TYPE_CHECKING:
    from labkit.engine.build.context import Context
    from labkit.engine.build.output import Output
    from labkit.image.images import Image


def _building() -> Command:
    @command("build", "PATH | -", at_least=1, at_most=1)
    @value("--build-arg", kind="list", many=True, help="Set build-time variables")
    @value("-f", "--file", help="Name of the Dockerfile (Default is 'PATH/Dockerfile')")
    @switch("--force-rm", help="Always remove intermediate containers")
    @value("--iidfile", help="Write the image ID to the file")
    @value("--label", kind="list", many=True, help="Set metadata for an image")
    @value("--network", default="default", help='Set the networking mode for the RUN instructions during build (default "default")')
    @switch("--no-cache", help="Do not use cache when building the image")
    @switch("--pull", help="Always attempt to pull a newer version of the image")
    @switch("-q", "--quiet", help="Suppress the build output and print image ID on success")
    @switch("--rm", default=True, help="Remove intermediate containers after a successful build (default true)")
    @value("-t", "--tag", kind="list", many=True, help="Name and optionally a tag in the 'name:tag' format")
    @value("--target", help="Set the target build stage to build.")
    def build(
        build_arg: tuple[str, ...],
        file: str,
        force_rm: bool,
        iidfile: str,
        label: tuple[str, ...],
        network: str,
        no_cache: bool,
        pull: bool,
        quiet: bool,
        rm: bool,
        tag: tuple[str, ...],
        target: str,
        words: tuple[str, ...],
    ) -> int:
        """Build an image from a Dockerfile."""
        from labkit.cli.client.building import Wanted
        from labkit.cli.client.grammar import Failed
        from labkit.cli.client.images import RemoteImages
        from labkit.engine.build.running import CommandFailed

        engine = engines.images()
        args, labels = dict(_argument(each) for each in build_arg), dict(each.partition("=")[::2] for each in label)
        if isinstance(engine, RemoteImages):
            _check(words[0], file)
            wanted = Wanted(words[0], file, tag, args, labels, target, no_cache, network, pull)
            try:
                return _finish(engine.build(wanted, quiet), iidfile, quiet)
            except Failed as error:
                exits.report(error, by_daemon=True)
                return error.code

        def fetch(name: str) -> Image:
            with progress.shown(quiet) as report:
                return engine.pull(name, report=report)[0]

        try:
            with _context(words[0], file) as context:
                image = engine.build(
                    context,
                    tags=tag,
                    args=args,
                    labels=labels,
                    target=target,
                    no_cache=no_cache,
                    network=network,
                    always_pull=pull,
                    fetch=fetch,
                    report=(lambda _said: None) if quiet else _say,
                )
        except CommandFailed as error:
            exits.report(error)
            return error.code
        return _finish(image.id, iidfile, quiet)

    return build


build = _building()


@command("prune", at_most=0)
@switch("-a", "--all", help="Remove all unused build cache, not just dangling ones")
@switch("-f", "--force", help="Do not prompt for confirmation")
def prune(all: bool, force: bool) -> None:
    """Remove build cache."""
    what = "all build cache" if all else "all dangling build cache"
    if force or confirmed(f"WARNING! This will remove {what}."):
        click.echo(f"Total reclaimed space: {human.size(engines.images().prune_builds(), 4)}")


def _finish(id: str, iidfile: str, quiet: bool) -> int:
    if iidfile:
        _write(iidfile, id)
    if quiet:
        click.echo(id)
    return exits.DONE


def _check(source: str, file: str) -> None:
    """What cannot be a context."""
    if source == "-" and file == "-":
        raise InvalidInput("invalid argument: can't use stdin for both build context and dockerfile")
    if source == "-" and sys.stdin.isatty():
        raise InvalidInput("build -: the context comes from a terminal: redirect a tar archive or a Dockerfile to it")
    if "://" in source or source.startswith(("git@", "github.com/")):
        raise Unsupported(f"build {source}: a context is a directory or comes by a pipe: git clone {source}, then labkit build there")


def _context(source: str, file: str) -> AbstractContextManager[Context]:
    from labkit.engine.build import context

    _check(source, file)
    if source == "-":
        return context.received(sys.stdin.buffer, file or "Dockerfile")
    return context.directory(source, "/dev/stdin" if file == "-" else file)


def _argument(text: str) -> tuple[str, str]:
    """``NAME=value``; a name alone takes its value from the environment, as docker does."""
    name, equals, given = text.partition("=")
    return name, given if equals else os.environ.get(name, "")


def _say(said: Output) -> None:
    """What a command of the build writes to its stderr goes to ours."""
    stream = sys.stderr if said.is_error else sys.stdout
    stream.write(said.text)
    stream.flush()


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError as error:
        raise LabError(f"write the image ID to {path}: {os.strerror(error.errno or 0)}") from None
