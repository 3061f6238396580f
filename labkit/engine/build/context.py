"""A build's context: the directory whose files COPY and ADD may take, and the Dockerfile.

    >>> from labkit.engine.build import context
    >>> with context.directory("/srv/web") as web: web.dockerfile[:4]
    b'FROM'
    >>> with context.received(sys.stdin.buffer) as web: …       # a tar archive, or a Dockerfile alone

    directory ─┐                       ┌─ dockerfile      its text
               ├─▶ Context ── root ────┤
    tar ───────┘  unpacked beside it   └─ all files that .dockerignore does not leave out

Docker packs a context into a tar archive, since its daemon may be elsewhere; here the directory is read where it is.
Source: Docker's ``docker build`` reference, "Build context". Shown in notebook 09.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import BinaryIO

from labkit.engine.build import ignore
from labkit.engine.build.ignore import Ignore
from labkit.errors import InvalidInput, KernelError, NotFound
from labkit.linux import paths
from labkit.records import record

_LARGEST = 4 << 20  # bytes of a Dockerfile or a .dockerignore


@record
class Context:
    """Files below ``root``, a directory without links in its name, and the text of the Dockerfile."""

    root: str
    dockerfile: bytes
    ignore: Ignore = Ignore()


@contextmanager
def directory(path: str, dockerfile: str = "") -> Iterator[Context]:
    """The directory ``path`` as a context. ``dockerfile`` is a path of its own, ``PATH/Dockerfile`` if it is empty."""
    if not os.path.isdir(path):
        raise NotFound(f'unable to prepare context: path "{path}" not found')
    named = dockerfile or os.path.join(path, "Dockerfile")
    try:
        with open(named, "rb") as file:
            text = file.read(_LARGEST)
    except FileNotFoundError:
        raise NotFound(f"unable to prepare context: unable to evaluate symlinks in Dockerfile path: {named}: no such file") from None
    except OSError as error:
        raise KernelError.of(error, "read the Dockerfile", named) from None
    root = os.path.realpath(path)
    yield Context(root, text, _ignore(root))


@contextmanager
def received(stream: BinaryIO, dockerfile: str = "Dockerfile", beside: str | None = None) -> Iterator[Context]:
    """A context that comes as a tar archive, compressed or not; or a Dockerfile alone, then it has no files.

    It is unpacked into a temporary directory (in the directory ``beside``) that is gone at the end. ``dockerfile`` is a path in it.
    """
    chunks = iter(lambda: stream.read(1 << 20), b"")
    first = next(chunks, b"")
    root = os.path.realpath(tempfile.mkdtemp(prefix="labkit-context-", dir=beside))
    try:
        if not is_archive(first):
            yield Context(root, b"".join(chain((first,), chunks))[:_LARGEST])
            return
        from labkit.storage.compression import decompressed
        from labkit.storage.unpack import unpack

        unpack(decompressed(chain((first,), chunks)), root, overlay=False)
        try:
            text = _read(root, dockerfile)
        except NotFound:
            raise NotFound(f"Cannot locate specified Dockerfile: {dockerfile}") from None
        yield Context(root, text, _ignore(root))
    finally:
        shutil.rmtree(root, ignore_errors=True)


def is_archive(start: bytes) -> bool:
    """Whether a stream begins as a tar archive does, or as something compressed."""
    return start[257:262] == b"ustar" or start.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ\0"))


def _read(root: str, path: str) -> bytes:
    """A file of the context, with whose links we must not leave it: it may have come from elsewhere."""
    with paths.inside(root, path) as spot:
        try:
            with open(spot, "rb") as file:
                return file.read(_LARGEST)
        except OSError as error:
            raise KernelError.of(error, "read", path) from None


def _ignore(root: str) -> Ignore:
    try:
        text = _read(root, ".dockerignore")
    except NotFound:
        return Ignore()
    try:
        return ignore.parse(text.decode())
    except UnicodeDecodeError:
        raise InvalidInput(".dockerignore: is not UTF-8 text") from None
