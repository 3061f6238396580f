"""Volumes: list, make, inspect, remove.

Source: Docker Engine API v1.47, Volume. Shown in notebook 09.
"""

from __future__ import annotations

from labkit import codec
from labkit.daemon import statuses
from labkit.daemon.api import Api
from labkit.daemon.messages import Answer, Request, Response
from labkit.daemon.router import Route
from labkit.daemon.volume_documents import VolumeCreate, told
from labkit.engine import config


async def list_(api: Api, request: Request) -> Answer:
    """What there is."""
    found = await api.patiently(api.engine.volumes.list, request.query.filters())
    return Response.of({"Volumes": [told(volume) for volume in found], "Warnings": None})


async def create(api: Api, request: Request) -> Answer:
    """Make one, or take the one of that name."""
    wanted = codec.decode(VolumeCreate, await request.json({}))

    def work() -> object:
        volume = api.engine.volumes.create(wanted.Name, wanted.Driver, options=wanted.DriverOpts, labels=wanted.Labels)
        return told(volume)

    return Response.of(await api.call(work), statuses.CREATED)


async def inspect(api: Api, request: Request) -> Answer:
    """All about one."""
    return Response.of(told(await api.call(api.engine.volumes.get, request.parameters["name"])))


async def remove(api: Api, request: Request) -> Answer:
    """Remove it, and what is in it."""
    force = request.query.flag("force")
    await api.patiently(lambda: api.engine.volumes.remove(request.parameters["name"], force=force))
    return Response(statuses.NO_CONTENT)


async def prune(api: Api, request: Request) -> Answer:
    """Remove those that no container has."""
    filters = request.query.filters()
    # Clients before 1.42 know no anonymous volumes: for them, all that nobody has are meant.
    is_old = bool(request.version) and tuple(map(int, request.version.split("."))) < (1, 42)
    pruned = await api.patiently(lambda: api.engine.volumes.prune(filters, all=is_old))
    return Response.of(config.told(pruned))


ROUTES = (
    Route("GET", "/volumes", list_),
    Route("POST", "/volumes/create", create),
    Route("POST", "/volumes/prune", prune),
    Route("GET", "/volumes/{name:.*}", inspect),
    Route("DELETE", "/volumes/{name:.*}", remove),
)
