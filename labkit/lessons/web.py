"""Who looks at a lesson's web server: a visitor who asks for a page, one who waits for a change, and one with a slow line.

    >>> site = web.Site("web")                          # port 8080 of this machine, or the next that is free
    >>> !docker run -d -p {site.port}:80 --name web nginx
    >>> site.get("/")
    200 OK · nginx answers from a container. …
    >>> site.becomes("/", "Tuesday")                    # after a change that takes a moment
    True
    >>> guest = site.guest("/film")                     # has begun to read …
    >>> guest.stays()                                   # … and reads on, to the end or until he is cut off
    a guest has 300,000 of 300,000 bytes

They ask by HTTP, as a browser does, from this notebook's own process, so they see what anybody on this machine sees: it takes no
browser here, and no way from the browser to the port. Source: RFC 9110. Notebook 09.
"""

from __future__ import annotations

import html
import http.client
import os
import re
import time
from dataclasses import dataclass

from labkit.errors import Conflict, Unreachable
from labkit.lab import service
from labkit.lessons.stage import Lesson

PORT = 8080
FILM = 300_000
"""Bytes of the film that ``slow_film`` makes."""

_PACE = "100k"  # bytes a second that the server sends
_PATIENCE = 10.0  # seconds, for a server that has just been started, or told to change
_ANSWER_SECONDS = 20.0
_promised: dict[str, int] = {}
_HIDDEN = re.compile(r"<(style|script|title|head)\b.*?</\1>", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, repr=False)
class Answer:
    """What came back: a status, who it is from, and a page."""

    status: int
    server: str = ""
    body: bytes = b""

    @property
    def page(self) -> str:
        """The body, as text."""
        return self.body.decode(errors="replace")

    @property
    def words(self) -> str:
        """What a person reads on the page, in one line."""
        return " ".join(html.unescape(re.sub("<[^>]*>", " ", _HIDDEN.sub(" ", self.page))).split())

    @property
    def told(self) -> str:
        """The status, as HTTP says it: ``404 Not Found``."""
        return f"{self.status} {http.client.responses.get(self.status, '')}".strip()

    def __repr__(self) -> str:
        return f"{self.told} · {self.words}" if self.words else self.told


class Guest:
    """A visitor on a slow line: he has read the first bytes, and takes the rest when he is told to."""

    def __init__(self, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> None:
        self.expected = int(answer.headers.get("Content-Length", "0"))
        self._connection, self._answer = connection, answer
        self._has = len(answer.read(1))

    def stays(self) -> Guest:
        """Read on, until there is no more, or he is cut off."""
        try:
            while data := self._answer.read(1 << 16):
                self._has += len(data)
        except http.client.IncompleteRead as cut:
            self._has += len(cut.partial)
        except OSError:
            pass
        self._connection.close()
        return self

    @property
    def has_all(self) -> bool:
        return self._has == self.expected

    def __repr__(self) -> str:
        return f"a guest has {self._has:,} of {self.expected:,} bytes"


class Site:
    """A port of this machine where a web server is, or will be: the one that was found for this name, or ``port``."""

    def __init__(self, name: str = "", port: int = 0) -> None:
        self.port = port or port_for(name)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __repr__(self) -> str:
        return self.url

    def get(self, path: str = "/", patience: float = _PATIENCE) -> Answer:
        """Ask for a page. Where nobody listens yet, ask again, for so many seconds; then ``Unreachable``."""
        connection, answer = self._ask(path, patience)
        try:
            return Answer(answer.status, answer.headers.get("Server", ""), answer.read())
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"get {self.url}{path}: {error}") from None
        finally:
            connection.close()

    def becomes(self, path: str, words: str, patience: float = _PATIENCE) -> bool:
        """Ask until the page has these words; False if it does not get them."""
        deadline = time.monotonic() + patience
        while words not in self.get(path, patience).page:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def guest(self, path: str) -> Guest:
        """A visitor who has begun to read."""
        return Guest(*self._ask(path, _PATIENCE))

    def _ask(self, path: str, patience: float) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        deadline = time.monotonic() + patience
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_ANSWER_SECONDS)
            try:
                connection.request("GET", path)
                return connection, connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if time.monotonic() > deadline:
                    raise Unreachable(f"get {self.url}{path}: {error}") from None
                time.sleep(0.02)


def port_for(name: str, first: int = PORT) -> int:
    """The first port from this one on that is free and promised to no other name; ``Conflict`` after a hundred.

    So another program on 8080 stops no lesson, and a cell that is run again gets the same as before.
    """
    others = {port for owner, port in _promised.items() if owner != name}
    before = _promised.get(name, first)
    candidates: tuple[int, ...] = (before, *range(first, first + 100))
    for port in candidates:
        if port not in others and service.is_free("0.0.0.0", port):
            _promised[name] = port
            return port
    raise Conflict(f"ports {first} to {first + 99} are all taken")


def slow_film(lesson: Lesson) -> str:
    """Make /film, which takes three seconds to look at, and a configuration for it; the options for ``docker run``."""
    place = f"{lesson.data}/cinema"
    os.makedirs(f"{place}/films", exist_ok=True)
    with open(f"{place}/films/film", "wb") as file:
        file.write(bytes(FILM))
    with open(f"{place}/slow.conf", "w") as config:
        config.write(f"server {{ listen 80; root /films; limit_rate {_PACE}; }}\n")
    return f"-v {place}/films:/films:ro -v {place}/slow.conf:/etc/nginx/conf.d/default.conf:ro"
