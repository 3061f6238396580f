"""``labkit save``, ``load`` and ``import``: images to and from files.

    labkit save -o web.tar nginx busybox                     for a USB stick: docker load and skopeo read it, too
    labkit load -i web.tar
    mmdebstrap trixie - | labkit import - debian:own         a file system becomes an image of one layer

Source: ``docker save --help``, and so on. Seen in notebook 05.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import click

from labkit.cli import engines, progress
from labkit.cli.grammar import command, switch, value
from labkit.errors import InvalidInput, KernelError, Unsupported


@command("save", "IMAGE [IMAGE...]", at_least=1, complete=engines.names)
@value("-o", "--output", help="Write to a file, instead of STDOUT")
def save(output: str, words: tuple[str, ...]) -> None:
    """Save one or more images to a tar archive (streamed to STDOUT by default)."""
    if not output and sys.stdout.isatty():
        raise InvalidInput("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    engine = engines.images()
    with written(output) if output else standard_output() as out:
        engine.save(words, out)


@command("load", at_most=0)
@value("-i", "--input", help="Read from tar archive file, instead of STDIN")
@switch("-q", "--quiet", help="Suppress the load output")
def load(input: str, quiet: bool) -> None:
    """Load an image from a tar archive or STDIN."""
    if not input and sys.stdin.isatty():
        raise InvalidInput("requested load from stdin, but stdin is empty: use the -i flag or redirect")
    with _read(input or "-") as archive, progress.shown(quiet) as report:
        loaded = engines.images().load(archive, report)
    for line in loaded:
        click.echo(line)


@command("import", "file|URL|- [REPOSITORY[:TAG]]", at_least=1, at_most=2)
@value("-c", "--change", kind="list", many=True, help="Apply Dockerfile instruction to the created image")
@value("-m", "--message", help="Set commit message for imported image")
@value("--platform", help="Set platform if server is multi-platform capable")
def import_(change: tuple[str, ...], message: str, platform: str, words: tuple[str, ...]) -> None:
    """Import the contents from a tarball to create a filesystem image."""
    source, name = words[0], words[1] if len(words) > 1 else ""
    if source.startswith(("http://", "https://")):
        raise Unsupported(f"import {source}: archives are read from files alone: wget -O - {source} | labkit import - {name}".rstrip())
    with _read(source) as archive:
        image = engines.images().import_(archive, name, changes=change, message=message, platform=platform)
    click.echo(image.id)


@contextmanager
def _read(path: str) -> Iterator[BinaryIO]:
    if path == "-":
        yield sys.stdin.buffer
        return
    try:
        file = open(path, "rb")
    except OSError as error:
        raise KernelError.of(error, "open", path) from None
    with file:
        yield file


@contextmanager
def standard_output() -> Iterator[BinaryIO]:
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()


@contextmanager
def written(path: str) -> Iterator[BinaryIO]:
    """A file that is there when it is whole: what was there before stays until then, and no half of an archive does."""
    if os.path.isdir(path):
        raise InvalidInput(f"invalid output path: {path} is a directory")
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe, or /dev/null
        with open(path, "wb") as file:
            yield file
        return
    new = f"{path}.{os.getpid()}"
    try:
        with open(new, "xb") as file:
            yield file
        os.rename(new, path)
    except OSError as error:
        _forget(new)
        raise KernelError.of(error, "write", path) from None
    except BaseException:
        _forget(new)
        raise


def _forget(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass  # it was never made
