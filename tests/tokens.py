"""A token server for a docker-registry of the tests, as Docker Hub has one: anybody may pull, who has a password may push.

    with TokenServer(tmp_path) as server:
        registry = registries(auth=server.auth)

The token is a JSON Web Token (distribution's docs/spec/auth/jwt.md), signed by openssl with a key that the registry is told to trust.
"""

from __future__ import annotations

import base64
import json
import subprocess
import time
from pathlib import Path
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

from tests.evil import Evil, Request
from tests.registries import PASSWORD, USER, certified


class TokenServer:
    """Answers /token; what it was asked is in ``evil.asked``."""

    def __init__(self, directory: Path) -> None:
        self.evil = Evil()
        self.evil.on("^/token", self._give)
        self._certificate, self._key = certified(directory, "tokens")

    def __enter__(self) -> TokenServer:
        self.evil.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.evil.__exit__(kind, error, trace)

    @property
    def auth(self) -> dict[str, object]:
        """For the registry's configuration."""
        bundle = str(self._certificate)
        return {"token": {"realm": f"{self.evil.url}/token", "service": "tests", "issuer": "tests", "rootcertbundle": bundle}}

    def _give(self, request: Request) -> None:
        authorization = request.headers.get("authorization")
        known = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if authorization not in (None, known):
            request.answer(401, {}, b'{"errors": [{"code": "UNAUTHORIZED", "message": "incorrect username or password"}]}')
            return
        allowed = {"pull", "push", "delete", "*"} if authorization else {"pull"}
        access = []
        for scope in parse_qs(urlsplit(request.path).query).get("scope", []):
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": sorted(allowed & set(actions.split(",")))})
        request.answer(200, {}, json.dumps({"token": self._signed(access), "expires_in": 300}).encode())

    def _signed(self, access: object) -> str:
        der = base64.b64encode(base64.b64decode("".join(self._certificate.read_text().splitlines()[1:-1]))).decode()
        now = int(time.time())
        claims = {"iss": "tests", "aud": "tests", "sub": "", "exp": now + 300, "nbf": now - 10, "iat": now, "jti": "1", "access": access}
        text = ".".join(_encoded(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "RS256", "x5c": [der]}, claims))
        signing = ["openssl", "dgst", "-sha256", "-sign", str(self._key)]
        return f"{text}.{_encoded(subprocess.run(signing, input=text.encode(), capture_output=True, check=True).stdout)}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
