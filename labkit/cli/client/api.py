"""The daemon, as commands see it: requests of Docker's API, over docker-py's low-level client.

    >>> with connect() as api:
    ...     api.get("/containers/json", all=1)                            # JSON, as it came
    ...     api.post("/containers/web/stop", t=3)
    ...     for event in api.stream("GET", "/events"): …                  # JSON, line by line, as it comes
    ...     streams = api.hijack("/containers/web/attach", stream=1)      # bytes both ways: see ``streams.py``

docker-py finds the daemon, agrees on a version of the API and keeps connections; it takes 50 ms and more to import, so only what asks
the daemon imports it. An answer of 400 or more is raised in the daemon's words: ``Error response from daemon: …``.

Source: Docker Engine API; ``$DOCKER_HOST`` as in ``docker --help``. Shown in notebook 06, beside each command.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from labkit import codec
from labkit.cli import engines
from labkit.cli.client.streams import Connection
from labkit.errors import Conflict, InvalidInput, LabError, NotFound, Unreachable

if TYPE_CHECKING:
    from docker import APIClient  # type: ignore[import-untyped]
    from requests import Response

Parameter = str | int | float | bool | Sequence[str] | None
T = TypeVar("T")

_ERRORS = {400: InvalidInput, 404: NotFound, 409: Conflict}


@contextmanager
def connect() -> Iterator[Api]:
    """The daemon; ``Unreachable`` if nobody is there."""
    import docker
    from docker.errors import DockerException  # type: ignore[import-untyped]
    from docker.utils import kwargs_from_env  # type: ignore[import-untyped]

    address = engines.host()
    settings = kwargs_from_env({**os.environ, "DOCKER_HOST": address}) | {"version": "auto", "timeout": None}
    try:
        client = docker.APIClient(**settings)
    except DockerException as error:
        raise _unreachable(address, error) from None
    try:
        yield Api(client, address)
    finally:
        client.close()


class Api:
    """A daemon that answers. Parameters that are None are left out; True is sent as 1, and so is False as 0."""

    def __init__(self, client: APIClient, address: str) -> None:
        self.client = client
        self.address = address

    @property
    def version(self) -> str:
        """The version of the API that both speak."""
        return str(self.client.api_version)

    def get(self, path: str, /, **query: Parameter) -> object:
        """``GET``: the JSON that came."""
        return _parsed(self._request("GET", path, query))

    def text(self, path: str, /, **query: Parameter) -> str:
        """``GET``: the text that came."""
        return self._request("GET", path, query).content.decode()

    def read(self, cls: type[T], path: str, /, **query: Parameter) -> T:
        """``GET``, decoded as a record of ``answers``."""
        return codec.decode(cls, self.get(path, **query))

    def read_all(self, cls: type[T], path: str, /, **query: Parameter) -> list[T]:
        """``GET`` of a list, each item decoded."""
        found = self.get(path, **query)
        return [codec.decode(cls, each) for each in found] if isinstance(found, list) else []

    def post(self, path: str, body: object = None, /, **query: Parameter) -> object:
        """``POST``: the JSON that came, None if there was none."""
        return _parsed(self._request("POST", path, query, None if body is None else json.dumps(body).encode()))

    def delete(self, path: str, /, **query: Parameter) -> object:
        """``DELETE``."""
        return _parsed(self._request("DELETE", path, query))

    def head(self, path: str, /, **query: Parameter) -> Mapping[str, str]:
        """``HEAD``: the headers that came."""
        return dict(self._request("HEAD", path, query).headers)

    def put(self, path: str, chunks: Iterator[bytes], /, **query: Parameter) -> None:
        """``PUT`` of a tar archive."""
        self._request("PUT", path, query, chunks)

    def answer(self, method: str, path: str, /, **query: Parameter) -> Response:
        """An answer of which the head has come, and the body is still to be read."""
        return self._request(method, path, query, stream=True)

    def stream(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None, **query: Parameter
    ) -> Iterator[object]:
        """The JSON objects of an answer, one a line, as they come."""
        data = body if body is None or isinstance(body, Iterator) else json.dumps(body).encode()
        with self._request(method, path, query, data, stream=True, headers=headers) as response:
            begun = b""
            for chunk in self._chunks(response):
                *lines, begun = (begun + chunk).split(b"\n")
                yield from (_json(line) for line in lines if line.strip())
            if begun.strip():
                yield _json(begun)

    def pieces(self, path: str, /, **query: Parameter) -> Iterator[bytes]:
        """The bytes of an answer, as they come."""
        with self.answer("GET", path, **query) as response:
            yield from self._chunks(response)

    def rest(self, response: Response) -> object:
        """The JSON that an answer's body turns out to be."""
        return _json(b"".join(self._chunks(response)))

    def hijack(self, path: str, body: object = None, /, **query: Parameter) -> Connection:
        """``POST``, after which the connection is no longer HTTP but the streams of a process."""
        upgrade = {"Connection": "Upgrade", "Upgrade": "tcp"}
        data = None if body is None else json.dumps(body).encode()
        return Connection.of(self._request("POST", path, query, data, stream=True, headers=upgrade))

    def _chunks(self, response: Response) -> Iterator[bytes]:
        """A body as it comes; a daemon that dies in the middle of it is an error like others."""
        import requests

        try:
            yield from response.iter_content(chunk_size=None)
        except requests.exceptions.RequestException as error:
            raise Unreachable(f"the daemon at {self.address} has gone in the middle of its answer ({error})") from None

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Parameter],
        data: object = None,
        stream: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        import requests

        said = {name.rstrip("_"): _text(value) for name, value in query.items() if value is not None}
        url = f"{self.client.base_url}/v{self.client.api_version}{quote(path, safe='/:@')}"
        sent = dict(headers or {})
        if data is not None:
            sent["Content-Type"] = "application/x-tar" if isinstance(data, Iterator) else "application/json"
        try:
            response: Response = self.client.request(method, url, params=said, data=data, stream=stream, headers=sent)
        except requests.exceptions.RequestException as error:
            raise _unreachable(self.address, error) from None
        if response.status_code >= 400:
            raise _refusal(response)
        return response


def filters(given: Sequence[str]) -> str | None:
    """``name=value`` many times, as the API wants filters: a map of maps, as JSON. None if there are none."""
    found: dict[str, dict[str, bool]] = {}
    for text in given:
        name, _, value = text.partition("=")
        found.setdefault(name.strip().lower(), {})[value.strip()] = True
    return json.dumps(found) if found else None


def _text(value: Parameter) -> str | list[str]:
    if isinstance(value, bool):
        return str(int(value))
    return str(value) if isinstance(value, str | int | float) else list(value or ())


def _parsed(response: Response) -> object:
    return _json(response.content) if response.content else None


def _json(data: bytes) -> object:
    try:
        return json.loads(data)
    except ValueError:
        raise LabError(f"the daemon's answer is not JSON: {data[:60]!r}") from None


def _refusal(response: Response) -> LabError:
    """What the daemon says, as an error of the kind that its status stands for."""
    try:
        document = response.json()
        message = document.get("message") if isinstance(document, dict) else None
        said = f"Error response from daemon: {message}" if message else "Error response from daemon: it gave no reason"
    except ValueError:
        said = f"Error response from daemon: {response.text.strip() or f'status {response.status_code}'}"
    return _ERRORS.get(response.status_code, LabError)(said)


def _unreachable(address: str, error: Exception) -> LabError:
    cause = str(error)
    if "Permission denied" in cause or "PermissionError" in cause:
        return Unreachable(
            f"permission denied while trying to connect to the Docker daemon socket at {address}"
            " (it takes root, or being in the group that the socket belongs to)"
        )
    if "too new" in cause or "too old" in cause:
        return LabError(cause)
    hint = "" if address != engines.HOST else " (`labkit up` starts it, or `labkit daemon` alone)"
    return Unreachable(f"Cannot connect to the Docker daemon at {address}. Is the docker daemon running?{hint}")
