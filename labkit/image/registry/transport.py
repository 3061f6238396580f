"""One request to a registry: authorized, redirected, tried again, and refused in words.

    request ──▶ redirects, at most 10, the Authorization header for the registry's own host alone
            ──▶ 401: get a token, ask again, once
            ──▶ 429, 5xx, broken or silent connection: Passing, which ``patiently`` tries again after a while
            ──▶ any other refusal: NotFound, Denied, InvalidInput in the registry's own words

    >>> from labkit.image.registry.transport import Transport
    >>> with Transport(endpoint) as transport:
    ...     answer = transport.fetch("GET", "/v2/", scope="")

Nothing that comes from outside is read without a limit. Proxies of the environment (``HTTPS_PROXY``, ``NO_PROXY``) are honoured, but
never for this machine itself. Source: OCI distribution-spec 1.1, RFC 9110 sections 10.2.3 (Retry-After) and 15.4 (redirects).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlencode

import httpx

from labkit.errors import InvalidInput, LabError, Unreachable
from labkit.image.registry import auth, refusals
from labkit.image.registry.connections import Connections
from labkit.image.registry.endpoints import Endpoint
from labkit.image.registry.refusals import Passing

MAX_REDIRECTS = 10
MAX_DOCUMENT = 4 << 20  # bytes of a manifest, of a page of tags, of a token; distribution-spec 1.1, "Pushing Manifests"
_MAX_COMPLAINT = 64 << 10

T = TypeVar("T")
Waiting = Callable[[int], None]
"""Told once a second how many seconds are left until the next attempt; it may raise, to give up."""
Body = bytes | Callable[[], Iterable[bytes]] | None
"""What is sent; a function, so that it can be sent again."""


@dataclass(frozen=True)
class Patience:
    """How long to bear with a registry."""

    attempts: int = 5
    first_delay: float = 1.0
    """Seconds before the second attempt; each delay is twice the one before."""
    longest_delay: float = 60.0
    """Seconds; a registry that says Retry-After with more is given up."""
    connect: float = 10.0
    silence: float = 30.0
    """Seconds without a byte, after which a connection counts as broken; an answer that is a document has twice as long in all."""

    def delay(self, failures: int, asked_for: float | None) -> float | None:
        """Seconds to wait after so many failures; None to give up."""
        if failures >= self.attempts or (asked_for or 0) > self.longest_delay:
            return None
        return asked_for if asked_for is not None else min(self.first_delay * 2 ** (failures - 1), self.longest_delay)


DEFAULT_PATIENCE = Patience()


@dataclass(frozen=True)
class Answer:
    """A whole answer, which was short enough to keep."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    data: bytes
    url: str


class Transport:
    """The way to one registry. Any number of threads may use it at once."""

    def __init__(self, endpoint: Endpoint, credential: auth.Credential | None = None, patience: Patience = DEFAULT_PATIENCE) -> None:
        self.endpoint, self.patience = endpoint, patience
        self._authorizations = auth.Authorizations(credential)
        self._connections = Connections(endpoint, connect=patience.connect, silence=patience.silence)

    def __enter__(self) -> Transport:
        return self

    def __exit__(self, *_: object) -> None:
        self._connections.close()

    def fetch(
        self,
        method: str,
        path: str,
        *,
        scope: str,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        waiting: Waiting | None = None,
    ) -> Answer:
        """Ask, patiently, for something short: at most ``MAX_DOCUMENT`` bytes."""

        def attempt() -> Answer:
            with self.open(method, path, scope=scope, headers=headers, body=body) as response:
                data = self._read(response, MAX_DOCUMENT)
                return Answer(response.status_code, dict(response.headers), data, str(response.url))

        return self.patiently(attempt, waiting)

    def patiently(self, attempt: Callable[[], T], waiting: Waiting | None = None) -> T:
        """What ``attempt`` returns, which is called again after each failure that may pass, while there is patience."""
        failures = 0
        while True:
            try:
                return attempt()
            except Passing as failure:
                failures += 1
                self.bear(failure, failures, waiting)

    def bear(self, failure: Passing, failures: int, waiting: Waiting | None) -> None:
        """Wait as long as the so many-th failure asks for, or raise it if it was one too many."""
        delay = self.patience.delay(failures, failure.after)
        if delay is None or self._connections.aborted.is_set():
            raise failure
        until = time.monotonic() + delay
        while (left := until - time.monotonic()) > 0:
            if waiting:
                waiting(max(1, round(left)))
            if self._connections.aborted.wait(min(left, 1.0)):
                raise failure

    @contextmanager
    def open(
        self, method: str, path: str, *, scope: str, headers: Mapping[str, str] | None = None, body: Body = None
    ) -> Iterator[httpx.Response]:
        """One attempt: an answer with a 2xx status, its body not read yet. ``path`` may be a URL that the registry has given out."""
        url = self._url(path)
        response = self._send(method, url, scope, headers or {}, body)
        if response.status_code == 401 and self._is_own(response.url):
            with closing(response):
                self._authorize(response, scope)
            response = self._send(method, url, scope, headers or {}, body)
        with closing(response):
            if not response.is_success:
                raise self._refusal(response)
            yield response

    def chunks(self, response: httpx.Response) -> Iterator[bytes]:
        """The body as it arrives; ``Passing`` if the connection breaks or falls silent."""
        try:
            yield from response.iter_raw()
        except httpx.TransportError as error:
            raise Passing(f"{self.endpoint}: the connection broke: {refusals.cause(error)}") from None

    def abort(self) -> None:
        """Break all connections, whatever another thread waits for there; there will be no others."""
        self._connections.abort()

    def _url(self, path: str) -> httpx.URL:
        try:
            base = httpx.URL(f"{self._connections.scheme}://{self.endpoint.host}/")
            url = base.join(path)
            if not url.host:  # which raises UnicodeError for some names
                raise httpx.InvalidURL("it names no host")
            return url
        except (httpx.InvalidURL, UnicodeError) as error:
            raise InvalidInput(f"{self.endpoint}{path:.80}: {error}") from None
        except httpx.TransportError as error:
            raise self._unreachable(error) from None

    def _is_own(self, url: httpx.URL) -> bool:
        return (url.scheme, url.netloc) == ((own := self._url("/")).scheme, own.netloc)

    def _send(self, method: str, url: httpx.URL, scope: str, headers: Mapping[str, str], body: Body) -> httpx.Response:
        """The answer to one request, redirects followed."""
        for _ in range(MAX_REDIRECTS + 1):
            own = self._is_own(url)
            authorization = self._authorizations.header(scope) if own else None
            sent = {"Accept-Encoding": "identity", **headers, **({"Authorization": authorization} if authorization else {})}
            response = self._exchange(method, url, sent, body() if callable(body) else body)
            location = response.headers.get("location", "")
            kept = response.status_code in (307, 308) or (method in ("GET", "HEAD") and response.status_code in (301, 302, 303))
            if not kept or not location:
                return response
            response.close()
            url = self._redirected(url, location)
        raise Unreachable(f"{self.endpoint}: more than {MAX_REDIRECTS} redirects, the last one to {url!s:.200}")

    def _redirected(self, url: httpx.URL, location: str) -> httpx.URL:
        try:
            target = url.join(location)
            is_complete = target.scheme in ("http", "https") and bool(target.host)
        except (httpx.InvalidURL, UnicodeError):
            is_complete = False
        if not is_complete:
            raise Unreachable(f"{self.endpoint}: redirects to {location!r:.200}, where there is no way to go")
        if (url.scheme, target.scheme) == ("https", "http"):
            raise Unreachable(f"{self.endpoint}: redirects from https to {target!s:.200}, which is not encrypted: refused")
        return target

    def _exchange(self, method: str, url: httpx.URL, headers: Mapping[str, str], content: bytes | Iterable[bytes] | None) -> httpx.Response:
        try:
            return self._connections.send(method, url, dict(headers), content)
        except httpx.ConnectError as error:  # nobody is there: that will not be otherwise in a second
            raise self._unreachable(error) from None
        except httpx.TransportError as error:
            raise Passing(f"{self.endpoint}: {refusals.cause(error)}") from None

    def _unreachable(self, error: httpx.TransportError) -> Unreachable:
        scheme = self.endpoint.schemes[0]
        return Unreachable(f'Get "{scheme}://{self.endpoint.host}/v2/": {refusals.cause(error)}')

    def _read(self, response: httpx.Response, limit: int) -> bytes:
        data = bytearray()
        deadline = time.monotonic() + 2 * self.patience.silence
        for chunk in self.chunks(response):
            data += chunk
            if len(data) > limit:
                raise Unreachable(f"{self.endpoint}: answers with more than {limit} bytes where a short document was asked for")
            if time.monotonic() > deadline:
                raise Passing(f"{self.endpoint}: answers too slowly: {len(data)} bytes in {2 * self.patience.silence:.0f} seconds")
        return bytes(data)

    def _authorize(self, response: httpx.Response, scope: str) -> None:
        """Get what the 401 asks for. ``Denied`` if there is no way to."""
        challenges = {challenge.scheme: challenge for challenge in auth.parse(response.headers.get_list("www-authenticate"))}
        sent = response.request.headers.get("authorization")
        with self._authorizations.lock:
            if self._authorizations.header(scope) not in (None, sent):
                return  # another thread was faster
            if "bearer" in challenges:
                self._get_token(challenges["bearer"], scope, response.url.scheme == "https")
            elif "basic" in challenges and self._authorizations.credential and sent is None:
                self._authorizations.use_basic()
            else:
                raise self._refusal(response)

    def _get_token(self, challenge: auth.Challenge, scope: str, is_secure: bool) -> None:
        wanted = auth.token_request(challenge, scope, self._authorizations.credential, is_secure)
        try:
            url = httpx.URL(wanted.url)
            form = urlencode(wanted.form).encode() if wanted.form else None
            headers = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
            method = "POST" if form else "GET"
            with closing(self._connections.send(method, url, {**headers, **wanted.headers}, form)) as response:
                if not response.is_success:
                    raise self._refusal(response, f"{url.host}: no token for {scope or 'logging in'}")
                self._authorizations.keep_token(scope, *auth.parse_token(self._read(response, MAX_DOCUMENT)))
        except (httpx.TransportError, httpx.InvalidURL, UnicodeError) as error:
            raise Passing(f"{wanted.url:.200}: no token for {self.endpoint}: {refusals.cause(error)}") from None

    def _refusal(self, response: httpx.Response, prefix: str = "") -> LabError:
        return refusals.of(response, self._try_read(response), prefix or str(self.endpoint))

    def _try_read(self, response: httpx.Response) -> bytes:
        try:
            return self._read(response, _MAX_COMPLAINT)
        except Unreachable:
            return b""
