"""An attached client: what is typed goes to the program, what the program says goes back, in Docker's frames.

    client ◀── 1 0 0 0 | length | data ── Attachment ◀── program          2 is stderr; with a terminal there are no frames
           ──────────────── data ───────▶            ──▶

The client hears the end of the connection when the program's output has ended, or when the detach keys were typed. Its own end comes
first, often at once: then the program's input ends, where that is the client's, and the output goes on. A client that does not read
holds up the program. Source: Docker Engine API v1.47, ContainerAttach, "Stream format".
"""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Awaitable, Callable
from contextlib import suppress
from struct import Struct
from typing import TYPE_CHECKING

from labkit.daemon.messages import Request

if TYPE_CHECKING:
    from labkit.daemon.wire import Wire
    from labkit.engine.streams import Attachment

_HEADER = Struct(">BxxxL")
_PIECE = 32768
"""Bytes of input that are passed on at once: as many as certainly find room when there is any."""
_IN_A_ROW = 32


def frame(stream: int, data: bytes) -> bytes:
    """A piece of a stream, with its header."""
    return _HEADER.pack(stream, len(data)) + data


def content_type(request: Request, is_terminal: bool) -> str:
    """What the stream is called. Clients before 1.42 know one name for both."""
    multiplexed = not is_terminal and not (request.version and tuple(map(int, request.version.split("."))) < (1, 42))
    return f"application/vnd.docker.{'multiplexed' if multiplexed else 'raw'}-stream"


async def talk(line: Attachment, wire: Wire, has_past: bool = False) -> None:
    """Pass on both ways until the output ends, or the client lets go; closes the line. ``has_past``: the log comes first."""
    # A number of our own for the socket: the line may be closed, by the detach keys, while we wait for it.
    fd = os.dup(line.fileno())
    listening = asyncio.ensure_future(_input(line, wire, fd))
    try:
        await _output(line, wire.write, fd, has_past)
    except asyncio.CancelledError:
        if wire.is_gone:
            await _last_words(line, fd, listening)
        raise
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
        os.close(fd)
        line.close()


async def _output(line: Attachment, write: Callable[[bytes], Awaitable[None]], fd: int, has_past: bool = False) -> None:
    while has_past and (found := await asyncio.to_thread(next, line.past, None)):  # from the disk
        await write(_told(line, found[0], b"".join(found[1])))
    loop = asyncio.get_running_loop()
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while True:
        await ready(loop, fd)
        for _ in range(_IN_A_ROW):
            packet = line.receive()
            if packet is None:
                return
            try:
                await write(_told(line, *packet))
            except ConnectionError:
                write = _to_nobody  # until the client hangs up, which may be long after it has stopped to listen
            if not poll.poll(0):
                break


async def _to_nobody(_data: bytes) -> None:
    """The program is not to wait for somebody who does not listen any more."""


async def _last_words(line: Attachment, fd: int, listening: asyncio.Future[None]) -> None:
    """The client has gone: what it said before that, the program hears all the same."""
    dropping = asyncio.ensure_future(_output(line, _to_nobody, fd))
    try:
        await asyncio.wait({listening, dropping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        dropping.cancel()


def _told(line: Attachment, stream: int, data: bytes) -> bytes:
    return data if line.tty else frame(stream, data)


async def _input(line: Attachment, wire: Wire, fd: int) -> None:
    loop = asyncio.get_running_loop()
    while data := await wire.read(_PIECE):
        await ready(loop, fd, is_for_writing=True)
        line.send(data)
        if line.detached:
            return
    line.close_input()


async def ready(loop: asyncio.AbstractEventLoop, fd: int, is_for_writing: bool = False) -> None:
    """Wait until something can be read from a descriptor, or written to it."""
    found: asyncio.Future[None] = loop.create_future()
    add, remove = (loop.add_writer, loop.remove_writer) if is_for_writing else (loop.add_reader, loop.remove_reader)

    def tell() -> None:
        if not found.done():
            found.set_result(None)

    add(fd, tell)
    try:
        await found
    finally:
        remove(fd)
