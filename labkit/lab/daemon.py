"""The lab's daemon in the background: ``labkit up`` starts it, ``labkit down`` stops it; its containers go on.

    >>> from labkit.lab import daemon
    >>> daemon.up().host
    'unix:///run/labkit/labkit.sock'
    >>> daemon.down()

    labkit up ──▶ labkit daemon ──▶ server.json: PID, start time, socket
                       └─ GET /_ping answers: it is up

What it is, is in ``labkit.daemon``; here it is a program like JupyterLab. One that somebody else has started, systemd for instance, writes
the same record, and is found and stopped like our own. Source: Docker's ``dockerd``. Shown in notebook 06.
"""

from __future__ import annotations

import http.client
import os
import socket
import sys
from dataclasses import dataclass

from labkit.errors import LabError
from labkit.lab import service

RUN = "/run/labkit"
DATA = "/var/lib/labkit"
CONFIG = "/etc/labkit/daemon.json"

_START_SECONDS = 30.0
_ANSWER_SECONDS = 5.0


@dataclass(frozen=True)
class Server(service.Process):
    """A daemon that was started."""

    host: str
    """Where it listens: what DOCKER_HOST has to be."""

    @property
    def socket(self) -> str:
        """The path of its socket."""
        return self.host.removeprefix("unix://")


def running(run: str = RUN) -> Server | None:
    """The daemon that has this directory, if it is still alive."""
    return service.running(f"{run}/daemon", Server)


def up(run: str = RUN, data: str = DATA, config: str = CONFIG) -> Server:
    """The running daemon, started if there is none; returns when it answers. ``LabError`` with the end of its log if it does not."""
    place = f"{run}/daemon"
    os.makedirs(run, mode=0o755, exist_ok=True)
    with service.locked(place):
        server = running(run) or _start(run, data, config)
        try:
            service.wait(server, place, "The daemon", server.host, _START_SECONDS, lambda: answers(server.socket))
        except BaseException:
            service.stop(server, place)
            raise
        return server


def down(run: str = RUN) -> Server | None:
    """Stop the daemon; its containers go on. Returns what was stopped, or None if nothing ran."""
    place = f"{run}/daemon"
    if not os.path.isdir(place):
        return None
    with service.locked(place):
        server = running(run)
        if server is not None:
            service.stop(server, place)
        return server


def answers(path: str) -> bool:
    """Whether a daemon answers at a socket."""
    try:
        status, _ = _asked(path, "/_ping")
    except (OSError, http.client.HTTPException):
        return False
    return status == 200


def version(server: Server) -> bytes:
    """What it says of itself. ``LabError`` if it does not."""
    try:
        return _asked(server.socket, "/version")[1]
    except (OSError, http.client.HTTPException) as error:
        raise LabError(f"the daemon does not answer on {server.host}: {error}") from None


def _asked(path: str, target: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("labkit", timeout=_ANSWER_SECONDS)
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.settimeout(_ANSWER_SECONDS)
        connection.sock.connect(path)
        connection.request("GET", target)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _start(run: str, data: str, config: str) -> Server:
    place, host = f"{run}/daemon", f"unix://{run}/labkit.sock"
    words = ["--host", host, "--root", data, "--exec-root", run, "--config", config]
    process = service.start([sys.executable, "-m", "labkit.daemon", *words], os.environ, place)
    server = Server(process.pid, process.start_time, host)
    service.remember(server, place)
    return server
