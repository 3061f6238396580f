"""Debian's docker-registry, for tests: a real one, on a free port of 127.0.0.1, gone afterwards.

    def test_something(registry: Registry) -> None:
        subprocess.run(["skopeo", "copy", "--dest-tls-verify=false", …, f"docker://{registry.address}/me/web:v1"])
        assert registry.requests("GET", "/v2/me/web/blobs/") == []

The fixtures ``registry`` and ``registries`` are there for every test (conftest.py names this file). ``registries`` starts further ones:
with a password, with tokens, with TLS. The configuration is our own: Debian's /etc/docker/registry/config.yml asks for a password.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.patience import PATIENCE

PROGRAM = "/usr/bin/docker-registry"
USER, PASSWORD = "me", "secret"
# `htpasswd -nbB me secret`, kept here because htpasswd is in a package (apache2-utils) that nothing else needs.
HTPASSWD = "me:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"
_START_SECONDS = 30.0 * PATIENCE


@dataclass(frozen=True)
class Request:
    """A line of the registry's access log: a request that it has answered in full, or until the client went."""

    method: str
    path: str
    status: int
    bytes: int


@dataclass(frozen=True)
class Registry:
    """A docker-registry that runs."""

    address: str
    """Host and port, as the first component of an image's name: ``127.0.0.1:40123``."""
    directory: Path
    """Its blobs and manifests are below ``data/docker/registry/v2``."""
    process: subprocess.Popen[bytes]
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.address}"

    @property
    def log(self) -> Path:
        return self.directory / "log"

    def requests(self, method: str = "", prefix: str = "") -> list[Request]:
        """What it was asked so far, oldest first; a request is logged when its answer has ended."""
        line = re.compile(r'^\S+ - \S+ \[[^]]*\] "([A-Z]+) (\S+) HTTP/[0-9.]+" ([0-9]+) ([0-9]+) ', re.MULTILINE)
        found = (Request(verb, path, int(status), int(size)) for verb, path, status, size in line.findall(self.log.read_text()))
        return [request for request in found if request.method.startswith(method) and request.path.startswith(prefix)]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


@contextlib.contextmanager
def serving(
    directory: Path, *, htpasswd: bool = False, tls: bool = False, auth: dict[str, object] | None = None, address: str = "127.0.0.1:0"
) -> Iterator[Registry]:
    """A registry with its data in ``directory``; stopped at the end, by its PID."""
    directory.mkdir(parents=True, exist_ok=True)
    http: dict[str, object] = {"addr": address, "secret": "of these tests"}
    config: dict[str, object] = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(directory / "data")}, "delete": {"enabled": True}},
        "http": http,
    }
    if htpasswd:
        (directory / "htpasswd").write_text(HTPASSWD)
        auth = {"htpasswd": {"realm": "tests", "path": str(directory / "htpasswd")}}
    if auth:
        config["auth"] = auth
    if tls:
        certificate, key = certified(directory, "tls")
        http["tls"] = {"certificate": str(certificate), "key": str(key)}
    (directory / "config.yml").write_text(json.dumps(config))  # JSON is YAML
    with open(directory / "log", "wb") as log:
        command = [PROGRAM, "serve", str(directory / "config.yml")]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
    registry = Registry(_address(process, directory / "log"), directory, process, "https" if tls else "http")
    try:
        yield registry
    finally:
        registry.stop()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Where it listens. It was told to take port 0, any that is free, and says in its log which one it has got."""
    deadline = time.monotonic() + _START_SECONDS
    while not (found := re.search(r"listening on ([0-9.]+:[0-9]+)", log.read_text())):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            pytest.fail(f"docker-registry did not start:\n{log.read_text()}")
        time.sleep(0.01)
    return found[1]


def certified(directory: Path, name: str) -> tuple[Path, Path]:
    """A certificate that nobody trusts, and its key."""
    certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tests"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    subprocess.run([*request, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return certificate, key


def require() -> None:
    """Skip the test where the package is not installed; `make setup` installs it."""
    if not shutil.which(PROGRAM):
        pytest.skip(f"{PROGRAM} is not there: apt install docker-registry")


@pytest.fixture
def registries(tmp_path: Path) -> Iterator[Callable[..., Registry]]:
    """Starts registries: ``registries(htpasswd=True)``, with what ``serving`` takes; all are stopped at the end."""
    require()
    count = 0
    with contextlib.ExitStack() as running:

        def start(**how: object) -> Registry:
            nonlocal count
            count += 1
            return running.enter_context(serving(tmp_path / f"registry{count}", **how))  # type: ignore[arg-type]

        yield start


@pytest.fixture
def registry(registries: Callable[..., Registry]) -> Registry:
    """An empty registry without password."""
    return registries()
