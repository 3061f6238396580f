"""The daemon itself: ping, version, info, events, login.

Source: Docker Engine API v1.47, System.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from labkit.daemon import statuses
from labkit.daemon.api import Api, encoded
from labkit.daemon.messages import JSON, Answer, Request, Response, Streamed
from labkit.daemon.router import ANNOUNCED, NEWEST, OLDEST, Route
from labkit.engine import times
from labkit.errors import InvalidInput

if TYPE_CHECKING:
    from labkit.engine.events import Event, Subscription

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


async def ping(_api: Api, request: Request) -> Answer:
    """What every client asks first. What it learns is in the headers that all answers have."""
    headers = (
        ("Builder-Version", "1"),  # the classic builder
        ("Swarm", "inactive"),
        ("Cache-Control", "no-cache, no-store, must-revalidate"),
        ("Pragma", "no-cache"),
    )
    return Response(statuses.OK, b"" if request.method == "HEAD" else b"OK", "text/plain; charset=utf-8", headers)


async def version(_api: Api, _request: Request) -> Answer:
    """Versions of the engine and of what it stands on."""
    from labkit.daemon import about

    uname = os.uname()
    known = {
        "ApiVersion": ANNOUNCED,
        "MinAPIVersion": OLDEST,
        "GitCommit": "",
        "GoVersion": "",
        "Os": "linux",
        "Arch": ARCHITECTURES.get(uname.machine, uname.machine),
        "KernelVersion": uname.release,
        "BuildTime": "",
    }
    details = {**known, "Experimental": "false", "Python": sys.version.partition(" ")[0], "NewestAPIVersion": NEWEST}
    engine = {"Name": "Engine", "Version": about.labkit_version(), "Details": details}
    told = {"Platform": {"Name": "labkit"}, "Components": [engine], "Version": about.labkit_version(), **known, "Experimental": False}
    return Response.of(told)


async def info(api: Api, _request: Request) -> Answer:
    """What this machine is, and what is on it."""
    from labkit.daemon import about

    return Response.of(await api.call(about.info, api.engine, api.settings))


async def events(api: Api, request: Request) -> Answer:
    """What happens, as it happens."""
    query = request.query
    since, until = (times.moment(text) if (text := query.text(name)) else None for name in ("since", "until"))
    if since is not None and until is not None and since > until:
        raise InvalidInput(f"`since` time ({query.text('since')}) cannot be after `until` time ({query.text('until')})")
    ready = asyncio.Event()

    def wake() -> None:
        if not api.loop.is_closed():
            api.loop.call_soon_threadsafe(ready.set)

    subscription = api.engine.events.subscribe(since, until, query.filters(), wake)
    return Streamed(_told(subscription, ready, until), JSON)


async def _told(subscription: Subscription, ready: asyncio.Event, until: int | None) -> AsyncIterator[bytes]:
    with subscription:
        while True:
            ready.clear()
            while event := subscription.take(timeout=0):
                yield encoded(told(event))
            if subscription.ended:
                return
            left = None if until is None else max(until - times.now(), 0) / times.SECOND
            try:
                await asyncio.wait_for(ready.wait(), left)
            except TimeoutError:
                continue


def told(event: Event) -> dict[str, object]:
    """An event in JSON; ``status``, ``id`` and ``from`` are for old clients."""
    old: dict[str, object] = {}
    if event.Type in ("container", "image"):
        old = {"status": event.Action, "id": event.ID}
        if event.Type == "container":
            old["from"] = event.Attributes.get("image", "")
    actor = {"ID": event.ID, "Attributes": dict(event.Attributes)}
    moment = {"time": event.time // times.SECOND, "timeNano": event.time}
    return {**old, "Type": event.Type, "Action": event.Action, "Actor": actor, "scope": event.scope, **moment}


ROUTES = (
    Route("HEAD", "/_ping", ping),
    Route("GET", "/_ping", ping),
    Route("GET", "/version", version),
    Route("GET", "/info", info),
    Route("GET", "/events", events),
)
