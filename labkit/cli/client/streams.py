"""The streams of a process in a container, over a connection that was HTTP: what ``attach`` and ``exec`` give a client.

    without a terminal, from the daemon:    frames of  [stream, 0, 0, 0, length (4 bytes, big-endian)] payload
    with one, and always to the daemon:     bytes, as they are

    >>> frames = Frames()
    >>> list(frames.feed(b"\\x01\\0\\0\\0\\0\\0\\0\\x03one\\x02\\0\\0\\0\\0\\0"))        # a frame and the beginning of another
    [(1, b'one')]

Stream 1 is the process's standard output, 2 its standard error. A daemon that has an error to tell in the middle of a stream may do it
in a frame of stream 3. Source: Docker Engine API, ContainerAttach, "Stream format". Shown in notebook 06.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from requests import Response

OUT, ERR = 1, 2
_HEAD = struct.Struct(">BxxxL")


class Frames:
    """Takes frames apart, however their bytes arrive. Payload is handed on as it comes, not when its frame is whole."""

    def __init__(self) -> None:
        self._head = b""
        self._stream = 0
        self._left = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """More bytes; the pieces of payload in them, each with its stream."""
        place, end = 0, len(data)
        while place < end:
            if not self._left:
                part = data[place : place + _HEAD.size - len(self._head)]
                place += len(part)
                self._head += part
                if len(self._head) == _HEAD.size:
                    self._stream, self._left = _HEAD.unpack(self._head)
                    self._head = b""
                continue
            piece = data[place : place + self._left]
            place += len(piece)
            self._left -= len(piece)
            yield self._stream, piece


def write(fd: int, data: bytes) -> None:
    """Write all of it, past Python's buffers, whose order between two streams would be another."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class Connection:
    """A socket to a process, and what the daemon had sent along with the head of its answer."""

    def __init__(self, sock: socket.socket, early: bytes, response: Response | None = None) -> None:
        self.socket = sock
        self.early = early
        self._response = response  # which closes the socket when it goes

    @classmethod
    def of(cls, response: Response) -> Self:
        """The connection that an answer came by. What was read ahead of it is kept."""
        reader = response.raw._fp.fp  # http.client's buffered reader of the socket, as docker-py gets at it, too
        sock = reader.raw._sock
        sock.settimeout(0)
        early = reader.peek() or b""  # the rest of its buffer; nothing is there, and it does not wait for more
        sock.settimeout(None)
        return cls(sock, bytes(early), response)

    def receive(self) -> bytes:
        """Bytes from the process, waiting for them; ``b""`` is the end."""
        if self.early:
            early, self.early = self.early, b""
            return early
        try:
            return self.socket.recv(1 << 18)
        except ConnectionError:
            return b""

    def end_input(self) -> None:
        """The process finds the end of its input; its output still comes."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the daemon has closed already

    def close(self) -> None:
        """Let go of it."""
        if self._response is not None:
            self._response.close()
        self.socket.close()
