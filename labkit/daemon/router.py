"""Which function answers a request, by method and path.

    Route("POST", "/containers/{name:.*}/start", start)       {name} has no slash in it, {name:.*} may

    /v1.41/containers/web/start  ──▶ start(api, request), request.parameters == {"name": "web"}, request.version == "1.41"
    /containers/web/start        ──▶ the same, as if it were the newest

The API is announced as 1.47; clients that speak 1.24 to 1.51 are let in, for what they use has not changed since.
Source: Docker Engine API v1.47, "Versioning"; moby's ``server/middleware/version.go``.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.daemon.messages import Answer, Request
from labkit.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from labkit.daemon.api import Api

ANNOUNCED = "1.47"
OLDEST = "1.24"
NEWEST = "1.51"

Handler = Callable[["Api", Request], Awaitable[Answer]]


@dataclass(frozen=True)
class Route:
    """A method and a path with names for its parts, and who answers."""

    method: str
    path: str
    handler: Handler

    @property
    def pattern(self) -> re.Pattern[str]:
        """The path as a regular expression."""
        pieces = re.split(r"\{(\w+)(?::(\.\*))?\}", self.path)
        text = re.escape(pieces[0])
        for name, wide, literal in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
            text += f"(?P<{name}>{'.+' if wide else '[^/]+'})" + re.escape(literal)
        return re.compile(text, re.DOTALL)


class Router:
    """All routes. The first that fits answers."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._by_method: dict[str, list[tuple[re.Pattern[str], Handler]]] = {}
        for route in routes:
            self._by_method.setdefault(route.method, []).append((route.pattern, route.handler))

    def find(self, request: Request) -> Handler:
        """Who answers; fills in the request's ``parameters``. ``NotFound``, or ``InvalidInput`` for a version that is none of ours."""
        versioned = re.match(r"/v(\d{1,9}\.\d{1,9})(?=/)", request.path)
        if versioned:
            _check(versioned[1])
            request.version, request.path = versioned[1], request.path[versioned.end() :]
        for pattern, handler in self._by_method.get(request.method, ()):
            if found := pattern.fullmatch(request.path):
                request.parameters = found.groupdict()
                return handler
        raise NotFound("page not found")


def _check(version: str) -> None:
    number = _number(version)
    if number > _number(NEWEST):
        raise InvalidInput(f"client version {version} is too new. Maximum supported API version is {NEWEST}")
    if number < _number(OLDEST):
        raise InvalidInput(
            f"client version {version} is too old. Minimum supported API version is {OLDEST}, please upgrade your client to a newer version"
        )


def _number(version: str) -> tuple[int, int]:
    major, minor = version.split(".")
    return int(major), int(minor)
