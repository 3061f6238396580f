"""Builds: ``docker build`` with the classic builder, whose context comes as a tar archive.

    context ──tar──▶ Inlet ──▶ unpacked, built ──lines──▶ {"stream": "Step 1/9 : FROM busybox\\n"} … {"aux": {"ID": "sha256:…"}}

Source: Docker Engine API v1.47, ImageBuild. Shown in notebook 09.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, cast

from labkit.daemon import credentials
from labkit.daemon.api import Api, Say
from labkit.daemon.messages import Answer, Request, Response
from labkit.daemon.progress import told
from labkit.daemon.router import Route
from labkit.errors import Unsupported
from labkit.image.registry.interest import Interest

if TYPE_CHECKING:
    from labkit.engine.build.output import Output
    from labkit.image.images import Image

_CLASSIC = "this daemon has the classic builder, not BuildKit: DOCKER_BUILDKIT=0 docker build …"


async def build(api: Api, request: Request) -> Answer:
    """Build an image; tells each step as it is done."""
    query = request.query
    if query.text("version") == "2":
        raise Unsupported(_CLASSIC)
    if query.text("remote"):
        raise Unsupported(f"build {query.text('remote'):.100}: the context must come with the request: docker build DIRECTORY")
    is_quiet = query.flag("q")
    who = credentials.several(request.headers.get("x-registry-config", ""))
    tags, labels, args = query.all("t"), query.strings("labels"), query.strings("buildargs")
    body, interest = api.body(request), Interest()

    def work(say: Say) -> None:
        from labkit.engine.build import context
        from labkit.engine.build.running import CommandFailed

        def fetch(name: str) -> Image:
            report = (lambda _said: None) if is_quiet else (lambda said: say(told(said)))
            return api.engine.images.pull(name, credentials=who, report=report, interest=interest)[0]

        def hear(said: Output) -> None:
            say(None if is_quiet or not said.text else {"stream": said.text})

        with body, context.received(cast("BinaryIO", body), query.text("dockerfile") or "Dockerfile") as received:
            try:
                image = api.engine.images.build(
                    received,
                    tags=tags,
                    args=args,
                    labels=labels,
                    target=query.text("target"),
                    no_cache=query.flag("nocache"),
                    network=query.text("networkmode") or "default",
                    always_pull=query.flag("pull"),
                    fetch=fetch,
                    report=hear,
                )
            except CommandFailed as error:
                say({"errorDetail": {"code": error.code, "message": str(error)}, "error": str(error)})
                return
        say({"stream": f"{image.id}\n"} if is_quiet else {"aux": {"ID": image.id}})

    return await api.lines(request, work, gone=interest.lose)


async def buildkit(_api: Api, _request: Request) -> Answer:
    """What BuildKit's clients ask for."""
    raise Unsupported(_CLASSIC)


async def prune(api: Api, request: Request) -> Answer:
    """Forget what builds have kept for the next one."""
    freed = await api.patiently(api.engine.images.prune_builds)
    return Response.of({"CachesDeleted": None, "SpaceReclaimed": freed})


ROUTES = (
    Route("POST", "/build", build),
    Route("POST", "/session", buildkit),
    Route("POST", "/grpc", buildkit),
    Route("POST", "/build/prune", prune),
)
