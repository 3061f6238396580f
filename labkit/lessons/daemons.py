"""A docker daemon of the lesson's own: ``labkit daemon``, with a socket, images and containers that nobody else has.

    >>> daemon = daemons.start(lesson)                # with busybox in it, built here and now; a former one makes way
    >>> daemon
    a daemon at /run/labkit/lessons/06/daemon/labkit.sock
    >>> daemon.ask("GET", "/containers/json?all=1")   # its API, without any client
    200 OK · []
    >>> daemon.kill(); daemon.start()                 # and the containers?

It is not the lab's daemon that ``labkit up`` starts: a lesson may fill it, kill it and start it again, and it needs no network. Its
process is in the lesson's control group, and so are its containers; it dies with the notebook, they do not (``man 2 prctl``,
PR_SET_PDEATHSIG), but ``lesson.end()`` and ``labkit reset`` find all of it. Source: Docker Engine API v1.47. Notebook 06.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from labkit.engine import networks
from labkit.errors import LabError, NotFound
from labkit.lab import service
from labkit.lessons import stores
from labkit.lessons.stage import DATA, RUN, Lesson
from labkit.linux import cgroups, links, nftables, processes
from labkit.network import beside, nat, survey

_START_SECONDS = 30.0
_ANSWER_SECONDS = 60.0
_PATIENCE = 10.0  # seconds, for a program to print something


@dataclass(frozen=True, repr=False)
class Answer:
    """What the daemon answered: a status, and what came with it."""

    status: int
    body: bytes = b""

    @property
    def json(self) -> object:
        """The body, as data; None if there is none, or if it is something else."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def message(self) -> str:
        """What the daemon says of an error; empty if it is none."""
        found = self.json
        return str(found.get("message", "")) if self.status >= 400 and isinstance(found, dict) else ""

    def __repr__(self) -> str:
        words = f"{self.status} {http.client.responses.get(self.status, '')}"
        return f"{words} · {self.message or self.body.decode(errors='replace').strip()}" if self.body else words


class Daemon:
    """The daemon of a lesson. What is in ``data`` stays when it ends: images and containers; what is in ``run`` is of this boot."""

    def __init__(self, lesson: str, name: str = "daemon") -> None:
        self.run, self.data = f"{RUN}/{lesson}/{name}", f"{DATA}/{lesson}/{name}"
        self.groups = f"labkit/{lesson}"
        self.config = f"{self.data}/daemon.json"

    def __repr__(self) -> str:
        return f"a daemon at {self.socket}{'' if self.running else ', not running'}"

    @property
    def socket(self) -> str:
        """Where it listens."""
        return f"{self.run}/labkit.sock"

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self._process() is not None

    @property
    def pid(self) -> int:
        """Of its process; ``NotFound`` if there is none."""
        process = self._process()
        if process is None:
            raise NotFound(f"{self} has no process")
        return process.pid

    def _process(self) -> service.Process | None:
        return service.running(self.run, service.Process)

    def start(self) -> Self:
        """Start its process where there is none; returns when it answers. ``LabError`` with the end of its log if it does not."""
        if not self.running:
            labkit = os.path.join(sys.prefix, "bin", "labkit")
            places = ("--host", f"unix://{self.socket}", "--root", self.data, "--exec-root", self.run, "--config", self.config)
            command = ["/usr/bin/setpriv", "--pdeathsig", "KILL", labkit, "daemon", *places]
            process = service.start(command, os.environ, self.run)
            service.remember(process, self.run)
            cgroups.create(f"{self.groups}/daemon").add(process.pid)
            self._wait(process)
        return self

    def _wait(self, process: service.Process) -> None:
        """Until it answers; it listens when it is ready, and not before."""
        ended = processes.pidfd(process.pid, process.start_time)
        deadline = time.monotonic() + _START_SECONDS
        try:
            while not self._answers():
                if processes.wait(ended, timeout=0.02) or time.monotonic() > deadline:
                    raise LabError(f"the daemon does not answer; the end of its log:\n{service.tail(self.run)}")
        finally:
            os.close(ended)

    def _answers(self) -> bool:
        try:
            return self.ask("GET", "/_ping").status == 200
        except LabError:
            return False

    def stop(self) -> None:
        """End it as `labkit down` does, with SIGTERM. Stopped already is fine."""
        process = self._process()
        if process:
            service.stop(process, self.run)

    def kill(self) -> None:
        """End it with SIGKILL: no time to say goodbye, or to write anything down."""
        process = self._process()
        if process:
            ended = processes.pidfd(process.pid, process.start_time)
            processes.send(process.pid, 9, process.start_time)
            processes.wait(ended, 10)
            os.close(ended)

    def end(self) -> None:
        """Remove all its containers, and then end it: so everybody who has a child is there to bury it."""
        with suppress(LabError):
            listed = self.ask("GET", "/containers/json?all=1").json
            self.remove(*(str(each["Id"]) for each in listed) if isinstance(listed, list) else ())
            self.ask("POST", "/networks/prune")
        self.stop()
        self.disconnect()

    def disconnect(self) -> None:
        """Take away the bridges that one which was killed has left, and its rules in the firewall, which name them."""
        bridge, table = networks.called(self.run)
        for each in (bridge, *survey.guarded(table)):
            beside.forget(each)
            links.delete(each)
        if nftables.available():
            nat.remove(table)

    def ask(self, method: str, path: str, body: object = None) -> Answer:
        """One request of the API, and its answer; ``body`` is sent as JSON. ``LabError`` if nobody listens."""
        connection = _Connection(self.socket)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read())
        except (OSError, http.client.HTTPException) as error:
            raise LabError(f"ask {self.socket} for {path}: {error}") from None
        finally:
            connection.close()

    def remove(self, *containers: str) -> None:
        """Away with these, whatever they are doing; what is not there is fine. A cell that may be run again begins with it."""
        for name in containers:
            self.ask("DELETE", f"/containers/{name}?force=1")

    def logs(self, container: str) -> str:
        """What a container has printed; empty if there is no such."""
        answer = self.ask("GET", f"/containers/{container}/logs?stdout=1&stderr=1")
        return "".join(_payloads(answer.body)) if answer.status == 200 else ""

    def heard(self, container: str, words: str) -> bool:
        """Wait for these words in what a container prints; False if they do not come."""
        deadline = time.monotonic() + _PATIENCE
        while words not in self.logs(container):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def events(self) -> Iterator[object]:
        """What happens from now on, one after the other, until the daemon ends."""
        connection = _Connection(self.socket, timeout=None)
        try:
            connection.request("GET", "/events")
            for line in connection.getresponse():
                yield json.loads(line)
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()


class _Connection(http.client.HTTPConnection):
    """HTTP as ever, over a Unix socket."""

    def __init__(self, path: str, timeout: float | None = _ANSWER_SECONDS) -> None:
        super().__init__("docker", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _payloads(stream: bytes) -> Iterator[str]:
    """What is in the frames: a byte for the stream, three for nothing, four for the length, and so much text."""
    while len(stream) >= 8:
        end = 8 + int.from_bytes(stream[4:8], "big")
        yield stream[8:end].decode(errors="replace")
        stream = stream[end:]


def start(lesson: Lesson, mirrors: tuple[str, ...] = (), name: str = "daemon") -> Daemon:
    """The lesson's daemon of this name, with busybox in its store; the one that runs, if it does."""
    daemon = Daemon(lesson.number, name)
    if not daemon.running:
        stores.filled(lesson, name, ("busybox:latest",))
        os.makedirs(daemon.run, exist_ok=True)
        with open(daemon.config, "w") as file:
            json.dump({"registry-mirrors": list(mirrors), "cgroup-parent": f"{daemon.groups}/containers"}, file)
        daemon.disconnect()
        daemon.start()
        lesson.at_end(daemon.end)
    return daemon


def find(lesson: str, name: str = "daemon") -> Daemon | None:
    """The daemon of a lesson, by its number, as a check looks for it; None if there is none that runs."""
    daemon = Daemon(lesson, name)
    return daemon if daemon.running else None
