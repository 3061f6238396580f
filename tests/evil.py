"""A registry of the tests' own, in memory, that misbehaves when told to.

    with Evil() as registry:
        registry.add(made([layer({"a": b"1"})]), "me/web", "v1")
        registry.on("/blobs/", status(500), times=2)
        …  # pulls 127.0.0.1:PORT/me/web:v1, and sees two of its requests for blobs answered with 500

It answers on a free port of 127.0.0.1 from a thread; what it was asked is in ``asked``. Without a rule it behaves.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.server
import io
import json
import re
import socketserver
import tarfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer(files: Mapping[str, bytes], level: int = 6) -> tuple[bytes, str]:
    """A layer, compressed, and its diff ID."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return gzip.compress(archive.getvalue(), level, mtime=0), digest_of(archive.getvalue())


@dataclass(frozen=True)
class Made:
    """An image, ready to be given out."""

    manifest: bytes
    config: bytes
    layers: tuple[bytes, ...]

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)


def made(layers: Sequence[tuple[bytes, str]], **config: object) -> Made:
    """An image of these layers, for this machine unless ``architecture`` says otherwise."""
    from labkit.image import platforms

    rootfs = {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]}
    text = json.dumps({"architecture": platforms.host().architecture, "os": "linux", "rootfs": rootfs, **config}).encode()
    described = [{"mediaType": LAYER, "size": len(data), "digest": digest_of(data)} for data, _ in layers]
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "layers": described}
    manifest["config"] = {"mediaType": CONFIG, "size": len(text), "digest": digest_of(text)}
    return Made(json.dumps(manifest).encode(), text, tuple(data for data, _ in layers))


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Request:
    """What a reply may look at, and answer through."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    registry: Evil
    _handler: http.server.BaseHTTPRequestHandler = field(repr=False)

    def answer(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        self._handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self._handler.send_header(name, value)
        self._handler.end_headers()
        if self.method != "HEAD":
            self._handler.wfile.write(body)

    def cut(self) -> None:
        """Close the connection, whatever was said."""
        self._handler.wfile.flush()
        self._handler.close_connection = True


Reply = Callable[[Request], None]


def status(code: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Reply:
    return lambda request: request.answer(code, headers, body)


def html(request: Request) -> None:
    request.answer(200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>Please log in to the network of the hotel</html>")


def hang(request: Request) -> None:
    """Say nothing, until the registry is closed."""
    request.registry.closing.wait()


def hang_after(count: int) -> Reply:
    """Give out the first bytes, then say nothing more."""

    def reply(request: Request) -> None:
        _part(request, count)
        request.registry.closing.wait()

    return reply


def die_after(count: int) -> Reply:
    """Give out the first bytes, then close the connection."""

    def reply(request: Request) -> None:
        _part(request, count)
        request.cut()

    return reply


def die_at(offset: int) -> Reply:
    """Close the connection at this byte of the blob, again and again."""

    def reply(request: Request) -> None:
        _part(request, max(0, offset - request.registry.content(request)[1]))
        request.cut()

    return reply


def redirect(location: str) -> Reply:
    return status(307, {"Location": location})


def redirect_for_ever(request: Request) -> None:
    request.answer(307, {"Location": f"{request.path}x"})


def _part(request: Request, count: int) -> None:
    data, start, code, extra = request.registry.content(request)
    headers = {"Content-Length": str(len(data) - start), "Content-Type": "application/octet-stream", **extra}
    request.answer(code, headers, data[start : start + count])


@dataclass
class Rule:
    pattern: str
    reply: Reply
    times: float
    method: str


class Evil:
    """The registry."""

    def __init__(self, *, ranges: bool = True) -> None:
        """``ranges=False``: one that does not know of ``Range``."""
        self.asked: list[Asked] = []
        self.closing = threading.Event()
        self.uploads: dict[str, bytearray] = {}
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self._ranges, self._rules, self._lock = ranges, [], threading.Lock()  # type: tuple[bool, list[Rule], threading.Lock]
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Evil:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def on(self, pattern: str, reply: Reply, *, times: float = float("inf"), method: str = "") -> None:
        """Answer so what is asked for a path that has ``pattern`` (a regular expression) in it, so many times; the oldest rule first."""
        self._rules.append(Rule(pattern, reply, times, method))

    def add(self, image: Made, repository: str, *tags: str) -> None:
        self.blobs.update({digest_of(data): data for data in (image.config, *image.layers)})
        for reference in (*tags, image.digest):
            self.manifests[repository, reference] = (MANIFEST, image.manifest)

    def paths(self, method: str, part: str = "") -> list[str]:
        """What was asked for so far."""
        return [asked.path for asked in self.asked if asked.method == method and part in asked.path]

    def content(self, request: Request) -> tuple[bytes, int, int, dict[str, str]]:
        """A blob, from where on it is wanted, and how that is said."""
        data = self.blobs[request.path.rpartition("/")[2]]
        wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", "")) if self._ranges else None
        if not wanted:
            return data, 0, 200, {}
        start = int(wanted[1])
        return data, start, 206, {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}

    def answer(self, request: Request) -> None:
        with self._lock:
            self.asked.append(Asked(request.method, request.path, request.headers))
            for rule in self._rules:
                if rule.times > 0 and rule.method in ("", request.method) and re.search(rule.pattern, request.path):
                    rule.times -= 1
                    break
            else:
                rule = Rule("", self._behave, 1, "")
        rule.reply(request)

    def _behave(self, request: Request) -> None:
        if request.path in ("/v2/", "/v2"):
            request.answer(200, {}, b"{}")
        elif found := re.fullmatch(r"/v2/(.+)/manifests/([^/]+)", request.path):
            kind, data = self.manifests.get((found[1], found[2]), ("", b""))
            if not data:
                request.answer(404, {}, b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}')
                return
            request.answer(200, {"Content-Type": kind, "Docker-Content-Digest": digest_of(data)}, data)
        elif "/blobs/sha256" in request.path and request.path.rpartition("/")[2] in self.blobs:
            data, start, code, extra = self.content(request)
            request.answer(code, {"Content-Type": "application/octet-stream", **extra}, data[start:])
        else:
            request.answer(404, {}, b'{"errors": [{"code": "BLOB_UNKNOWN", "message": "blob unknown to registry"}]}')


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    block_on_close = False


def _handler(registry: Evil) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def handle_one_request(self) -> None:
            with contextlib.suppress(ConnectionError):
                super().handle_one_request()
                return
            self.close_connection = True

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            registry.answer(Request(self.command, self.path, headers, body, registry, self))

        do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _any

    return Handler
