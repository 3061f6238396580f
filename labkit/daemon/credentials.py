"""Who asks at a registry, as clients say it in headers: base64 of JSON.

    X-Registry-Auth      {"username": "me", "password": "secret", "serveraddress": "127.0.0.1:5000"}       pull, push
    X-Registry-Config    {"127.0.0.1:5000": {"username": …}, "https://index.docker.io/v1/": {…}}           build

    >>> credentials.one(request.headers.get("x-registry-auth", ""))("127.0.0.1:5000")
    Credential(username='me')

The daemon keeps none of them, and has none of its own. Source: Docker Engine API v1.47, "Authentication".
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from labkit.errors import InvalidInput

if TYPE_CHECKING:
    from labkit.image.registry.auth import Credential
    from labkit.image.registry.pull import Credentials

_HUB = ("docker.io", "index.docker.io")


def one(header: str) -> Credentials:
    """What ``X-Registry-Auth`` says: for the registry of the image that the request is about, whichever that is."""
    found = _credential(_decoded(header, "X-Registry-Auth"))
    return lambda _registry: found


def several(header: str) -> Credentials:
    """What ``X-Registry-Config`` says, by registry."""
    document = _decoded(header, "X-Registry-Config")
    known = {_host(key): _credential(value) for key, value in document.items() if isinstance(value, dict)}
    return lambda registry: known.get(_host(registry))


def _decoded(header: str, name: str) -> dict[str, object]:
    """``InvalidInput`` for what is neither empty nor base64 of an object; both alphabets of base64 are in use."""
    if not header:
        return {}
    try:
        text = header.strip().replace("-", "+").replace("_", "/")
        document = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), validate=True))
        if not isinstance(document, dict):
            raise ValueError
    except (ValueError, RecursionError):
        raise InvalidInput(f"{name}: must be base64 of a JSON object") from None
    return document


def _credential(said: dict[str, object]) -> Credential | None:
    from labkit.image.registry.auth import Credential

    username, password, token = (said.get(key) or "" for key in ("username", "password", "identitytoken"))
    if not (isinstance(username, str) and isinstance(password, str) and isinstance(token, str)):
        raise InvalidInput("credentials: username, password and identitytoken must be strings")
    return Credential(username, password, token) if username or token else None


def _host(key: str) -> str:
    """A key may be a URL, as old clients write it."""
    host = urlsplit(key).netloc if "://" in key else key.partition("/")[0]
    return "docker.io" if host in _HUB else host
