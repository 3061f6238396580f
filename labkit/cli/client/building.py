"""``build`` by a daemon: the directory is sent as a tar archive, and what the daemon says of each step comes back.

    PATH ── all but what .dockerignore leaves out ──tar──▶ POST /build ──▶ {"stream": "Step 1/9 : FROM busybox\\n"} …

A Dockerfile that lies elsewhere, or comes by standard input, goes along under a name of its own. Source: engine-api, 6.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from labkit import codec
from labkit.cli import human
from labkit.cli.client import local_files
from labkit.cli.client.answers import Said
from labkit.cli.client.api import Api
from labkit.cli.client.grammar import Failed
from labkit.engine.build import context
from labkit.records import record

_CHUNK = 1 << 20


@record
class Wanted:
    """What was typed. ``source`` is a directory, or "-" for standard input; ``file`` "-" is a Dockerfile from there."""

    source: str
    file: str
    tags: tuple[str, ...]
    args: Mapping[str, str]
    labels: Mapping[str, str]
    target: str
    no_cache: bool
    network: str
    pull: bool


def build(daemon: Api, wanted: Wanted, quiet: bool) -> str:
    """Build; returns the image's ID. ``Failed`` with the exit code of a command that failed."""
    archive, dockerfile = _archive(wanted)
    told = daemon.stream(
        "POST", "/build", _counted(archive, quiet), dockerfile=dockerfile, t=list(wanted.tags) or None,
        buildargs=json.dumps(dict(wanted.args)) if wanted.args else None, labels=json.dumps(dict(wanted.labels)) if wanted.labels else None,
        target=wanted.target or None, nocache=wanted.no_cache or None, pull=wanted.pull or None, q=quiet or None, rm=True, version="1",
        networkmode=wanted.network if wanted.network != "default" else None,
    )  # fmt: skip
    id = ""
    for each in told:
        said = codec.decode(Said, each)
        if said.error:
            raise Failed(said.error, said.errorDetail.code or 1)
        id = said.aux.ID or id
        if quiet and said.stream:
            id = said.stream.strip()
        elif said.stream or said.status:
            sys.stdout.write(said.stream or f"{said.id + ': ' if said.id else ''}{said.status}\n")
            sys.stdout.flush()
    return id


def _archive(wanted: Wanted) -> tuple[Iterator[bytes], str]:
    """The context, and the name of the Dockerfile in it."""
    if wanted.source == "-":
        return _from_input(wanted.file)
    elsewhere = "/dev/stdin" if wanted.file == "-" else wanted.file
    inside = os.path.relpath(os.path.realpath(elsewhere), os.path.realpath(wanted.source)) if elsewhere else "Dockerfile"
    with context.directory(wanted.source, elsewhere) as found:
        if not inside.startswith("../") and wanted.file != "-":
            kept = {inside, ".dockerignore"}
            return local_files.archive(found.root, ".", False, [0], lambda path: path not in kept and found.ignore.ignores(path)), inside
        name = f".dockerfile.{hashlib.sha256(found.dockerfile).hexdigest()[:20]}"
        files = local_files.archive(found.root, ".", False, [0], found.ignore.ignores)
        return chain(_entry(name, found.dockerfile), files), name


def _from_input(file: str) -> tuple[Iterator[bytes], str]:
    """An archive goes on as it is; anything else is a Dockerfile without files."""
    first = sys.stdin.buffer.read(_CHUNK)
    rest = iter(lambda: sys.stdin.buffer.read(_CHUNK), b"")
    if context.is_archive(first):
        return chain((first,), rest), file or "Dockerfile"
    return chain(_entry("Dockerfile", b"".join((first, *rest))), (bytes(2 * tarfile.BLOCKSIZE),)), "Dockerfile"


def _entry(name: str, content: bytes) -> Iterator[bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(info, io.BytesIO(content))
    yield out.getvalue()[: tarfile.BLOCKSIZE * (1 + -(-len(content) // tarfile.BLOCKSIZE))]


def _counted(chunks: Iterable[bytes], quiet: bool) -> Iterator[bytes]:
    """The same chunks; when all have been sent, docker says how much that was."""
    total = 0
    for chunk in chunks:
        total += len(chunk)
        yield chunk
    if not quiet:
        sys.stdout.write(f"Sending build context to Docker daemon  {human.size(total, 4)}\r\r\n")
        sys.stdout.flush()
