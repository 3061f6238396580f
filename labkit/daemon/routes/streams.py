"""What containers say and are told: attach, exec, logs, statistics.

Source: Docker Engine API v1.47, Container, Exec. Shown in notebook 06.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

from labkit.daemon import attachments, statuses
from labkit.daemon.api import Api, Say
from labkit.daemon.messages import Answer, Hijacked, Request, Response, Streamed
from labkit.daemon.router import Route
from labkit.daemon.routes.containers import named, size
from labkit.daemon.wire import Wire
from labkit.engine import config, detach_keys, statistics, streams, times
from labkit.engine.execs import ExecConfig
from labkit.engine.logs import Log
from labkit.errors import InvalidInput, LabError

_ENOUGH = 1 << 20  # bytes of a log that are sent in one go
_PATIENCE = 2.0  # seconds


async def attach(api: Api, request: Request) -> Answer:
    """Be told what it says, and tell it what it reads; before it runs, or while."""
    container, query = named(api, request), request.query
    has_past, keys = query.flag("logs"), query.text("detachKeys")
    if keys:
        detach_keys.parse(keys)  # without a terminal nobody watches for them, but wrong is wrong
    wanted = {name: query.flag(name) for name in ("stdin", "stdout", "stderr", "logs", "stream")}
    line = await api.call(lambda: streams.attach(container, **wanted, detach_keys=keys))

    async def talk(wire: Wire) -> None:
        await attachments.talk(line, wire, has_past)

    return Hijacked(talk, attachments.content_type(request, line.tty))


async def exec_create(api: Api, request: Request) -> Answer:
    """Say what is to be executed in it."""
    container = named(api, request)
    wanted = config.decode(ExecConfig, await request.json({}))
    return Response.of({"Id": await api.call(api.engine.execs.create, container, wanted)}, statuses.CREATED)


async def exec_start(api: Api, request: Request) -> Answer:
    """Execute it; attached, unless ``Detach``."""
    id, body = request.parameters["id"], await request.json({})
    if not isinstance(body, dict):
        raise InvalidInput(f"the body must be an object, not {body!r:.60}")
    console = body.get("ConsoleSize")
    is_size = isinstance(console, list) and len(console) == 2 and all(type(number) is int for number in console)
    terminal = (console[0], console[1]) if isinstance(console, list) and is_size else None
    ended = asyncio.Event()

    def tell() -> None:
        api.loop.call_soon_threadsafe(ended.set)

    execs, detach = api.engine.execs, body.get("Detach") is True
    is_terminal = execs.get(id).Config.Tty
    if detach:
        line = await api.call(execs.start, id, detach, terminal, tell)
        line.close()
        return Response(statuses.OK)

    async def talk(wire: Wire) -> None:
        # After the head, as Docker does it: docker-py loses what comes in one piece with that.
        try:
            line = await api.call(execs.start, id, detach, terminal, tell)
        except LabError as error:
            text = f"{error}\r\n".encode()
            await wire.write(text if is_terminal else attachments.frame(1, text))
            return
        await attachments.talk(line, wire)
        if not line.detached:
            try:  # who has heard the end of the output asks for the exit code next
                await asyncio.wait_for(ended.wait(), _PATIENCE)
            except TimeoutError:
                pass

    return Hijacked(talk, attachments.content_type(request, is_terminal))


async def exec_resize(api: Api, request: Request) -> Answer:
    """Set the size of its terminal."""
    height, width = size(request)
    await api.call(api.engine.execs.resize, request.parameters["id"], height, width)
    return Response(statuses.OK)


async def exec_inspect(api: Api, request: Request) -> Answer:
    """How it is."""
    found = api.engine.execs.get(request.parameters["id"])
    wanted = found.Config
    entrypoint, *arguments = wanted.Cmd
    return Response.of(
        {
            "ID": found.ID,
            "Running": found.Running,
            "ExitCode": found.ExitCode,
            "ProcessConfig": {
                "tty": wanted.Tty,
                "entrypoint": entrypoint,
                "arguments": arguments,
                "privileged": wanted.Privileged,
                **({"user": wanted.User} if wanted.User else {}),
            },
            "OpenStdin": wanted.AttachStdin,
            "OpenStderr": wanted.AttachStderr,
            "OpenStdout": wanted.AttachStdout,
            "CanRemove": False,
            "ContainerID": found.ContainerID,
            "DetachKeys": wanted.DetachKeys,
            "Pid": found.Pid,
        }
    )


async def logs(api: Api, request: Request) -> Answer:
    """What it has said, and with ``follow`` what it says."""
    container, query = named(api, request), request.query
    tail = query.text("tail") or "all"
    moments = {name: times.moment(text) if (text := query.text(name)) not in ("", "0") else 0 for name in ("since", "until")}
    if not (query.flag("stdout") or query.flag("stderr")):
        raise InvalidInput("Bad parameters: you must choose at least one stream")

    def begin() -> Log:
        return Log(
            container,
            stdout=query.flag("stdout"),
            stderr=query.flag("stderr"),
            follow=query.flag("follow"),
            tail=int(tail) if tail.isdecimal() and len(tail) < 19 else -1,
            since=moments["since"],
            until=moments["until"],
            timestamps=query.flag("timestamps"),
        )

    is_terminal = container.record.Config.Tty
    log = await api.call(begin)
    return Streamed(_lines(api, log, is_terminal), attachments.content_type(request, is_terminal))


async def _lines(api: Api, log: Log, is_terminal: bool) -> AsyncIterator[bytes]:
    fd = os.dup(log.fileno())
    try:
        while True:
            chunk = await api.call(_taken, log, is_terminal)
            if chunk:
                yield chunk
            elif log.ended:
                return
            else:
                await attachments.ready(api.loop, fd)
    finally:
        os.close(fd)
        log.close()


def _taken(log: Log, is_terminal: bool) -> bytes:
    """What there is of a log now, a frame a line, as Docker has it."""
    found = bytearray()
    while len(found) < _ENOUGH and (batch := log.take(0)):
        stream, lines = batch
        for line in lines:
            found += line if is_terminal else attachments.frame(stream, line)
    return bytes(found)


async def stats(api: Api, request: Request) -> Answer:
    """What it uses: once, or each second."""
    container, query = named(api, request), request.query
    if query.flag("stream", default=True):

        def work(say: Say) -> None:
            for each in statistics.stream(container):
                say(each)

        return await api.lines(request, work)
    return Response.of(await api.patiently(statistics.once, container, query.flag("one-shot")))


ROUTES = (
    Route("POST", "/containers/{name:.*}/attach", attach),
    Route("GET", "/containers/{name:.*}/logs", logs),
    Route("GET", "/containers/{name:.*}/stats", stats),
    Route("POST", "/containers/{name:.*}/exec", exec_create),
    Route("POST", "/exec/{id}/start", exec_start),
    Route("POST", "/exec/{id}/resize", exec_resize),
    Route("GET", "/exec/{id}/json", exec_inspect),
)
