"""Connections of one registry: which scheme it speaks, whose certificates count, and through which proxy.

    endpoint      http://127.0.0.1:5000     direct, no proxy
    redirected    https://cdn.example/…     through HTTPS_PROXY if there is one; its certificate is verified

    >>> from labkit.image.registry.connections import Connections
    >>> Connections(endpoint, connect=10, silence=30).scheme
    'http'

Certificates are those that the machine trusts, plus /etc/docker/certs.d/HOST[:PORT]/*.crt, as in Docker. Source: Docker's "Verify
repository client with certificates"; httpx, "Environment Variables".
"""

from __future__ import annotations

import glob
import socket
import ssl
import threading
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress

import httpcore
import httpx

from labkit.errors import InvalidInput, Unsupported
from labkit.image.registry.endpoints import Endpoint
from labkit.image.registry.settings import is_loopback, split_port

CERTIFICATES = "/etc/docker/certs.d"


class Connections:
    """HTTP clients that keep their connections open, one for each combination of scheme and proxy in use. For any thread."""

    def __init__(self, endpoint: Endpoint, *, connect: float, silence: float) -> None:
        """``connect`` and ``silence`` in seconds."""
        self._endpoint = endpoint
        self._timeout = httpx.Timeout(silence, connect=connect, pool=None)
        self._clients: dict[tuple[bool, bool, bool], httpx.Client] = {}
        self._scheme = endpoint.schemes[0] if len(endpoint.schemes) == 1 else ""
        self._lock = threading.RLock()
        self._sockets: set[socket.socket] = set()
        self.aborted = threading.Event()

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    @property
    def scheme(self) -> str:
        """The first of the endpoint's schemes that is answered. Raises ``httpx.TransportError`` if there is none."""
        with self._lock:
            if not self._scheme:
                self._scheme = self._find_scheme()
            return self._scheme

    def send(self, method: str, url: httpx.URL, headers: dict[str, str], content: bytes | Iterable[bytes] | None) -> httpx.Response:
        """One request; the answer's body is not read yet, and redirects are not followed."""
        if self.aborted.is_set():
            raise httpx.ConnectError("given up")
        client = self._client(url)
        request = client.build_request(method, url, headers=headers, content=content, extensions={"trace": self._keep_socket})
        try:
            return client.send(request, stream=True)
        except UnicodeError:  # part of the name is empty, or longer than 63 characters
            raise httpx.ConnectError(f"{url.host:.80} cannot be the name of a host") from None

    def abort(self) -> None:
        """Break all connections, from another thread, for good. Closing a socket would not wake up who reads from it; this does."""
        self.aborted.set()
        for connection in tuple(self._sockets):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _keep_socket(self, event: str, info: Mapping[str, object]) -> None:
        """httpcore tells what it does; what becomes a TLS connection is first one without."""
        stream = info.get("return_value")
        if event.endswith(("connect_tcp.complete", "start_tls.complete")) and isinstance(stream, httpcore.NetworkStream):
            self._sockets.add(stream.get_extra_info("socket"))

    def _client(self, url: httpx.URL) -> httpx.Client:
        """The client for a URL, which may be of another host: where the registry redirects to, or gets its tokens from."""
        direct = is_loopback(url.netloc.decode())
        secure = url.scheme == "https"
        # Leave is given for the registry itself, not for wherever it may send us.
        verified = secure and not direct and (self._endpoint.is_verified or url.host != split_port(self._endpoint.host)[0])
        key = (direct, secure, verified)
        with self._lock:
            if key not in self._clients:
                self._clients[key] = self._new_client(direct, self._certificates(secure, verified))
            return self._clients[key]

    def _find_scheme(self) -> str:
        failure: httpx.TransportError | None = None
        for scheme in self._endpoint.schemes:
            url = httpx.URL(f"{scheme}://{self._endpoint.host}/v2/")
            try:
                with closing(self.send("GET", url, {}, None)) as response:
                    if scheme == "http" and response.status_code == 400:
                        continue  # what servers say to plain HTTP on a port of TLS
                    return scheme
            except (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError) as error:  # TLS spoken to HTTP, or the reverse
                failure = failure or error
        raise failure or httpx.ConnectError("it speaks neither HTTP nor TLS")

    def _new_client(self, direct: bool, certificates: ssl.SSLContext) -> httpx.Client:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=8)
        try:
            return httpx.Client(
                verify=certificates, timeout=self._timeout, limits=limits, trust_env=not direct, headers={"User-Agent": "labkit"}
            )
        except (ImportError, ValueError) as error:  # a proxy of a kind that httpx lacks a package for, or that is no URL
            raise Unsupported(f"proxy for {self._endpoint}: {error} (see the variables HTTPS_PROXY, HTTP_PROXY and ALL_PROXY)") from None

    def _certificates(self, secure: bool, verified: bool) -> ssl.SSLContext:
        if not secure:
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used; loading what the machine trusts would take 30 ms
        context = ssl.create_default_context()
        if not verified:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        for path in sorted(glob.glob(f"{CERTIFICATES}/{glob.escape(self._endpoint.host)}/*.crt")):
            try:
                context.load_verify_locations(path)
            except (OSError, ssl.SSLError) as error:
                raise InvalidInput(f"{path}: is no certificate that can be read: {error}") from None
        return context
