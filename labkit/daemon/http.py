"""HTTP/1.1 over one connection: requests are read, answered, and the connection is kept for the next.

    head ──▶ answer(Request) ──┬─▶ Response   head and body in one piece
     ▲       body, as it is    ├─▶ Streamed   head at once, then chunks; the client going away cancels them
     │       asked for         └─▶ Hijacked   "101 UPGRADED", and the bytes are somebody else's, to the end
     └── what of the body nobody wanted is read and thrown away

The rules are h11's; here are the reading, the writing and the limits. What is no HTTP is answered with 400 and a sentence, and then
the connection is closed. Source: RFC 9112; ``h11``'s manual; for Docker's use of 101, the Engine API's ContainerAttach.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from urllib.parse import unquote

import h11

from labkit.daemon import statuses
from labkit.daemon.failures import ClientGone, Malformed
from labkit.daemon.hangups import Hangups
from labkit.daemon.messages import JSON, Answer, Headers, Hijacked, Request, Response, Streamed
from labkit.daemon.queries import Query
from labkit.daemon.wire import Wire
from labkit.errors import LabError

_log = logging.getLogger(__name__)

BLOCK = 1 << 18
LARGEST_HEAD = 1 << 16
"""Bytes of a request's line and headers."""

_LINGER = 2.0  # seconds
_UPGRADED = b"Connection: Upgrade\r\nUpgrade: tcp\r\n"

Application = Callable[[Request], Awaitable[Answer]]


class Connection:
    """One client's connection; ``serve`` is its life. ``headers`` are sent with every answer."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Application, hangups: Hangups, headers: Headers = ()
    ) -> None:
        self._reader, self._writer, self._answer, self._hangups = reader, writer, answer, hangups
        self._headers = [(name.encode(), value.encode()) for name, value in headers]
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST_HEAD)
        self._is_at_end = False

    async def serve(self) -> None:
        """Until the client has gone, or has sent what is no HTTP."""
        try:
            while (request := await self._next()) and await self._exchange(request):
                self._h11.start_next_cycle()
        except h11.RemoteProtocolError as error:
            await self._refuse(error)
        except (ConnectionError, ClientGone):
            pass  # whoever asked does not want to know any more
        finally:
            self._writer.close()

    # Reading

    async def _next(self) -> Request | None:
        """The head of the next request; None if there is none any more."""
        event = await self._event()
        if not isinstance(event, h11.Request):
            return None
        if event.http_version not in (b"1.0", b"1.1"):
            raise h11.RemoteProtocolError("this daemon speaks HTTP/1.1")
        target = event.target.decode("ascii", "replace")
        if target.startswith("http://"):  # an absolute form, as proxies get it
            target = "/" + target.partition("://")[2].partition("/")[2]
        path, _, query = target.partition("?")
        try:
            parsed = Query.parse(query)
        except LabError as error:
            raise h11.RemoteProtocolError(str(error)) from None
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        return Request(event.method.decode("ascii"), unquote(path), parsed, headers, self._body())

    async def _event(self) -> h11.Event | None:
        """What comes next; None if that has to wait until we have answered."""
        while not isinstance(event := self._h11.next_event(), h11.Event):
            if event is h11.PAUSED:
                return None
            if self._h11.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
                self._writer.write(self._h11.send(go_on) or b"")
            data = await self._reader.read(BLOCK)
            self._is_at_end = not data
            self._h11.receive_data(data)
        return event

    async def _body(self) -> AsyncIterator[bytes]:
        """The request's body. Raises ``ClientGone`` if it ends too early."""
        while self._h11.their_state is h11.SEND_BODY:
            try:
                event = await self._event()
            except h11.RemoteProtocolError as error:
                if self._is_at_end:
                    raise ClientGone("the client went away before it had sent everything") from None
                raise Malformed(f"malformed HTTP request: {error}") from None
            if isinstance(event, h11.Data):
                yield bytes(event.data)

    # Answering

    async def _exchange(self, request: Request) -> bool:
        """Answer one request; whether there may be another."""
        with self._hangups.watched(self._descriptor, lambda: request.gone and request.gone()):
            answer = await self._answer(request)
        if isinstance(answer, Hijacked):
            await self._hand_over(request, answer)
            return False
        if isinstance(answer, Streamed):
            await self._stream(answer, request.method == "HEAD")
        else:
            self._send(answer, request.method == "HEAD")
        await self._writer.drain()
        if request.reading:
            await request.reading
        async for _ in request.body:
            pass
        return self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE

    def _send(self, answer: Response, is_head: bool) -> None:
        has_body = answer.status >= statuses.OK and answer.status not in (statuses.NO_CONTENT, statuses.NOT_MODIFIED)
        length = (("Content-Length", str(len(answer.body))),) if has_body else ()
        head = self._head(answer.status, answer.content_type, (*answer.headers, *length))
        body = self._h11.send(h11.Data(data=answer.body)) if answer.body and has_body and not is_head else b""
        end = self._h11.send(h11.EndOfMessage())
        self._writer.write(head + (body or b"") + (end or b""))

    async def _stream(self, answer: Streamed, is_head: bool) -> None:
        """Head, chunks, end. Stops when the client hangs up; if the chunks fail half-way, the connection ends without their end."""
        task = asyncio.current_task()
        assert task
        try:
            with self._hangups.watched(self._descriptor, task.cancel):
                self._writer.write(self._head(answer.status, answer.content_type, answer.headers))
                if not is_head:
                    await self._send_chunks(answer.chunks)
                self._writer.write(self._h11.send(h11.EndOfMessage()) or b"")
        except asyncio.CancelledError:
            if task.uncancel():  # somebody else, too, wants it to end
                raise
            raise ClientGone("the client went away") from None
        except ConnectionError:
            raise
        except (LabError, OSError) as error:
            if not isinstance(error, ClientGone):
                _log.error("an answer broke off: %s", error)
            raise ClientGone("the answer broke off") from None
        finally:
            with suppress(AttributeError):  # an iterator that is no generator
                await answer.chunks.aclose()  # type: ignore[attr-defined]

    async def _send_chunks(self, chunks: AsyncIterator[bytes]) -> None:
        async for chunk in chunks:
            if chunk:
                self._writer.write(self._h11.send(h11.Data(data=chunk)) or b"")
                await self._writer.drain()

    async def _hand_over(self, request: Request, answer: Hijacked) -> None:
        """Switch to raw bytes, and let somebody else talk; if the client hangs up, they are cancelled."""
        async for _ in request.body:
            pass
        status, extra = (statuses.SWITCHING_PROTOCOLS, _UPGRADED) if request.upgrades else (statuses.OK, b"")
        kind = answer.content_type.encode()
        self._writer.write(b"HTTP/1.1 %d %s\r\nContent-Type: %s\r\n%s\r\n" % (status, statuses.REASONS[status], kind, extra))
        task = asyncio.current_task()
        assert task
        wire = await Wire.taken_over(self._reader, self._writer, self._h11.trailing_data[0])

        def hang_up() -> None:
            wire.is_gone = True
            task.cancel()

        try:
            with self._hangups.watched(self._descriptor, hang_up):
                await answer.talk(wire)
            await wire.end()
        except asyncio.CancelledError:
            if task.uncancel():
                raise
        finally:
            wire.close()

    def _head(self, status: int, content_type: str, headers: Headers) -> bytes:
        kind = (("Content-Type", content_type),) if content_type else ()
        lines = [(name.encode(), value.encode("latin-1", "replace")) for name, value in (*kind, *headers)]
        reason = statuses.REASONS.get(status, b"")
        return self._h11.send(h11.Response(status_code=status, headers=[*self._headers, *lines], reason=reason)) or b""

    @property
    def _descriptor(self) -> int:
        return int(self._writer.get_extra_info("socket").fileno())

    async def _refuse(self, error: h11.RemoteProtocolError) -> None:
        """Say what was wrong."""
        if self._h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return  # half an answer is out already
        # Of h11's hints there is one that says more than 400.
        status = error.error_status_hint if error.error_status_hint == statuses.TOO_LARGE else statuses.BAD_REQUEST
        body = json.dumps({"message": f"malformed HTTP request: {error}"}).encode() + b"\n"
        reason = statuses.REASONS[status]
        head = b"HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        with suppress(OSError, TimeoutError):
            self._writer.write(head % (status, reason, JSON.encode(), len(body)) + body)
            await self._writer.drain()
        await self._linger()

    async def _linger(self) -> None:
        """Let the client read to the end: a connection that is closed over bytes of theirs breaks before they have."""
        with suppress(OSError, TimeoutError):
            self._writer.write_eof()
            async with asyncio.timeout(_LINGER):
                while await self._reader.read(BLOCK):
                    pass
