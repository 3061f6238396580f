"""What a registry wants to see before it answers: from ``401 Unauthorized`` to an ``Authorization`` header.

    client                         registry                      token server
      │ GET /v2/me/web/manifests/v1   │                               │
      │ ─────────────────────────────▶│                               │
      │ 401 WWW-Authenticate: Bearer realm=…,service=…,scope=…        │
      │ ◀─────────────────────────────│                               │
      │ GET realm?service=…&scope=repository:me/web:pull   (Basic user:password, or nobody)
      │ ─────────────────────────────────────────────────────────────▶│
      │ {"token": "eyJ…", "expires_in": 300}                          │
      │ ◀─────────────────────────────────────────────────────────────│
      │ GET … Authorization: Bearer eyJ…                              │
      │ ─────────────────────────────▶│ 200

Docker Hub gives out tokens so, to anybody for pulling. With ``WWW-Authenticate: Basic`` there is no token server: each request carries
user name and password. Nothing here talks to the network; transport.py does. Source: distribution's docs/spec/auth/token.md and
oauth.md, RFC 9110 section 11. Shown in notebook 05.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from labkit.errors import Denied, Unreachable

_PARAMETER = r'(?P<key>[A-Za-z0-9_-]+)\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s,"]+))'
_WORDS = re.compile(rf"[\s,]*(?:{_PARAMETER}|(?P<scheme>[A-Za-z][A-Za-z0-9_-]*)(?=[\s,]|$))")
_DEFAULT_SECONDS = 60  # a token's life if nothing is said of it (token.md)
_MARGIN_SECONDS = 5  # so that none ends on its way


@dataclass(frozen=True)
class Credential:
    """Who asks: a name and a password, or what a token server once gave out instead of the password."""

    username: str
    password: str = field(repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of an ``Authorization`` header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True)
class Challenge:
    """One way in that a ``WWW-Authenticate`` header offers; ``scheme`` in lower case."""

    scheme: str
    parameters: Mapping[str, str]


@dataclass(frozen=True)
class TokenRequest:
    """What to ask a token server; with ``form`` it is a POST."""

    url: str
    headers: Mapping[str, str]
    form: Mapping[str, str] | None = None


def parse(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """The challenges of all ``WWW-Authenticate`` headers of an answer; what cannot be read ends the header it is in."""
    found: list[tuple[str, dict[str, str]]] = []
    for header in headers:
        position = 0
        while word := _WORDS.match(header, position):
            position = word.end()
            if word["scheme"]:
                found.append((word["scheme"].lower(), {}))
            elif found:
                value = word["plain"] if word["quoted"] is None else re.sub(r"\\(.)", r"\1", word["quoted"])
                found[-1][1][word["key"].lower()] = value
    return tuple(Challenge(scheme, parameters) for scheme, parameters in found)


def token_request(challenge: Challenge, scope: str, credential: Credential | None, is_secure: bool) -> TokenRequest:
    """How to get a token for ``scope``; a registry behind TLS (``is_secure``) cannot have a password sent without."""
    realm, service = challenge.parameters.get("realm", ""), challenge.parameters.get("service", "")
    scheme = urlsplit(realm).scheme if "://" in realm else ""
    if scheme not in ("http", "https"):
        raise Unreachable(f"the registry names no place to get a token at: realm={realm!r:.80}")
    if credential and is_secure and scheme != "https":
        raise Denied(f"the registry wants the password sent to {realm}, which is not encrypted: refused")
    scopes = list(dict.fromkeys([*challenge.parameters.get("scope", "").split(), *scope.split()]))
    if credential and credential.identity_token:
        form = {"grant_type": "refresh_token", "refresh_token": credential.identity_token, "client_id": "labkit", "service": service}
        return TokenRequest(realm, {}, {**form, "scope": " ".join(scopes)})
    query = [("service", service)] if service else []
    query += [("scope", each) for each in scopes]
    if credential:
        query.append(("account", credential.username))
    joint = "&" if "?" in realm else "?"
    return TokenRequest(f"{realm}{joint}{urlencode(query, safe=':,/')}", {"Authorization": credential.basic} if credential else {})


def parse_token(data: bytes) -> tuple[str, float]:
    """A token server's answer: the token, and for how many seconds it is good."""
    try:
        document = json.loads(data)
        token = document.get("token") or document.get("access_token")
        seconds = document.get("expires_in") or _DEFAULT_SECONDS
        if not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token) or not isinstance(seconds, int | float):
            raise ValueError
    except (ValueError, AttributeError, RecursionError):
        raise Unreachable("the token server's answer holds no token") from None
    return token, max(float(seconds), _DEFAULT_SECONDS)


class Authorizations:
    """The headers that one registry has asked for so far, by scope. Any thread may use it."""

    def __init__(self, credential: Credential | None) -> None:
        self.credential = credential
        self.lock = threading.Lock()
        """To hold while getting a token, so that three downloads do not get three."""
        self._basic = False
        self._tokens: dict[str, tuple[str, float]] = {}

    def header(self, scope: str) -> str | None:
        """What to send with a request for ``scope``; nothing if the registry has not asked for anything yet."""
        token, until = self._tokens.get(scope, ("", 0.0))
        if time.monotonic() < until:
            return f"Bearer {token}"
        return self.credential.basic if self._basic and self.credential else None

    def keep_token(self, scope: str, token: str, seconds: float) -> None:
        self._tokens[scope] = (token, time.monotonic() + seconds - _MARGIN_SECONDS)

    def use_basic(self) -> None:
        self._basic = True
