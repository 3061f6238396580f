"""Bytes between the event loop and a thread, in either direction, with neither waiting longer nor keeping more than it must.

    client ──chunks──▶ Inlet ──read()──▶ a thread of the engine's          docker build, load, cp
    client ◀──chunks── Outlet ◀─write()── a thread of the engine's         docker pull, save, export

    >>> with api.body(request) as archive:
    ...     await api.patiently(images.load, archive)

When there is too much of it, the faster side waits for the slower. When the client goes away, the thread is told with ``ClientGone`` at
its next read or write, and so stops what nobody waits for any more.
"""

from __future__ import annotations

import asyncio
import io
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from labkit.daemon.failures import ClientGone
from labkit.errors import LabError

_FULL = 4 << 20  # bytes that may wait


class Inlet(io.RawIOBase):
    """The body of a request as a file for a thread to read."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._changed = threading.Condition()
        self._room = asyncio.Event()
        self._is_whole = False
        self._failure: LabError | None = None

    async def feed(self, chunks: AsyncIterator[bytes]) -> None:
        """Take the body in, to its end; what goes wrong with it is for the reader to hear."""
        try:
            async for chunk in chunks:
                with self._changed:
                    if self.closed or not chunk:
                        continue  # nobody wants it, but the client wants to get rid of it
                    self._waiting.append(chunk)
                    self._size += len(chunk)
                    is_full = self._size > _FULL
                    if is_full:
                        self._room.clear()
                    self._changed.notify()
                if is_full:
                    await self._room.wait()
            self._end(None)
        except LabError as error:
            self._end(error)
        except BaseException:
            self._end(ClientGone("the client went away before it had sent everything"))
            raise

    def _end(self, failure: LabError | None) -> None:
        with self._changed:
            self._is_whole, self._failure = True, failure
            self._changed.notify()

    # For the thread

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: object) -> int:
        """Wait for some bytes; 0 at the end. Raises ``ClientGone`` if that has come too early."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]  # RawIOBase says: whatever has a buffer
        with self._changed:
            while not self._waiting:
                if self._failure:
                    raise self._failure
                if self._is_whole:
                    return 0
                self._changed.wait()
            chunk = self._waiting.popleft()
            taken = min(len(chunk), len(view))
            if taken < len(chunk):
                self._waiting.appendleft(chunk[taken:])
            was_full, self._size = self._size > _FULL, self._size - taken
            if was_full and self._size <= _FULL:
                self._loop.call_soon_threadsafe(self._room.set)
        view[:taken] = chunk[:taken]
        return taken

    def close(self) -> None:
        """Nobody reads on: whoever feeds need not wait."""
        super().close()
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._room.set)


class Outlet:
    """What a thread writes, as chunks for the client. ``gone`` is called if that goes away before it has all of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, gone: Callable[[], None] | None = None) -> None:
        self._loop = loop
        self._gone = gone
        self._waiting: list[bytes] = []
        self._size = 0
        self._changed = threading.Condition()
        self._ready = asyncio.Event()
        self._is_whole = False
        self._is_abandoned = False
        self._failure: BaseException | None = None

    # For the thread

    def write(self, data: bytes) -> int:
        """Send; waits while the client does not read. Raises ``ClientGone`` if nobody is there any more."""
        with self._changed:
            while self._size > _FULL and not self._is_abandoned:
                self._changed.wait()
            self.check()
            if not data:
                return 0  # it would look like the end
            self._waiting.append(data)
            self._size += len(data)
            if len(self._waiting) == 1:
                self._loop.call_soon_threadsafe(self._ready.set)
        return len(data)

    def flush(self) -> None:
        """Everything is on its way."""

    def check(self) -> None:
        """Raise ``ClientGone`` if nobody is there any more."""
        if self._is_abandoned:
            raise ClientGone("the client went away")

    def end(self, failure: BaseException | None = None) -> None:
        """That was all; with a ``failure`` the client's side raises it, after what was written."""
        with self._changed:
            self._is_whole, self._failure = True, failure
        self._loop.call_soon_threadsafe(self._ready.set)

    # For the event loop

    async def take(self) -> bytes:
        """What has been written since the last time, at least a byte; b"" at the end. Raises what it ended with."""
        while True:
            with self._changed:
                parts, self._waiting = self._waiting, []
                self._size = 0
                self._ready.clear()
                is_whole = self._is_whole
                self._changed.notify()
            if parts:
                return b"".join(parts)
            if is_whole:
                if self._failure:
                    raise self._failure
                return b""
            await self._ready.wait()

    async def first(self) -> bytes:
        """The first of it, for ``chunks``; or what it has ended with instead."""
        try:
            return await self.take()
        except BaseException:
            self.abandon()
            raise

    async def chunks(self, first: bytes = b"") -> AsyncGenerator[bytes, None]:
        """``first`` and everything after it; ends for the thread, too, if nobody wants it any more."""
        try:
            chunk = first or await self.take()
            while chunk:
                yield chunk
                chunk = await self.take()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Nobody wants it any more: the thread hears of it when it writes."""
        with self._changed:
            is_early, self._is_abandoned = not (self._is_whole or self._is_abandoned), True
            self._changed.notify()
        if is_early and self._gone:
            self._gone()
