"""The engine: containers, images, networks, volumes and what happens to them, as plain Python objects.

    >>> from labkit.engine.engine import Engine
    >>> with Engine() as engine:
    ...     made = engine.containers.create("box", Config(Image="busybox", Cmd=("true",)), HostConfig(NetworkMode="none"))
    ...     box = engine.containers.get("box")
    ...     exited = box.wait("next-exit")
    ...     box.start()
    ...     exited.result().StatusCode
    0

    root/containers  one directory each      containers.py, container.py, lifecycle.py, recovery.py
    root/images, root/snapshots              images.py; labkit.image, labkit.storage
    root/volumes     volumes.py              run/containers   the runtime's state of those that run

Any thread may call anything. Nothing that matters is in memory alone: kill the process that has the engine, and containers go on
under their monitors; the next engine takes them up. One engine at a time has a root, which a lock on ``root/engine.lock`` sees to.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from labkit.engine import health, images, recovery
from labkit.engine.containers import Containers
from labkit.engine.events import Events
from labkit.engine.execs import Execs
from labkit.engine.networks import Networks
from labkit.engine.supervision import Supervisor
from labkit.engine.volumes import Volumes
from labkit.errors import Conflict, KernelError, NotFound
from labkit.image import platforms
from labkit.linux import cgroups
from labkit.runtime import client

if TYPE_CHECKING:
    from labkit.engine.container import Follower
    from labkit.image.image import Image

ROOT = "/var/lib/labkit"
RUN = "/run/labkit"
CGROUP_PARENT = "labkit/containers"


class Engine:
    """All of it. A ``with`` block closes it at its end; containers that run go on."""

    def __init__(
        self,
        root: str = ROOT,
        run: str = RUN,
        *,
        config: str = images.CONFIG,
        cgroup_parent: str = CGROUP_PARENT,
        waiting: Callable[[], None] | None = None,
        bip: str = "",
    ) -> None:
        """``Conflict`` if another engine has this root.

        ``config`` is the daemon.json, ``waiting`` as in ``Store``; ``bip`` address and subnet of the default bridge, as 172.17.0.1/16.
        """
        self.root, self.run, self.cgroup_parent = os.path.realpath(root), run, cgroup_parent
        self.runtime_root = f"{run}/containers"
        self.is_closing = False
        try:
            os.makedirs(self.root, exist_ok=True)
            os.makedirs(self.run, mode=0o755, exist_ok=True)
        except OSError as error:
            raise KernelError.of(error, "make the directories of the engine in", root) from None
        self._lock = _locked(f"{self.root}/engine.lock")
        self.images = images.ImageStore(self.root, config, waiting)
        self.store = self.images.store
        self.events = Events()
        self.supervisor = Supervisor()
        self.checks = health.Checks()
        self.followers: list[Follower] = [self.checks]
        """Who is told when a container has started and ended: filled before ``recovery`` runs, below."""
        self.networks = Networks(self, bip)
        self.volumes = Volumes(self)
        self.execs = Execs(self)
        self.containers = Containers(self)
        self.images.holders = self.containers.holders
        self.images.tell = lambda action, id, name: self.events.publish("image", action, id, {"name": name})
        try:
            self.containers.load(recovery.load(self))
            recovery.take_up(self)
        except BaseException:
            self.close()
            raise
        self.supervisor.later(0, client.prepare)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Engine({self.root!r}, {self.run!r})"

    def image(self, name: str, platform: str = "") -> Image:
        """The image that a container is to be made from; ``NotFound`` if it is not there, or not for that platform."""
        image = self.images.images.get(name)
        if platform:
            wanted, found = platforms.parse(platform), image.config.platform
            if (wanted.os, wanted.architecture) != (found.os, found.architecture):
                raise NotFound(
                    f"image with reference {name} was found but does not match the specified platform:"
                    f" wanted {platform}, actual: {found.os}/{found.architecture}"
                )
        return image

    def close(self) -> None:
        """Let go of everything; containers that run go on, and the next engine takes them up."""
        if self.is_closing:
            return
        self.is_closing = True
        self.events.close()
        self.checks.close()
        self.supervisor.close()
        for container in self.containers.list(all=True):
            container.let_go()
        self.networks.close()
        for directory in cgroups.directories(self.cgroup_parent, cgroups.detect()):
            with suppress(OSError):  # it is not empty, or was never made
                os.rmdir(directory)
        os.close(self._lock)


def _locked(path: str) -> int:
    """A lock that ends with this process, however it ends."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise Conflict(f"{path}: another engine has this root (is a daemon running? `labkit down` stops it)") from None
    return fd
