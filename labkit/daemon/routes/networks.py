"""Networks: list, make, inspect, connect, remove.

Source: Docker Engine API v1.47, Network. Shown in notebook 07.
"""

from __future__ import annotations

from labkit import codec
from labkit.daemon import statuses
from labkit.daemon.api import Api
from labkit.daemon.messages import Answer, Request, Response
from labkit.daemon.router import Route
from labkit.engine.config import EndpointSettings
from labkit.engine.network_file import Wanted
from labkit.records import record


@record
class Connect:
    """The body of ``POST /networks/ID/connect``, and of ``disconnect``."""

    Container: str
    EndpointConfig: EndpointSettings | None = None
    Force: bool = False


async def list_(api: Api, request: Request) -> Answer:
    """What there is."""
    networks, filters = api.engine.networks, request.query.filters()

    def rows() -> list[object]:
        return [networks.inspected(network, verbose=False) for network in networks.list(filters)]

    return Response.of(await api.call(rows))


async def create(api: Api, request: Request) -> Answer:
    """Make one."""
    wanted = codec.decode(Wanted, await request.json({}))
    made = await api.call(api.engine.networks.create, wanted)
    return Response.of({"Id": made.Id, "Warning": ""}, statuses.CREATED)


async def inspect(api: Api, request: Request) -> Answer:
    """All about one, and who is in it."""
    networks, name = api.engine.networks, request.parameters["name"]
    return Response.of(await api.call(lambda: networks.inspected(networks.get(name))))


async def remove(api: Api, request: Request) -> Answer:
    """Remove one that nobody is in."""
    await api.call(api.engine.networks.remove, request.parameters["name"])
    return Response(statuses.NO_CONTENT)


async def connect(api: Api, request: Request) -> Answer:
    """Put a container into it."""
    networks, wanted = api.engine.networks, codec.decode(Connect, await request.json({}))
    container = api.engine.containers.get(wanted.Container)
    await api.call(networks.connect, request.parameters["name"], container, wanted.EndpointConfig)
    return Response(statuses.OK)


async def disconnect(api: Api, request: Request) -> Answer:
    """Take a container out of it."""
    networks, wanted = api.engine.networks, codec.decode(Connect, await request.json({}))
    container = api.engine.containers.get(wanted.Container)
    await api.call(networks.disconnect, request.parameters["name"], container, wanted.Force)
    return Response(statuses.OK)


async def prune(api: Api, request: Request) -> Answer:
    """Remove those that nobody is in."""
    removed = await api.call(api.engine.networks.prune, request.query.filters())
    return Response.of({"NetworksDeleted": [*removed] or None})


ROUTES = (
    Route("GET", "/networks", list_),
    Route("POST", "/networks/create", create),
    Route("POST", "/networks/prune", prune),
    Route("POST", "/networks/{name:.*}/connect", connect),
    Route("POST", "/networks/{name:.*}/disconnect", disconnect),
    Route("GET", "/networks/{name:.*}", inspect),
    Route("DELETE", "/networks/{name:.*}", remove),
)
