"""Files of a container, from outside: ``docker cp``, ``docker diff``, ``docker export``.

    >>> from labkit.engine import files
    >>> files.stat(web, "/etc/hosts").size
    174
    >>> found, archive = files.get_archive(web, "/etc")           # a tar whose top entry is called etc
    >>> files.put_archive(web, "/srv", chunks)                    # unpacked in the directory /srv
    >>> files.changes(web)
    (PathChange(Path='/srv', Kind=0), PathChange(Path='/srv/index.html', Kind=1))

Source: Docker Engine API v1.47, ``/containers/{id}/archive``; moby's ``daemon/archive.go``. Shown in notebook 06.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from labkit.records import record

if TYPE_CHECKING:
    from labkit.engine.container import Container


@record
class PathStat:
    """What is at a path, as the header ``X-Docker-Container-Path-Stat`` tells it: ``mode`` as Go's FileMode has it, ``mtime`` as RFC 3339.

    A symbolic link is told as such; ``linkTarget`` is where it leads, whole, in the container.
    """

    name: str
    size: int
    mode: int
    mtime: str
    linkTarget: str = ""


@record
class PathChange:
    """One path that is not as the image has it: 0 changed, 1 added, 2 deleted."""

    Path: str
    Kind: int


def stat(container: Container, path: str) -> PathStat:
    """What is at ``path``; ``NotFound`` in Docker's words."""
    raise NotImplementedError


def get_archive(container: Container, path: str) -> tuple[PathStat, Iterator[bytes]]:
    """What is at ``path`` as a tar archive. Whoever stops reading before the end calls ``close`` on the iterator."""
    raise NotImplementedError


def put_archive(
    container: Container, path: str, chunks: Iterable[bytes], *, no_overwrite: bool = False, copy_uid_gid: bool = False
) -> None:
    """Unpack a tar archive, compressed or not, in the directory ``path``.

    ``no_overwrite``: no directory for anything else, nor the other way round; ``copy_uid_gid``: all belongs to the container's user.
    """
    raise NotImplementedError


def changes(container: Container) -> tuple[PathChange, ...]:
    """What the container has changed, added and deleted, by path."""
    raise NotImplementedError


def export(container: Container) -> Iterator[bytes]:
    """The file system of the container as a tar archive, without what is mounted in it."""
    raise NotImplementedError
