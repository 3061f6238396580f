"""The lab's own registry: Debian's docker-registry, which ``labkit up`` starts and ``labkit down`` stops.

    >>> from labkit.lab import registry
    >>> registry.up().url
    'http://127.0.0.1:5000'
    >>> registry.down()

A class shares one address, and with it one limit of the public hub; mirrors die; networks fail. So the images of the course come from
here: daemon.json names this registry as a mirror, and ``pull nginx`` asks it first.

    pull nginx ──▶ registry-mirrors: http://127.0.0.1:5000 ──▶ /v2/library/nginx/…      (here)
                             └─ has it not, or does not answer ──▶ https://registry-1.docker.io

It listens on this machine alone, needs no password, and keeps its blobs in /var/lib/labkit/registry. Its configuration is ours:
the one that Debian ships asks for a password, and listens to everybody. What one run needs is in /run/labkit/registry.

Source: the manual of docker-registry 2.8, "Configuring a registry". Shown in notebook 05.
"""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
from dataclasses import dataclass

from labkit.errors import Conflict, KernelError, Unsupported
from labkit.lab import listeners, service

RUN = "/run/labkit/registry"
DATA = "/var/lib/labkit/registry"
PORT = 5000
PROGRAM = "docker-registry"

_START_SECONDS = 30.0
_CONFIG = """\
# The lab's own registry, written anew by each `labkit up`.
version: 0.1
log:
  level: warn
  accesslog:
    disabled: true      # or the log would grow with every pull
storage:
  filesystem:
    rootdirectory: {data}
  # No cache of what there is: what `sweep` has deleted shall be missed at once.
  delete:
    enabled: true
http:
  addr: 127.0.0.1:{port}
"""


@dataclass(frozen=True)
class Server(service.Process):
    """A registry that was started here."""

    port: int
    data: str
    """The directory that holds its blobs."""

    @property
    def address(self) -> str:
        """Host and port, as the first part of an image's name."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"


def running(run: str = RUN) -> Server | None:
    """The registry that was started with this run directory, if it is still alive."""
    return service.running(run, Server)


def up(port: int = PORT, run: str = RUN, data: str = DATA) -> Server:
    """The running registry, started if there is none; returns when it answers.

    Raises ``Unsupported`` where docker-registry is not installed, ``Conflict`` where the port is taken: images are named after it,
    so there is no other to take.
    """
    with service.locked(run):
        server = running(run)
        if server is None:
            server = _start(port, run, data)
        try:
            service.wait(server, run, "The registry", f"{server.url}/v2/", _START_SECONDS)
        except BaseException:
            service.stop(server, run)
            raise
        return server


def down(run: str = RUN) -> Server | None:
    """Stop the registry; its images stay. Returns what was stopped, or None if nothing ran."""
    if not os.path.isdir(run):
        return None
    with service.locked(run):
        server = running(run)
        if server is not None:
            service.stop(server, run)
        return server


def sweep(server: Server) -> tuple[str, ...]:
    """Delete the blobs that are not what their digest says; returns those digests.

    docker-registry takes a blob that it has for whole, and a push of the same blob for done: only what is gone is stored anew.
    """
    swept = []
    for path in glob.glob(f"{server.data}/docker/registry/v2/blobs/sha256/*/*/data"):
        digest = f"sha256:{os.path.basename(os.path.dirname(path))}"
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != f"sha256:{found}":
            shutil.rmtree(os.path.dirname(path))
            swept.append(digest)
    return tuple(sorted(swept))


def _start(port: int, run: str, data: str) -> Server:
    program = shutil.which(PROGRAM)
    if program is None:
        raise Unsupported(f"{PROGRAM} is not installed: `make setup`, or apt-get install docker-registry")
    if not service.is_free("127.0.0.1", port):
        raise Conflict(f"the lab's registry needs port {port}, where {listeners.described(port)}")
    try:
        os.makedirs(data, exist_ok=True)
        with open(f"{run}/config.yml", "w") as file:
            file.write(_CONFIG.format(data=data, port=port))
    except OSError as error:
        raise KernelError.of(error, "set up the lab's registry in", error.filename) from None
    # An environment without REGISTRY_…: each such variable would change the configuration.
    environment = {"PATH": os.environ.get("PATH", os.defpath)}
    process = service.start([program, "serve", f"{run}/config.yml"], environment, run)
    server = Server(process.pid, process.start_time, port, data)
    service.remember(server, run)
    return server
