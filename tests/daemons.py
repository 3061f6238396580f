"""Daemons that docker's client speaks to, for tests: labkit's, and dockerd where it is installed.

    with labkit_daemon(tmp_path / "labkit") as daemon:
        daemon.docker.says("run", "--rm", "busybox", "echo", "hello")
        daemon.kill(); daemon.start()

Each is in a network namespace of its own, where it may make bridges, publish ports and be alone on the loopback, and has a directory
of its own for images, containers and socket. Both have the same image, by the same ID: ``busybox``. ``registry`` starts a registry that
is at ``localhost:5000`` for that daemon alone.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from labkit.image import archives, references
from labkit.image.container_config import ContainerConfig
from labkit.image.images import Images
from labkit.lessons.rootfs import busybox_root
from labkit.linux import mounts
from labkit.storage.store import Store
from tests.command_lines import Program
from tests.patience import PATIENCE
from tests.registries import PROGRAM as REGISTRY

DOCKER = shutil.which("docker") or ""
LABKIT = os.path.join(os.path.dirname(sys.executable), "labkit")
"""Which has docker's grammar, for machines without that."""
HAS_DOCKERD = bool(shutil.which("dockerd") and shutil.which("containerd") and DOCKER)
CLIENTS = tuple(path for path in ("/usr/local/bin/docker", "/usr/bin/docker") if os.path.exists(path)) or ((DOCKER,) if DOCKER else ())
"""Whichever clients there are: often a new one, and Debian's."""
SECONDS = 60.0 * PATIENCE
PORT = 5000
_IN_A_NETWORK_OF_ITS_OWN = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")


@dataclass
class Daemon:
    """A daemon that can be started, ended, killed and started again over the same directory."""

    name: str
    place: Path
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    holder: subprocess.Popen[bytes] | None = None
    """Keeps the network namespace while the daemon is away."""
    at_home: bool = False
    """It is in the tests' own network, where their registries are."""

    @property
    def socket(self) -> str:
        return f"{self.place}/socket"

    @property
    def log(self) -> Path:
        return self.place / "log"

    @property
    def docker(self) -> Program:
        return self.client(DOCKER or LABKIT)

    def client(self, program: str) -> Program:
        """A docker client that speaks to it."""
        return Program([program], self.environment)

    @property
    def environment(self) -> dict[str, str]:
        return {"DOCKER_HOST": f"unix://{self.socket}", "DOCKER_CONFIG": f"{self.place}/client", "DOCKER_BUILDKIT": "0", "TZ": "UTC"}

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    def inside(self, *command: str) -> list[str]:
        """A command line in the daemon's network."""
        if self.at_home:
            return [*command]
        assert self.holder
        return ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", *command]

    def start(self) -> None:
        """Returns when it answers."""
        if not self.holder and not self.at_home:
            self.holder = subprocess.Popen(
                [*_IN_A_NETWORK_OF_ITS_OWN, "sleep", "infinity"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            )
            _until(lambda: Path(f"/proc/{self.holder.pid}/comm").read_text() == "sleep\n", "sleep")  # type: ignore[union-attr]
        self.begin()
        _until(self._answers, self.name)

    def begin(self) -> None:
        """Start it, and wait for nothing."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.inside(*self.command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, f"{self.name} has ended:\n{self.log.read_text()[-2000:]}"
        with contextlib.suppress(OSError, http.client.HTTPException):
            return ask(self.socket, "GET", "/_ping")[0] == 200
        return False

    def kill(self) -> None:
        """SIGKILL: it has no time to say anything."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, and its end; whoever has ended already is fine."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(SECONDS)

    def close(self) -> None:
        """No container, no daemon, no network."""
        try:
            if self.process and self.process.poll() is not None:
                self.start()
            running = self.docker("ps", "--all", "--quiet", "--no-trunc").out.split()
            if running:
                self.docker("rm", "--force", "--volumes", *running)
            self.stop()
        finally:
            if self.holder:
                self.holder.kill()
                self.holder.wait()


def _until(condition: object, name: str) -> None:
    assert callable(condition)
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{name} does not answer"
        time.sleep(0.01)


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(path: str, method: str, target: str, body: object = None) -> tuple[int, bytes]:
    """One request over the socket at ``path``: status and body."""
    with contextlib.closing(_Connection(path)) as connection:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        connection.request(method, target, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


def busybox_archive(place: Path) -> Path:
    """An image ``busybox`` as `docker load` takes it, the same at each call: every applet, a few users."""
    place.mkdir(parents=True, exist_ok=True)
    tree = place / "tree"
    busybox_root(str(tree))
    (tree / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nwww:x:33:34:www:/var/www:/bin/sh\n")
    (tree / "etc/group").write_text("root:x:0:\nweb:x:34:\n")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(tree, ".", filter=_as_of_2023)
    packed.seek(0)
    images = Images(Store(str(place / "store")))
    config = ContainerConfig(Cmd=("sh",), Env=(f"PATH={_PATH}",))
    archives.import_(images, packed, references.parse("busybox"), config=config, created="2024-01-01T00:00:00Z")
    with open(place / "busybox.tar", "wb") as out:
        archives.save(images, ("busybox",), out)
    return place / "busybox.tar"


_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _as_of_2023(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = 1_700_000_000, 0, 0, "", ""
    return entry


def _dashed(settings: Mapping[str, object]) -> dict[str, object]:
    return {name.replace("_", "-"): value for name, value in settings.items()}


@contextlib.contextmanager
def labkit_daemon(place: Path, at_home: bool = False, **settings: object) -> Iterator[Daemon]:
    """labkit's daemon, started. ``settings`` are of daemon.json, with underscores for dashes."""
    place.mkdir(parents=True, exist_ok=True)
    parent = f"labkit/tests-{os.getpid()}-{place.name}"
    said = {"cgroup-parent": parent} | _dashed(settings)
    (place / "daemon.json").write_text(json.dumps(said))
    places = ["--root", f"{place}/data", "--exec-root", f"{place}/run", "--config", f"{place}/daemon.json"]
    daemon = Daemon("labkit", place, [LABKIT, "daemon", "--host", f"unix://{place}/socket", *places], at_home=at_home)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.close()
        _remove_groups(parent)


@contextlib.contextmanager
def dockerd(place: Path, **settings: object) -> Iterator[Daemon]:
    """A dockerd, started. Its mounts are in a namespace of their own, too."""
    place.mkdir(parents=True, exist_ok=True)
    parent = f"labkit-dockerd-{os.getpid()}"
    said = {
        "data-root": f"{place}/data", "exec-root": f"{place}/exec", "pidfile": f"{place}/pid", "hosts": [f"unix://{place}/socket"],
        "storage-driver": "overlay2", "exec-opts": ["native.cgroupdriver=cgroupfs"], "cgroup-parent": f"/{parent}", "userland-proxy": False,
    } | _dashed(settings)  # fmt: skip
    (place / "daemon.json").write_text(json.dumps(said))
    daemon = Daemon("dockerd", place, ["unshare", "--mount", "dockerd", "--config-file", f"{place}/daemon.json"])
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.close()
        _remove_groups(parent)


def _remove_groups(parent: str) -> None:
    """The control groups that all containers were in; none is any more."""
    for hierarchy in mounts.table():
        if hierarchy.fstype in ("cgroup", "cgroup2") and os.path.isdir(found := f"{hierarchy.target}/{parent}"):
            for directory, _, _ in os.walk(found, topdown=False):
                os.rmdir(directory)


@contextlib.contextmanager
def registry(daemon: Daemon) -> Iterator[None]:
    """A docker-registry at localhost:5000 of the daemon's network."""
    config = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": f"{daemon.place}/registry"}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{PORT}", "secret": "of these tests"},
    }
    (daemon.place / "registry.yml").write_text(json.dumps(config))
    log = daemon.place / "registry.log"
    with open(log, "wb") as out:
        command = daemon.inside(REGISTRY, "serve", f"{daemon.place}/registry.yml")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd="/")
    try:
        _until(lambda: "listening on" in log.read_text(), "docker-registry")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
