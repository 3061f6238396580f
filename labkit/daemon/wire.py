"""A connection that is no longer HTTP: bytes both ways, each way with an end of its own.

    >>> data = await wire.read()          # b"" when the client has nothing more to say: it may listen still
    >>> await wire.write(b"hello")        # waits while the client does not read
    >>> await wire.end()                  # we have nothing more to say

Docker's clients end their side at once where there is no input to send, and wait for the other end. Others say a last word and go: what
they have said is there to be read when they have gone and nothing can be written any more. asyncio's streams forget it at the first
write that fails, so this is the socket itself.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Self

_BLOCK = 65536
_LINGER = 2.0  # seconds


class Wire:
    """Both ways of a connection. ``first`` are bytes that came in before."""

    def __init__(self, line: socket.socket, first: bytes = b"") -> None:
        self._line, self._first = line, first
        self._loop = asyncio.get_running_loop()
        self.is_gone = False
        """The client has hung up."""

    @classmethod
    async def taken_over(cls, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes) -> Self:
        """The connection of these streams, once all that was written to them is sent. They are only good for ``close`` from then on."""
        writer.transport.set_write_buffer_limits(0)
        await writer.drain()
        reader.feed_eof()
        first += await reader.read()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        return cls(writer.get_extra_info("socket").dup(), first)

    async def read(self, size: int = _BLOCK) -> bytes:
        """What the client has sent; b"" at the end."""
        if self._first:
            data, self._first = self._first[:size], self._first[size:]
            return data
        try:
            return await self._loop.sock_recv(self._line, size)
        except OSError:
            return b""

    async def write(self, data: bytes) -> None:
        """Send. Raises ``ConnectionError`` if nobody is there any more."""
        await self._loop.sock_sendall(self._line, data)

    async def end(self) -> None:
        """Say that this is all, and let the client read to the end: what is closed over bytes of theirs breaks before they have."""
        with suppress(OSError, TimeoutError):
            self._line.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(_LINGER):
                while await self.read():
                    pass

    def close(self) -> None:
        """Let go of it."""
        self._line.close()
