"""The wire between a docker client and its daemon, tapped: every request is written down, and passed on as it came.

    >>> wire = traffic.tap(lesson, daemon.socket)         # from now on $DOCKER_HOST leads here
    >>> !docker run busybox echo hello
    >>> for exchange in wire.news(): print(exchange)
    POST /containers/create → 201
    POST /containers/ID/attach?stderr=1&stdout=1&stream=1 → 101
    POST /containers/ID/wait?condition=next-exit → 200
    POST /containers/ID/start → 204

    docker ──▶ docker.sock ──▶ Wire ──▶ labkit.sock ──▶ daemon        each connection of a client has one of its own behind it,
    docker ◀────────────────── Wire ◀────────────────── daemon        and a thread for either direction

Nothing on the way is changed or held up, and what one side closes is closed on the other as well, by halves if by halves. What is
written down lives in this process: heads, and of bodies and streams the beginning. Source: Docker Engine API. Notebook 06.
"""

from __future__ import annotations

import json
import os
import re
import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, unquote, urlsplit

from labkit.errors import InvalidInput, KernelError, NotFound
from labkit.lessons.messages import NOTHING, THE_REST, Head, Parser
from labkit.lessons.stage import Lesson

_MOST = 64 * 1024  # bytes that are kept of a body
_VERSION = re.compile(r"^/v\d+\.\d+(?=/)")
_ID = re.compile(r"(?<=/)[0-9a-f]{64}(?=/|$)")
# What clients send or leave out as they like, for the daemon takes it for granted.
_FALSE = ("", "0", "false", "False", "none")
_DEFAULTS = {("t", "10"), ("signal", "KILL"), ("signal", "SIGKILL"), ("limit", "-1"), ("tail", "all")}
_TRUE = ("true", "True")


@dataclass(frozen=True)
class Exchange:
    """One request and its answer. ``status`` is 0 until there is one; ``sent`` and ``answer`` are the bodies, as far as they are kept."""

    connection: int
    method: str
    target: str
    path: str
    """What is asked for, without the version of the API in front of it. An ID is shown as the name that it was given, or as ID."""
    status: int = 0
    sent: bytes = b""
    answer: bytes = b""

    @property
    def options(self) -> dict[str, str]:
        """What stands behind the question mark, but for what goes without saying."""
        said = [pair for pair in parse_qsl(urlsplit(self.target).query) if pair[1] not in _FALSE and pair not in _DEFAULTS]
        return {key: "1" if value in _TRUE else _compact(value) for key, value in sorted(said)}

    @property
    def request(self) -> str:
        """Method, path and options, in one line."""
        options = "&".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.method} {self.path}{'?' if options else ''}{options}"

    @property
    def is_aside(self) -> bool:
        """Whether it is but a greeting, a look at what there is, the size of a window, or an end that nobody stays for.

        Clients differ in these, and do the same for those who use them.
        """
        if self.path in ("/_ping", "/version", "/info") or self.path.endswith("/resize"):
            return True
        if self.path.endswith("/wait"):
            return not self.answer or "condition" not in self.options
        return self.method == "GET" and re.fullmatch(r"/(containers|images|exec)/.+/json", self.path) is not None

    @property
    def fields(self) -> dict[str, object]:
        """The JSON that was sent, without what is empty, zero or false; ``{}`` if that was no JSON object."""
        with suppress(ValueError):
            found = json.loads(self.sent)
            if isinstance(found, dict):
                return _filled(found)
        return {}

    def __str__(self) -> str:
        return f"{self.request} → {self.status or '…'}"


class Wire:
    """The tap: listens at ``path``, and passes all on to the daemon's socket."""

    def __init__(self, path: str, daemon: str) -> None:
        self.path, self.daemon = path, daemon
        self._exchanges: list[Exchange] = []
        self._told = 0
        self.latest: tuple[Exchange, ...] = ()
        """What was news the last time that there was any, all of it."""
        self._connections = 0
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with suppress(FileNotFoundError):
            os.unlink(path)
        try:
            self._listener.bind(path)
        except OSError as error:
            raise KernelError.of(error, "listen at", path) from None
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def __repr__(self) -> str:
        return f"a tap at {self.host}: {len(self._exchanges)} requests"

    @property
    def host(self) -> str:
        """For ``$DOCKER_HOST``, and ``docker -H``."""
        return f"unix://{self.path}"

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """All of them, in the order of the requests."""
        return tuple(self._exchanges)

    def news(self, everything: bool = False) -> tuple[Exchange, ...]:
        """Those since the last time; what is only aside is left out where there is something else, or else ``everything`` told."""
        with self._lock:
            new, self._told = tuple(self._exchanges[self._told :]), len(self._exchanges)
            self.latest = new or self.latest
        return new if everything else essential(new)

    def last(self, path: str) -> Exchange:
        """The last request with that in its path; ``NotFound`` if there was none."""
        for exchange in reversed(self.exchanges):
            if path in exchange.path:
                return exchange
        raise NotFound(f"no request for {path} has come by")

    def close(self) -> None:
        """Nobody gets in any more; whose call is still going on may end it."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with suppress(FileNotFoundError):
            os.unlink(self.path)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                server.connect(self.daemon)
            except OSError:
                client.close()
                server.close()
                continue
            self._connections += 1
            connection = _Connection(self._connections, client, server, self._begin, self._go_on)
            threading.Thread(target=connection.serve, daemon=True).start()

    def _begin(self, connection: int, method: str, target: str) -> int:
        with self._lock:
            names = dict(filter(None, map(_named, self._exchanges)))
            path = _VERSION.sub("", unquote(urlsplit(target).path))
            path = _ID.sub(lambda found: names.get(found[0], "ID"), path)
            self._exchanges.append(Exchange(connection, method, target, path))
            return len(self._exchanges) - 1

    def _go_on(self, number: int, change: Callable[[Exchange], Exchange]) -> None:
        with self._lock:
            self._exchanges[number] = change(self._exchanges[number])


_Begin = Callable[[int, str, str], int]
_GoOn = Callable[[int, Callable[[Exchange], Exchange]], None]


class _Connection:
    """One connection of a client, and the one behind it."""

    def __init__(self, number: int, client: socket.socket, server: socket.socket, begin: _Begin, go_on: _GoOn) -> None:
        self.number, self.client, self.server = number, client, server
        self._begin, self._go_on = begin, go_on
        self._current = self._answering = -1
        self._unanswered: deque[tuple[int, str]] = deque()

    def serve(self) -> None:
        """Until both sides have closed."""
        downward = threading.Thread(target=_pump, args=(self.server, self.client, Parser(self._answered, self._says)), daemon=True)
        downward.start()
        _pump(self.client, self.server, Parser(self._asked, self._sends))
        # The client has no more to say, or it has gone altogether. In that case, now or later, the daemon is not to wait for it.
        gone = select.poll()
        gone.register(self.client, 0)  # POLLHUP is told without being asked for
        gone.poll()
        _shut(self.server, socket.SHUT_RDWR)
        downward.join()
        self.client.close()
        self.server.close()

    def _asked(self, head: Head) -> int:
        method, target = head.first.split()[:2]
        self._current = self._begin(self.number, method, target)
        self._unanswered.append((self._current, method))
        return head.framing(THE_REST if head.wants_upgrade else NOTHING)

    def _sends(self, data: bytes) -> None:
        self._go_on(self._current, lambda exchange: replace(exchange, sent=_more(exchange.sent, data)))

    def _answered(self, head: Head) -> int:
        status = int(head.first.split()[1])
        if status < 200 and status != 101:
            return NOTHING  # "100 Continue": the answer is still to come
        number, method = self._unanswered.popleft()
        self._answering = number
        self._go_on(number, lambda exchange: replace(exchange, status=status))
        if method == "HEAD" or status in (204, 304):
            return NOTHING
        return THE_REST if status == 101 else head.framing(THE_REST)

    def _says(self, data: bytes) -> None:
        self._go_on(self._answering, lambda exchange: replace(exchange, answer=_more(exchange.answer, data)))


_VARIABLE = "DOCKER_HOST"


def tap(lesson: Lesson, daemon: str) -> Wire:
    """The lesson's tap on the daemon that listens at the path ``daemon``; sets ``$DOCKER_HOST`` of this process to it, until the end."""
    wire = Wire(f"{lesson.run}/docker.sock", daemon)
    before = os.environ.get(_VARIABLE)

    def take_off() -> None:
        wire.close()
        if os.environ.get(_VARIABLE) == wire.host:
            os.environ.pop(_VARIABLE)
            if before is not None:
                os.environ[_VARIABLE] = before

    os.environ[_VARIABLE] = wire.host
    lesson.at_end(take_off)
    return wire


def essential(exchanges: tuple[Exchange, ...]) -> tuple[Exchange, ...]:
    """Without what is aside; if there is nothing else, what was asked last."""
    return tuple(each for each in exchanges if not each.is_aside) or exchanges[-1:]


def _compact(value: str) -> str:
    """Filters come as JSON, with spaces in it or without."""
    try:
        return json.dumps(json.loads(value), separators=(",", ":"), ensure_ascii=False)
    except ValueError:
        return value


def _named(exchange: Exchange) -> tuple[str, str] | None:
    """The ID of a container that was made here, and its name, if it was given one."""
    if exchange.path == "/containers/create" and "name" in exchange.options:
        with suppress(ValueError, KeyError, TypeError):
            return json.loads(exchange.answer)["Id"], exchange.options["name"]
    return None


def _pump(source: socket.socket, sink: socket.socket, parser: Parser) -> None:
    """All that comes from one side to the other; what is no HTTP, too, though then nothing is written down any more."""
    reads = True
    with suppress(OSError):
        while data := source.recv(1 << 16):
            if reads:
                try:
                    parser.feed(data)
                except (InvalidInput, IndexError, ValueError):
                    reads = False
            sink.sendall(data)
    _shut(sink, socket.SHUT_WR)


def _more(kept: bytes, data: bytes) -> bytes:
    return kept + data[: _MOST - len(kept)] if len(kept) < _MOST else kept


def _shut(connection: socket.socket, how: int) -> None:
    with suppress(OSError):
        connection.shutdown(how)


def _filled(found: dict[str, object]) -> dict[str, object]:
    """A JSON object without what is empty, zero or false, at any depth."""
    kept = {key: _filled(value) if isinstance(value, dict) else value for key, value in found.items()}
    return {key: value for key, value in kept.items() if value not in ("", 0, None, [], {}, -1)}
