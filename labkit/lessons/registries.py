"""A registry of the lesson's own: Debian's docker-registry on a port of this machine, gone with the lesson.

    >>> shop = registries.serve(lesson)               # the one that runs, if this cell is run again
    >>> shop
    a registry at 127.0.0.1:5005
    >>> shop.requests()                               # what it was asked since the last time, from its own log
    ('GET /v2/', 'GET /v2/me/site/manifests/v1', 'GET /v2/me/site/blobs/…')
    >>> shop.stop(); shop.start()                     # a mirror that dies, and comes back
    >>> registries.serve(lesson, "hub", data="/var/lib/labkit/registry", writable=False)     # what the lab has, to read

It is not the lab's registry on port 5000: a lesson may fill this one, break it and stop it, and it needs no ``labkit up``. Its
process is in the lesson's control group, which is how ``lesson.end()`` and ``labkit reset`` find it, and it dies with the notebook
(``man 2 prctl``, PR_SET_PDEATHSIG). Its data are files below the lesson's directory. Shown in notebook 05.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from labkit.errors import Conflict, Unsupported
from labkit.lab import service
from labkit.lessons.stage import DATA, Lesson
from labkit.linux import cgroups

PROGRAM = "/usr/bin/docker-registry"
PORT = 5005  # or the next that is free
_START_SECONDS = 30.0
_LOG_SECONDS = 5.0
_MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
_LINE = re.compile(r'^\S+ - \S+ \[[^]]*\] "([A-Z]+) (\S+) HTTP/[0-9.]+" [0-9]+ ', re.MULTILINE)


@dataclass(frozen=True)
class Server(service.Process):
    """Its process, and where it listens."""

    address: str


class Registry:
    """One docker-registry; its configuration, its data and its log are in ``directory``."""

    def __init__(self, lesson: str, name: str) -> None:
        self.directory = f"{DATA}/{lesson}/{name}"
        self._group = f"labkit/{lesson}/registry"
        self._seen = 0

    def __repr__(self) -> str:
        return f"a registry at {self.address}{'' if self.running else ', stopped'}"

    @property
    def address(self) -> str:
        """Host and port, as the first part of an image's name."""
        with open(f"{self.directory}/config.yml") as file:
            return str(json.load(file)["http"]["addr"])

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return service.running(self.directory, Server) is not None

    def start(self) -> None:
        """Start it where it was, with what it had; returns when it answers. ``Unsupported`` without docker-registry."""
        if self.running:
            return
        if not os.path.exists(PROGRAM):
            raise Unsupported(f"{PROGRAM} is missing: apt-get install docker-registry")
        command = ["/usr/bin/setpriv", "--pdeathsig", "KILL", PROGRAM, "serve", f"{self.directory}/config.yml"]
        # An environment without REGISTRY_…: each such variable would change the configuration.
        process = service.start(command, {"PATH": os.environ.get("PATH", os.defpath)}, self.directory)
        service.remember(Server(process.pid, process.start_time, self.address), self.directory)
        cgroups.create(self._group).add(process.pid)
        service.wait(process, self.directory, "docker-registry", f"{self.url}/v2/", _START_SECONDS)
        self._seen = len(self._asked())  # that it answers is no news

    def stop(self) -> None:
        """End its process; what it has stored stays. Stopped already is fine."""
        server = service.running(self.directory, Server)
        if server:
            service.stop(server, self.directory)

    def requests(self) -> tuple[str, ...]:
        """Method and path of all that it was asked since the last time; a digest is shown as "…"."""
        asked = self._asked()
        new, self._seen = asked[self._seen :], len(asked)
        return tuple(new)

    def _asked(self) -> list[str]:
        """From its log. A request is logged when it is answered: so ask for something, and look when that is in the log."""
        mark = f"/v2/?mark={time.monotonic_ns()}"
        deadline = time.monotonic() + (_LOG_SECONDS if service.fetched(self.url + mark) is not None else 0)
        while mark not in (log := self._log()) and time.monotonic() < deadline:
            time.sleep(0.005)
        lines = [(method, path) for method, path in _LINE.findall(log) if "mark=" not in path]
        return [f"{method} {re.sub('sha256:[0-9a-f]{64}', '…', path.partition('?')[0])}" for method, path in lines]

    def _log(self) -> str:
        with open(f"{self.directory}/log", errors="replace") as file:
            return file.read()

    def repositories(self) -> tuple[str, ...]:
        """What it has, by name: ``/v2/_catalog``."""
        return self._list("/v2/_catalog", "repositories")

    def tags(self, repository: str) -> tuple[str, ...]:
        """The tags of a repository; none if it has no such."""
        return self._list(f"/v2/{repository}/tags/list", "tags")

    def _list(self, path: str, key: str) -> tuple[str, ...]:
        found = json.loads(service.fetched(self.url + path) or b"{}").get(key)
        return tuple(sorted(found or ()))

    def digest(self, repository: str, tag: str) -> str:
        """Which manifest a tag points to now; empty if there is no such tag."""
        browser = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        url = f"{self.url}/v2/{repository}/manifests/{tag}"
        try:
            with browser.open(urllib.request.Request(url, headers={"Accept": _MANIFESTS}, method="HEAD"), timeout=10) as answer:
                return str(answer.headers["Docker-Content-Digest"])
        except urllib.error.URLError:
            return ""

    def blob(self, digest: str) -> str:
        """The file in which it keeps a blob."""
        algorithm, _, encoded = digest.partition(":")
        return f"{self.directory}/data/docker/registry/v2/blobs/{algorithm}/{encoded[:2]}/{encoded}/data"

    def forge(self, digest: str, old: bytes, new: bytes) -> None:
        """Write other bytes into a blob on its disk, behind its back."""
        self.mend(digest)
        os.makedirs(f"{self.directory}/whole", exist_ok=True)
        shutil.copy2(self.blob(digest), self._whole(digest))
        with open(self._whole(digest), "rb") as whole, open(self.blob(digest), "wb") as forged:
            forged.write(whole.read().replace(old, new))

    def mend(self, digest: str) -> None:
        """Take that back; a blob that is well is fine."""
        if os.path.exists(self._whole(digest)):
            os.rename(self._whole(digest), self.blob(digest))

    def _whole(self, digest: str) -> str:
        return f"{self.directory}/whole/{digest}"


def serve(lesson: Lesson, name: str = "registry", data: str = "", writable: bool = True) -> Registry:
    """The lesson's registry of this name, started if it does not run. ``data`` is where its blobs are, if not with the lesson's."""
    registry = Registry(lesson.number, name)
    if not os.path.exists(f"{registry.directory}/config.yml"):
        os.makedirs(registry.directory, exist_ok=True)
        config = {
            "version": "0.1",
            "log": {"level": "error"},
            "storage": {
                "filesystem": {"rootdirectory": data or f"{registry.directory}/data"},
                "delete": {"enabled": writable},
                "maintenance": {"readonly": {"enabled": not writable}},
            },
            "http": {"addr": f"127.0.0.1:{_free_port()}", "secret": "of this lesson"},
        }
        with open(f"{registry.directory}/config.yml", "w") as file:
            json.dump(config, file)  # JSON is YAML
    registry.start()
    return registry


def find(lesson: str, name: str = "registry") -> Registry | None:
    """The registry of a lesson, by its number, as a check looks for it; None if none was made."""
    registry = Registry(lesson, name)
    return registry if os.path.exists(f"{registry.directory}/config.yml") else None


@contextmanager
def unplugged() -> Iterator[None]:
    """The network cable is out: what leads away from this machine goes through a proxy that nobody runs, and is refused at once."""
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
    before = {name: os.environ.pop(name) for each in names for name in (each, each.lower()) if name in os.environ}
    os.environ.update(HTTP_PROXY="http://127.0.0.1:9", HTTPS_PROXY="http://127.0.0.1:9")  # the port called discard
    try:
        yield
    finally:
        del os.environ["HTTP_PROXY"], os.environ["HTTPS_PROXY"]
        os.environ.update(before)


def _free_port() -> int:
    for port in range(PORT, PORT + 100):
        if service.is_free("127.0.0.1", port):
            return port
    raise Conflict(f"127.0.0.1: ports {PORT} to {PORT + 99} are all taken")
