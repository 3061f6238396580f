"""Containers: make, list, inspect; their life from start to removal.

    docker run     create ─▶ attach (101) ─▶ wait (its head at once) ─▶ start ─▶ … output … ─▶ the body of wait

Source: Docker Engine API v1.47, Container. Shown in notebook 06.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING

from labkit.daemon import container_documents, statuses
from labkit.daemon.api import Api, encoded
from labkit.daemon.messages import JSON, Answer, Request, Response, Streamed
from labkit.daemon.router import Route
from labkit.engine import config, top
from labkit.engine.config import Config, HostConfig, LogConfig, NetworkingConfig, Update
from labkit.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from labkit.engine.container import Container, Exit

DONE = Response(statuses.NO_CONTENT)
NOTHING_TO_DO = Response(statuses.NOT_MODIFIED)


def named(api: Api, request: Request) -> Container:
    """The container that the path is about. ``NotFound``."""
    return api.engine.containers.get(request.parameters["name"])


async def create(api: Api, request: Request) -> Answer:
    """Make a container, which is not started."""
    body = await request.json()
    if body is None:
        raise InvalidInput("Config cannot be empty in order to create a container")
    if not isinstance(body, dict):
        raise InvalidInput(f"the body must be an object, not {body!r:.60}")
    wanted = config.decode(Config, body)
    host = config.decode(HostConfig, body.get("HostConfig") or {}, "HostConfig")
    networking = config.decode(NetworkingConfig, body.get("NetworkingConfig") or {}, "NetworkingConfig")
    if not wanted.Image and not body.keys() - {"HostConfig", "NetworkingConfig"}:
        raise InvalidInput("Config cannot be empty in order to create a container")
    if not host.LogConfig.Type:
        options = {**api.settings.log_opts, **host.LogConfig.Config} if api.settings.log_driver != "none" else {}
        host = replace(host, LogConfig=LogConfig(api.settings.log_driver, options))
    query = request.query
    made = await api.call(api.engine.containers.create, query.text("name"), wanted, host, networking, query.text("platform"))
    return Response.of({"Id": made.Id, "Warnings": [*made.Warnings]}, statuses.CREATED)


async def list_(api: Api, request: Request) -> Answer:
    """Those that run, or all."""
    query = request.query
    is_for_all, limit, filters, with_size = query.flag("all"), query.number("limit"), query.filters(), query.flag("size")

    def rows() -> list[object]:
        images = container_documents.Images(api.engine)
        found = api.engine.containers.list(is_for_all, limit, filters)
        return [container_documents.listed(container, images, with_size) for container in found]

    return Response.of(await api.call(rows))


async def inspect(api: Api, request: Request) -> Answer:
    """All about one."""
    container, with_size = named(api, request), request.query.flag("size")
    return Response.of(await api.call(container_documents.inspected, container, with_size))


async def start(api: Api, request: Request) -> Answer:
    """Start it; 304 if it runs."""
    return DONE if await api.call(named(api, request).start) else NOTHING_TO_DO


async def stop(api: Api, request: Request) -> Answer:
    """Stop it; 304 if it does not run."""
    query = request.query
    stopped = await api.patiently(named(api, request).stop, query.maybe_number("t"), query.text("signal") or None)
    return DONE if stopped else NOTHING_TO_DO


async def restart(api: Api, request: Request) -> Answer:
    """Stop it, if it runs, and start it."""
    query = request.query
    await api.patiently(named(api, request).restart, query.maybe_number("t"), query.text("signal") or None)
    return DONE


async def kill(api: Api, request: Request) -> Answer:
    """Send it a signal."""
    try:
        container = named(api, request)
    except NotFound as error:
        raise NotFound(f"Cannot kill container: {request.parameters['name']}: {error}") from None
    await api.patiently(container.kill, request.query.text("signal") or "KILL")
    return DONE


async def pause(api: Api, request: Request) -> Answer:
    """Let it stand still."""
    await api.call(named(api, request).pause)
    return DONE


async def unpause(api: Api, request: Request) -> Answer:
    """Let it go on."""
    await api.call(named(api, request).unpause)
    return DONE


async def rename(api: Api, request: Request) -> Answer:
    """Call it something else."""
    await api.call(named(api, request).rename, request.query.text("name"))
    return DONE


async def update(api: Api, request: Request) -> Answer:
    """Change limits and restart policy."""
    wanted = config.decode(Update, await request.json({}))
    warnings = await api.call(named(api, request).update, wanted)
    return Response.of({"Warnings": [*warnings] or None})


async def remove(api: Api, request: Request) -> Answer:
    """Remove it."""
    query = request.query
    await api.patiently(named(api, request).remove, query.flag("force"), query.flag("v"))
    return DONE


async def prune(api: Api, request: Request) -> Answer:
    """Remove those that do not run."""
    pruned = await api.patiently(api.engine.containers.prune, request.query.filters())
    return Response.of({"ContainersDeleted": [*pruned.ContainersDeleted] or None, "SpaceReclaimed": pruned.SpaceReclaimed})


async def wait(api: Api, request: Request) -> Answer:
    """How it ends. The head goes out at once: the docker command starts the container only when it has that."""
    found = await api.call(named(api, request).wait, request.query.text("condition") or "not-running")
    return Streamed(_end(api, found), JSON)


async def _end(api: Api, found: Future[Exit]) -> AsyncIterator[bytes]:
    end = await asyncio.wrap_future(found, loop=api.loop)
    yield encoded({"Error": {"Message": end.Error} if end.Error else None, "StatusCode": end.StatusCode})


async def resize(api: Api, request: Request) -> Answer:
    """Set the size of its terminal."""
    height, width = size(request)
    await api.call(named(api, request).resize, height, width)
    return Response(statuses.OK)


def size(request: Request) -> tuple[int, int]:
    """Height and width of a terminal."""
    height, width = request.query.maybe_number("h"), request.query.maybe_number("w")
    if height is None or width is None or not (0 <= height < 1 << 16 and 0 <= width < 1 << 16):
        raise InvalidInput("h and w must be the height and width of a terminal")
    return height, width


async def processes(api: Api, request: Request) -> Answer:
    """What runs in it."""
    container = named(api, request)
    found = await api.patiently(top.top, container, request.query.text("ps_args"))
    return Response.of(config.told(found))


ROUTES = (
    Route("POST", "/containers/create", create),
    Route("POST", "/containers/prune", prune),
    Route("GET", "/containers/json", list_),
    Route("GET", "/containers/{name:.*}/json", inspect),
    Route("GET", "/containers/{name:.*}/top", processes),
    Route("POST", "/containers/{name:.*}/start", start),
    Route("POST", "/containers/{name:.*}/stop", stop),
    Route("POST", "/containers/{name:.*}/restart", restart),
    Route("POST", "/containers/{name:.*}/kill", kill),
    Route("POST", "/containers/{name:.*}/pause", pause),
    Route("POST", "/containers/{name:.*}/unpause", unpause),
    Route("POST", "/containers/{name:.*}/rename", rename),
    Route("POST", "/containers/{name:.*}/update", update),
    Route("POST", "/containers/{name:.*}/wait", wait),
    Route("POST", "/containers/{name:.*}/resize", resize),
    Route("DELETE", "/containers/{name:.*}", remove),
)
