"""Files of containers: ``docker cp``, ``diff``, ``export``, ``commit``.

    docker cp C:/p -      GET  …/archive?path=/p    a tar, and in a header what is there
    docker cp f C:/d      HEAD …/archive?path=/d    that header alone, then  PUT …/archive?path=/d  with a tar

Source: Docker Engine API v1.47, ContainerArchive, ImageCommit. Shown in notebook 06.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import closing

from labkit.daemon import statuses
from labkit.daemon.api import Api
from labkit.daemon.bodies import Inlet, Outlet
from labkit.daemon.messages import Answer, Request, Response, Streamed
from labkit.daemon.router import Route
from labkit.daemon.routes.containers import named
from labkit.engine import commits, config, files
from labkit.engine.config import Config
from labkit.engine.files import PathStat
from labkit.errors import InvalidInput

_TAR = "application/x-tar"
_CHUNK = 1 << 18


def _path(request: Request) -> str:
    path = request.query.path("path")
    if not path:
        raise InvalidInput("bad parameter: path cannot be empty")
    return path


def _header(stat: PathStat) -> tuple[tuple[str, str], ...]:
    told = base64.b64encode(json.dumps(config.told(stat)).encode()).decode()
    return (("X-Docker-Container-Path-Stat", told),)


async def stat(api: Api, request: Request) -> Answer:
    """What is at a path."""
    found = await api.patiently(files.stat, named(api, request), _path(request))
    return Response(statuses.OK, headers=_header(found))


async def get_archive(api: Api, request: Request) -> Answer:
    """What is at a path, as an archive."""
    found, chunks = await api.patiently(files.get_archive, named(api, request), _path(request))
    return Streamed(await api.written(request, lambda out: _pour(chunks, out)), _TAR, _header(found))


def _pour(chunks: Iterator[bytes], out: Outlet) -> None:
    try:
        for chunk in chunks:
            out.write(chunk)
    finally:
        if close := getattr(chunks, "close", None):
            close()


async def put_archive(api: Api, request: Request) -> Answer:
    """Unpack an archive in a directory."""
    query, container, path = request.query, named(api, request), _path(request)
    body = api.body(request)

    def work() -> None:
        with closing(body):
            files.put_archive(
                container,
                path,
                _chunks(body),
                no_overwrite=query.flag("noOverwriteDirNonDir"),
                copy_uid_gid=query.flag("copyUIDGID"),
            )

    await api.patiently(work)
    return Response(statuses.OK)


def _chunks(body: Inlet) -> Iterator[bytes]:
    while chunk := body.read(_CHUNK):
        yield chunk


async def changes(api: Api, request: Request) -> Answer:
    """What it has changed, added and deleted."""
    found = await api.patiently(files.changes, named(api, request))
    return Response.of([config.told(each) for each in found] or None)


async def export(api: Api, request: Request) -> Answer:
    """All its files, as an archive."""
    container = named(api, request)
    return Streamed(await api.written(request, lambda out: _pour(files.export(container), out)), _TAR)


async def commit(api: Api, request: Request) -> Answer:
    """Make an image of it."""
    query = request.query
    container = api.engine.containers.get(query.text("container"))
    body = await request.json()
    wanted = config.decode(Config, body) if body else None
    repository, tag = query.text("repo"), query.text("tag")

    def work() -> str:
        return commits.commit(
            container,
            f"{repository}:{tag}" if repository and tag else repository,
            changes=[line for text in query.all("changes") for line in text.splitlines() if line.strip()],
            message=query.text("comment"),
            author=query.text("author"),
            pause=query.flag("pause", default=True),
            config=wanted,
        ).id

    return Response.of({"Id": await api.patiently(work)}, statuses.CREATED)


ROUTES = (
    Route("HEAD", "/containers/{name:.*}/archive", stat),
    Route("GET", "/containers/{name:.*}/archive", get_archive),
    Route("PUT", "/containers/{name:.*}/archive", put_archive),
    Route("GET", "/containers/{name:.*}/changes", changes),
    Route("GET", "/containers/{name:.*}/export", export),
    Route("POST", "/commit", commit),
)
