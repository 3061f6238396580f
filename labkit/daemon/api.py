"""What every route has at hand: the engine, the settings, and threads to call the engine in.

    await api.call(engine.containers.get, "web")             one of a few threads: for what answers at once
    await api.patiently(web.stop, 30)                        a thread of its own: for what may wait, or take its time

    >>> return await api.lines(request, lambda say: images.pull("nginx", report=lambda told: say({"status": told.status})))

The event loop never waits for the engine, and no number of clients that wait takes the threads away from those who do not.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeVar

from labkit.daemon import statuses
from labkit.daemon.bodies import Inlet, Outlet
from labkit.daemon.failures import ClientGone, Malformed
from labkit.daemon.messages import JSON, Answer, Request, Response, Streamed
from labkit.errors import LabError

if TYPE_CHECKING:
    from labkit.daemon.settings import Settings
    from labkit.engine.engine import Engine

T = TypeVar("T")
Say = Callable[[object], None]

_log = logging.getLogger(__name__)
_THREADS = 16


class Api:
    """One for the daemon."""

    def __init__(self, engine: Engine, settings: Settings, loop: asyncio.AbstractEventLoop, host: str = "") -> None:
        self.engine, self.settings, self.loop, self.host = engine, settings, loop, host
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="labkit-call")

    def call(self, function: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
        """Call something of the engine's that answers at once."""
        return asyncio.wrap_future(self._threads.submit(function, *arguments), loop=self.loop)

    def patiently(self, function: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
        """Call something that may wait for long."""
        future: Future[T] = Future()

        def run() -> None:
            future.set_running_or_notify_cancel()
            try:
                future.set_result(function(*arguments))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=run, name="labkit-patient", daemon=True).start()
        return asyncio.wrap_future(future, loop=self.loop)

    async def lines(
        self, request: Request, work: Callable[[Say], None], *, always_streams: bool = False, gone: Callable[[], None] | None = None
    ) -> Answer:
        """The answer of a request that tells what it does while it does it, as JSON, a line each.

        ``work`` runs in a thread and says what there is to say. What it raises before it has said anything is the answer, unless the
        client expects a stream in any case (``always_streams``); after that it is the last line. When the client goes away, the next
        ``say`` raises ``ClientGone``, and so does that of None, which says nothing; and ``gone`` is called.
        """

        def tell(outlet: Outlet) -> None:
            def say(line: object) -> None:
                if line is None:
                    outlet.check()
                else:
                    outlet.write(encoded(line))

            work(say)

        outlet = self._begin(request, tell, gone)
        try:
            first = await outlet.first()
        except Malformed:
            raise
        except LabError as error:
            if not always_streams:
                raise
            first = encoded(failure(error))
            outlet.end()
        return Streamed(_with_failure(outlet.chunks(first)), JSON) if first else Response(statuses.OK, b"", JSON)

    async def written(self, request: Request, work: Callable[[Outlet], None]) -> AsyncIterator[bytes]:
        """What ``work`` writes, from a thread. Its first bytes are there; what it raised before them is raised."""
        outlet = self._begin(request, work)
        return outlet.chunks(await outlet.first())

    def _begin(self, request: Request, work: Callable[[Outlet], None], gone: Callable[[], None] | None = None) -> Outlet:
        outlet = Outlet(self.loop, gone)
        request.gone = outlet.abandon

        def run() -> None:
            try:
                work(outlet)
                outlet.end()
            except BaseException as error:
                outlet.end(error)

        threading.Thread(target=run, name="labkit-patient", daemon=True).start()
        return outlet

    def body(self, request: Request) -> Inlet:
        """The request's body as a file for a thread. Close it when nobody reads on."""
        inlet = Inlet(self.loop)
        request.reading = self.loop.create_task(inlet.feed(request.body))
        return inlet

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def encoded(value: object) -> bytes:
    """A line of JSON."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def failure(error: LabError) -> dict[str, object]:
    """How a stream tells that it has failed."""
    return {"errorDetail": {"message": str(error)}, "error": str(error)}


async def _with_failure(chunks: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with aclosing(chunks):
        try:
            async for chunk in chunks:
                yield chunk
        except ClientGone:
            raise
        except LabError as error:
            yield encoded(failure(error))
        except Exception:
            _log.exception("a stream broke off")
            yield encoded({"errorDetail": {"message": "internal error"}, "error": "internal error"})
