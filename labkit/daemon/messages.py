"""What is asked and what is answered, as the routes see it.

    Request                                     Response     status and a body, all at once
      .method .path .query .headers             Streamed     a body piece by piece; the head goes out at once
      await .json()    await .read()            Hijacked     the connection itself, both ways: attach and exec
      async for chunk in .body

    >>> Response.of({"Id": "4cfc…", "Warnings": []}, statuses.CREATED)
    >>> Streamed(lines(), "application/json")

Source: RFC 9112; Docker Engine API v1.47.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from labkit.daemon import statuses
from labkit.daemon.queries import Query
from labkit.daemon.wire import Wire
from labkit.errors import InvalidInput

Headers = tuple[tuple[str, str], ...]

JSON = "application/json"
LARGEST_DOCUMENT = 8 << 20
"""Bytes of a body that is JSON."""

_LONGEST = 1000  # characters of an error


@dataclass
class Request:
    """One request. The body is read once, by whoever wants it; what nobody reads is thrown away."""

    method: str
    path: str
    """Without query and version, decoded."""
    query: Query
    headers: Mapping[str, str]
    """By lower-case name."""
    body: AsyncIterator[bytes]
    parameters: Mapping[str, str] = field(default_factory=dict)
    """The parts of the path that the route has names for."""
    version: str = ""
    """Of the API, as the path says; "" if it does not."""
    reading: asyncio.Task[None] | None = None
    """Who reads the body, if it is somebody who does so beside the answer."""
    gone: Callable[[], None] | None = None
    """What to call if the client goes away before there is an answer; most go on, as whatever they do is done soon."""

    @property
    def upgrades(self) -> bool:
        """Whether the client waits for 101 before it sends and hears raw bytes; an old one takes a 200 for that."""
        return "upgrade" in self.headers.get("connection", "").lower() and "upgrade" in self.headers

    async def read(self, limit: int = LARGEST_DOCUMENT) -> bytes:
        """The whole body. ``InvalidInput`` if it is larger than ``limit`` bytes."""
        parts, size = [], 0
        async for chunk in self.body:
            size += len(chunk)
            if size > limit:
                raise InvalidInput(f"the body of {self.method} {self.path:.100} is larger than {limit} bytes")
            parts.append(chunk)
        return b"".join(parts)

    async def json(self, absent: object = None) -> object:
        """The body, which must be JSON; ``absent`` if there is none, or if it is ``null``."""
        data = await self.read()
        if not data:
            return absent
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != JSON:
            raise InvalidInput(f"unsupported Content-Type header ({kind:.100}): must be 'application/json'")
        try:
            found = json.loads(data, parse_int=_whole)
        except RecursionError:
            raise InvalidInput("invalid JSON: nested too deeply") from None
        except ValueError as error:  # not JSON, not UTF-8, a number of ten thousand digits
            raise InvalidInput(f"invalid JSON: {error}") from None
        return absent if found is None else found


def _whole(digits: str) -> int:
    """A number as Go's int64 has it: no limit of the kernel's is larger."""
    number = int(digits) if len(digits) < 20 else 1 << 63
    if not -(1 << 63) <= number < 1 << 63:
        raise ValueError(f"the number {digits:.20}… does not fit in 64 bits")
    return number


@dataclass(frozen=True)
class Response:
    """An answer whose body is known. Without a ``content_type`` it has none."""

    status: int
    body: bytes = b""
    content_type: str = ""
    headers: Headers = ()

    @classmethod
    def of(cls, value: object, status: int = statuses.OK) -> Response:
        """An answer in JSON."""
        return cls(status, json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n", JSON)

    @classmethod
    def error(cls, status: int, message: str) -> Response:
        """An error, which clients print. Of one that repeats what a client has sent at length, the middle is left out."""
        shown = message if len(message) <= _LONGEST else f"{message[: _LONGEST // 2]} … {message[-_LONGEST // 3 :]}"
        return cls.of({"message": shown}, status)


@dataclass(frozen=True)
class Streamed:
    """An answer whose body comes in time. ``chunks`` is closed if the client goes away."""

    chunks: AsyncIterator[bytes]
    content_type: str = ""
    headers: Headers = ()
    status: int = statuses.OK


@dataclass(frozen=True)
class Hijacked:
    """After the head, the connection is ``talk``'s, until that returns; then it is closed."""

    talk: Callable[[Wire], Awaitable[None]]
    content_type: str


Answer = Response | Streamed | Hijacked
