"""A connection that is no longer HTTP: bytes both ways, each way with an end of its own.

    >>> data = await wire.read()          # b"" when the client has nothing more to say: it may listen still
    >>> await wire.write(b"hello")        # waits while the client does not read
    >>> wire.end()                        # we have nothing more to say

Docker's clients end their side at once where there is no input to send, and wait for the other end.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

_BLOCK = 65536


class Wire:
    """Both ways of a connection. ``first`` are bytes that came in with the head of the request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes = b"") -> None:
        self._reader, self._writer, self._first = reader, writer, first

    async def read(self, size: int = _BLOCK) -> bytes:
        """What the client has sent; b"" at the end."""
        if self._first:
            data, self._first = self._first[:size], self._first[size:]
            return data
        try:
            return await self._reader.read(size)
        except OSError:
            return b""

    async def write(self, data: bytes) -> None:
        """Send. Raises ``ConnectionError`` if nobody is there any more."""
        self._writer.write(data)
        await self._writer.drain()

    def end(self) -> None:
        """Say that this is all."""
        with suppress(OSError):
            self._writer.write_eof()
