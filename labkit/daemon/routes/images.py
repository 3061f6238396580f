"""Images: list, inspect, name, remove; from and to registries and archives.

Source: Docker Engine API v1.47, Image. Shown in notebook 05.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

from labkit.daemon import credentials, statuses
from labkit.daemon.api import Api, Say
from labkit.daemon.bodies import Outlet
from labkit.daemon.messages import Answer, Request, Response, Streamed
from labkit.daemon.progress import told
from labkit.daemon.queries import Filters
from labkit.daemon.router import Route
from labkit.errors import Denied, InvalidInput, LabError, NotFound, Unsupported
from labkit.image.registry.interest import Interest

if TYPE_CHECKING:
    from labkit.image.images import Image, Removed
    from labkit.image.references import Reference


async def list_(api: Api, request: Request) -> Answer:
    """What there is."""
    wanted, with_shared = _filters(request.query.filters()), request.query.flag("shared-size")

    def rows() -> list[object]:
        found = api.engine.images.list(wanted)
        return [row(each.image, each.names, len(api.engine.containers.using_image(each.image.id)) if with_shared else -1) for each in found]

    return Response.of(await api.call(rows))


def row(image: Image, names: Sequence[Reference], containers: int = -1) -> dict[str, object]:
    """An image in a list, by those of its names."""
    return {
        "Containers": containers,
        "Created": int(image.created.timestamp()) if image.created else 0,
        "Id": image.id,
        "Labels": dict(image.config.config.Labels) or None,
        "ParentId": "",
        "RepoDigests": [name.familiar for name in names if name.digest],
        "RepoTags": [name.familiar for name in names if name.tag],
        "SharedSize": -1,
        "Size": image.size,
        "VirtualSize": image.size,
    }


def _filters(found: Filters) -> list[str]:
    """As the engine reads them: ``name=value`` and ``name!=value``."""
    return [f"{name}={value}" for name, values in found.items() for value in values]


async def inspect(api: Api, request: Request) -> Answer:
    """All about one."""
    name = request.parameters["name"]
    try:
        return Response.of(await api.call(api.engine.images.inspect, name))
    except NotFound as error:
        raise NotFound(f"no such image: {name}: {error}") from None


async def history(api: Api, request: Request) -> Answer:
    """The steps by which it was made."""
    image = await api.call(api.engine.images.get, request.parameters["name"])
    return Response.of(
        [
            {
                "Comment": step.comment,
                "Created": int(step.created.timestamp()) if step.created else 0,
                "CreatedBy": step.created_by,
                "Id": step.id,
                "Size": step.size,
                "Tags": [*step.tags] or None,
            }
            for step in image.history
        ]
    )


async def create(api: Api, request: Request) -> Answer:
    """Pull it, or make it of an archive."""
    query = request.query
    if source := query.text("fromSrc"):
        return await _import(api, request, source)
    name, tag = query.text("fromImage"), query.text("tag")
    if not name:
        raise InvalidInput("fromImage: say which image")
    every = not tag and not _has_tag(name)
    whole = f"{name}{'@' if ':' in tag else ':'}{tag}" if tag else name
    who = credentials.one(request.headers.get("x-registry-auth", ""))
    platform, interest = query.text("platform"), Interest()

    def work(say: Say) -> None:
        with _hinted():
            api.engine.images.pull(
                whole, platform=platform, all_tags=every, credentials=who, report=lambda said: say(told(said)), interest=interest
            )

    return await api.lines(request, work, gone=interest.lose)


def _has_tag(name: str) -> bool:
    return "@" in name or ":" in name.rpartition("/")[2]


@contextmanager
def _hinted() -> Iterator[None]:
    """Who talks to the daemon logs in with docker."""
    try:
        yield
    except Denied as error:
        raise Denied(str(error).replace("labkit login", "docker login")) from None


async def _import(api: Api, request: Request, source: str) -> Answer:
    query = request.query
    if source != "-":
        raise Unsupported(f"import {source}: archives come with the request, as `docker import -` sends them: wget -O - {source} | …")
    repository, tag = query.text("repo"), query.text("tag")
    name = f"{repository}:{tag}" if repository and tag else repository
    archive = api.body(request)

    def work(say: Say) -> None:
        with archive:
            image = api.engine.images.import_(
                cast("BinaryIO", archive),
                name,
                changes=query.all("changes"),
                message=query.text("message"),
                platform=query.text("platform"),
            )
        say({"status": image.id})

    return await api.lines(request, work)


async def push(api: Api, request: Request) -> Answer:
    """Send it to the registry in its name."""
    name, tag = request.parameters["name"], request.query.text("tag")
    who, interest = credentials.one(request.headers.get("x-registry-auth", "")), Interest()

    def work(say: Say) -> None:
        whole = f"{name}:{tag}" if tag else name
        with _hinted():
            pushed = api.engine.images.push(
                whole, all_tags=not tag, credentials=who, report=lambda said: say(told(said)), interest=interest
            )
        for each in pushed:
            say({"progressDetail": {}, "aux": {"Tag": tag, "Digest": each.digest, "Size": each.size}})

    return await api.lines(request, work, always_streams=True, gone=interest.lose)


async def tag(api: Api, request: Request) -> Answer:
    """Give it one more name."""
    repository, wanted = request.query.text("repo"), request.query.text("tag")
    if not repository:
        raise InvalidInput("repo: say the name")
    await api.call(api.engine.images.tag, request.parameters["name"], f"{repository}:{wanted}" if wanted else repository)
    return Response(statuses.CREATED)


async def remove(api: Api, request: Request) -> Answer:
    """Take away a name, and with its last name the image."""
    force = request.query.flag("force")
    removed = await api.patiently(lambda: api.engine.images.remove(request.parameters["name"], force=force))
    return Response.of([removal(each) for each in removed])


def removal(line: Removed) -> dict[str, str]:
    """A line of what is gone."""
    return {"Untagged": line.untagged} if line.untagged else {"Deleted": line.deleted}


async def prune(api: Api, request: Request) -> Answer:
    """Remove those without a name, or all that no container uses."""
    filters = dict(request.query.filters())
    dangling = filters.pop("dangling", ("true",))
    every = any(value.lower() in ("false", "0") for value in dangling)
    pruned = await api.patiently(lambda: api.engine.images.prune(all=every, filters=_filters(filters)))
    return Response.of({"ImagesDeleted": [removal(each) for each in pruned.removed] or None, "SpaceReclaimed": pruned.bytes})


async def save(api: Api, request: Request) -> Answer:
    """Write images to an archive."""
    names = request.query.all("names") or tuple(filter(None, [request.parameters.get("name")]))
    if not names:
        raise InvalidInput("names: say which images")

    def work(out: Outlet) -> None:
        try:
            api.engine.images.save(names, cast("BinaryIO", out))
        except NotFound as error:
            said = str(error).removeprefix("No such image: ")
            raise NotFound(f"No such image: {next((name for name in names if said == f'{name}:latest'), said)}") from None

    return Streamed(await api.written(request, work), "application/x-tar")


async def load(api: Api, request: Request) -> Answer:
    """Read the images of an archive."""
    is_quiet, archive = request.query.flag("quiet"), api.body(request)

    def work(say: Say) -> None:
        with archive:
            report = (lambda _said: None) if is_quiet else (lambda said: say(told(said)))
            for line in api.engine.images.load(cast("BinaryIO", archive), report):
                say({"stream": f"{line}\n"})

    return await api.lines(request, work, always_streams=True)


async def search(_api: Api, _request: Request) -> Answer:
    """Docker Hub's search is no part of any registry's protocol."""
    raise LabError("search: Docker Hub's search takes Docker Hub; in the lab, `docker pull` knows the names of the lab's registry")


async def login(api: Api, request: Request) -> Answer:
    """Ask a registry whether it knows a user."""
    said = await request.json()
    if not isinstance(said, dict) or not all(isinstance(said.get(key, ""), str) for key in ("username", "password", "serveraddress")):
        raise InvalidInput("username, password and serveraddress must be strings")
    server = said.get("serveraddress") or "docker.io"
    host = server.partition("://")[2] if "://" in server else server
    host = host.partition("/")[0]

    def check() -> None:
        from labkit.image.registry import endpoints
        from labkit.image.registry.auth import Credential
        from labkit.image.registry.client import Client

        name = "docker.io" if host == "index.docker.io" else host
        with Client(endpoints.registry(name, api.engine.images.settings), Credential(said["username"], said["password"])) as client:
            client.ping()

    await api.patiently(check)
    return Response.of({"IdentityToken": "", "Status": "Login Succeeded"})


ROUTES = (
    Route("GET", "/images/json", list_),
    Route("GET", "/images/search", search),
    Route("GET", "/images/get", save),
    Route("GET", "/images/{name:.*}/get", save),
    Route("GET", "/images/{name:.*}/json", inspect),
    Route("GET", "/images/{name:.*}/history", history),
    Route("POST", "/images/create", create),
    Route("POST", "/images/load", load),
    Route("POST", "/images/prune", prune),
    Route("POST", "/images/{name:.*}/push", push),
    Route("POST", "/images/{name:.*}/tag", tag),
    Route("DELETE", "/images/{name:.*}", remove),
    Route("POST", "/auth", login),
)
