"""HTTP/1.1 as it goes over a wire: cut into messages, each a head and a body.

    GET /_ping HTTP/1.1            the first line
    Host: docker                   fields, a line each
                                   an empty line: here the head ends
    …                              the body: as long as the head says, in chunks, or all the rest

    >>> heads = []
    >>> parser = Parser(lambda head: heads.append(head) or head.framing(), lambda body: None)
    >>> parser.feed(b"GET /_ping HTT"); parser.feed(b"P/1.1\\r\\nHost: docker\\r\\n\\r\\n")
    >>> heads[0].first
    'GET /_ping HTTP/1.1'

It only looks: whoever feeds it sends the bytes on as they are. So it takes what comes in pieces of any size, and what it does not
understand, it refuses with ``InvalidInput`` and leaves alone. Source: RFC 9112, sections 2 to 7. Notebook 06 reads a daemon's mail with it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

from labkit.errors import InvalidInput

NOTHING, CHUNKS, THE_REST = 0, -1, -2
"""How long a body is, if not so many bytes: there is none; it says so itself, chunk by chunk; until the other side closes."""

_LONGEST_HEAD = 256 * 1024
_Waiting = Generator[None, None, bytes]


@dataclass(frozen=True)
class Head:
    """First line and fields of a message; names of fields are in lower case."""

    first: str
    fields: dict[str, str]

    def framing(self, otherwise: int = NOTHING) -> int:
        """How long its body is: bytes, ``CHUNKS``, or ``otherwise`` if it does not say."""
        if "chunked" in self.fields.get("transfer-encoding", "").lower():
            return CHUNKS
        length = self.fields.get("content-length", "")
        return int(length) if length.isdecimal() else otherwise

    @property
    def wants_upgrade(self) -> bool:
        """Whether this message is the last on its connection, which then carries bytes of another kind."""
        return "upgrade" in self.fields.get("connection", "").lower()


class Parser:
    """One direction of one connection. ``begin`` is told of each head and says how long the body is; ``body`` gets its bytes."""

    def __init__(self, begin: Callable[[Head], int], body: Callable[[bytes], None]) -> None:
        self._begin, self._body = begin, body
        self._data = bytearray()
        self._messages = self._parse()
        next(self._messages)

    def feed(self, data: bytes) -> None:
        """The next bytes of this direction; ``InvalidInput`` if they are no HTTP."""
        self._data += data
        self._messages.send(None)

    def _parse(self) -> Generator[None, None, None]:
        while True:
            framing = self._begin(_head((yield from self._until(b"\r\n\r\n"))))
            if framing == CHUNKS:
                yield from self._chunks()
            else:
                yield from self._pass_on(framing)

    def _chunks(self) -> Generator[None, None, None]:
        while True:
            line = yield from self._until(b"\r\n")
            try:
                size = int(line.partition(b";")[0], 16)
            except ValueError:
                raise InvalidInput(f"a chunk begins with its size, not with {line[:20]!r}") from None
            if size == 0:
                break
            yield from self._pass_on(size)
            yield from self._until(b"\r\n")
        while (yield from self._until(b"\r\n")):
            pass  # fields after the last chunk, up to an empty line

    def _pass_on(self, size: int) -> Generator[None, None, None]:
        """So many bytes of a body, or ``THE_REST``."""
        while size:
            while not self._data:
                yield
            piece = bytes(self._data if size == THE_REST else self._data[:size])
            del self._data[: len(piece)]
            self._body(piece)
            size -= len(piece) if size > 0 else 0

    def _until(self, mark: bytes) -> _Waiting:
        while (at := self._data.find(mark)) < 0:
            if len(self._data) > _LONGEST_HEAD:
                raise InvalidInput(f"no end of a head in {_LONGEST_HEAD} bytes")
            yield
        found = bytes(self._data[:at])
        del self._data[: at + len(mark)]
        return found


def _head(data: bytes) -> Head:
    first, *lines = data.decode("latin-1").split("\r\n")
    if "HTTP/1." not in first or len(first.split()) < 2:
        raise InvalidInput(f"a message begins with what it is, not with {first[:40]!r}")
    fields = (line.partition(":") for line in lines)
    return Head(first, {name.strip().lower(): value.strip() for name, _, value in fields})
