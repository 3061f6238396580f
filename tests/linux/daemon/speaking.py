"""A client of the daemon's that speaks HTTP as it likes, well or badly.

client.get("/version")["ApiVersion"]
client.ask("POST", "/containers/create", {"Image": "busybox"}).status
with client.hijacked("POST", "/containers/box/attach?stream=1&stdout=1") as line: line.recv(100)
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.patience import PATIENCE

SECONDS = 30.0 * PATIENCE


@dataclass(frozen=True)
class Said:
    """An answer."""

    status: int
    headers: http.client.HTTPMessage
    data: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.data)

    @property
    def message(self) -> str:
        return str(self.json["message"])

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.data.splitlines()]


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SECONDS)
        self.sock.connect(self._path)


class Client:
    """Requests over the socket at ``path``."""

    def __init__(self, path: str) -> None:
        self.path = path

    def ask(self, method: str, target: str, body: object = None, content_type: str = "application/json") -> Said:
        with self.streaming(method, target, body, content_type) as answer:
            return Said(answer.status, answer.headers, answer.read())

    def get(self, target: str) -> Any:
        """JSON of something that must be there."""
        said = self.ask("GET", target)
        assert said.status == 200, said.data
        return said.json

    @contextlib.contextmanager
    def streaming(
        self, method: str, target: str, body: object = None, content_type: str = "application/json"
    ) -> Iterator[http.client.HTTPResponse]:
        """An answer whose head has come; the connection is broken at the end."""
        connection = _Connection(self.path)
        try:
            data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            connection.request(method, target, data, {"Content-Type": content_type} if data is not None else {})
            answer = connection.getresponse()
            yield answer
        finally:
            connection.close()

    @contextlib.contextmanager
    def connected(self) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(SECONDS)
            line.connect(self.path)
            yield line

    @contextlib.contextmanager
    def hijacked(self, method: str, target: str, body: object = None) -> Iterator[socket.socket]:
        """A connection after 101."""
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {target} HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        with self.connected() as line:
            line.sendall(head.encode() + data)
            said = b""
            while not said.endswith(b"\r\n\r\n"):  # byte by byte: what follows the head is not ours to take
                said += line.recv(1) or b"\r\n\r\n"
            assert said.startswith(b"HTTP/1.1 101 UPGRADED\r\n"), said
            yield line

    def raw(self, data: bytes) -> bytes:
        """All that is answered to these bytes, after which nothing more is sent."""
        with self.connected() as line:
            with contextlib.suppress(BrokenPipeError):
                line.sendall(data)
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_WR)
            return rest(line)

    # Containers

    def create(self, *command: str, name: str = "", host: dict[str, object] | None = None, **config: object) -> str:
        """The ID of a new container."""
        body = {"Image": "busybox", "Cmd": [*command], "HostConfig": {"NetworkMode": "none", **(host or {})}, **config}
        said = self.ask("POST", f"/containers/create?name={name}", body)
        assert said.status == 201, said.data
        return str(said.json["Id"])

    def started(self, *command: str, name: str = "", host: dict[str, object] | None = None, **config: object) -> str:
        """The ID of a container that runs."""
        id = self.create(*command, name=name, host=host, **config)
        said = self.ask("POST", f"/containers/{id}/start")
        assert said.status == 204, said.data
        return id

    def ended(self, id: str) -> int:
        """Wait for its end: the exit code."""
        return int(self.ask("POST", f"/containers/{id}/wait").json["StatusCode"])


def rest(line: socket.socket) -> bytes:
    """What comes until the other end has no more to say, or has gone."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while data := line.recv(65536):
            found += data
    return found


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """Docker's frames: streams and what they say."""
    found = []
    while data:
        stream, size = struct.unpack(">BxxxL", data[:8])
        found.append((stream, data[8 : 8 + size]))
        data = data[8 + size :]
    return found


def output(data: bytes, stream: int = 1) -> bytes:
    """What one stream says in frames."""
    return b"".join(text for number, text in frames(data) if number == stream)
