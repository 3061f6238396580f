"""The containers of an engine: made, found by name or ID, listed.

    >>> made = engine.containers.create("web", Config(Image="nginx"), HostConfig(NetworkMode="none"))
    >>> made.Id, made.Warnings
    ('4cfc…', ())
    >>> engine.containers.get("4cf").start()
    True
    >>> [container.name for container in engine.containers.list()]
    ['web']

``get`` gives a ``Container``, which knows what can be done with it. Names and IDs are taken under one lock, held for a moment; each
container has a lock of its own. Who has a container's lock may take the table's, never the other way round.
"""

from __future__ import annotations

import builtins
import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from labkit.engine import config as configs
from labkit.engine import container_file, container_filters, mounting, names, oci_resources, root_layer, times, usage, verification
from labkit.engine.config import Config, HostConfig, NetworkingConfig
from labkit.engine.container import Container
from labkit.engine.container_file import Record
from labkit.engine.image_use import Holder
from labkit.errors import Conflict, InvalidInput, KernelError, LabError, NotFound
from labkit.records import record

if TYPE_CHECKING:
    from labkit.engine.engine import Engine
    from labkit.image.image import Image


@record
class Created:
    """A container that has been made; the warnings are for the user."""

    Id: str
    Warnings: tuple[str, ...] = ()


@record
class Pruned:
    """IDs of what was removed, and how many bytes of files went with it."""

    ContainersDeleted: tuple[str, ...]
    SpaceReclaimed: int


class Containers:
    """All containers of the engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.directory = f"{engine.root}/containers"
        self._lock = threading.Lock()
        self._by_id: dict[str, Container] = {}
        self._names: dict[str, str] = {}  # name → ID; of one that is being made, too
        os.makedirs(self.directory, mode=0o710, exist_ok=True)

    # Making

    def create(
        self,
        name: str = "",
        config: Config | None = None,
        host: HostConfig | None = None,
        networking: NetworkingConfig | None = None,
        platform: str = "",
    ) -> Created:
        """Make a container, which is not started. Raises ``NotFound`` for its image, ``Conflict`` for its name, ``InvalidInput``."""
        if config is None:
            raise InvalidInput("Config cannot be empty in order to create a container")
        if name:
            names.check(name)
        image = self.engine.image(config.Image, platform)
        whole = configs.merged(config, image.config.config)
        host = oci_resources.adapted(host or HostConfig())
        warnings = verification.check(whole, host)
        self._check_others(host)
        id = names.new_id()
        name = self._reserve(name, id)
        try:
            with self.engine.volumes.claimed():
                made = self._make(id, name, image, _completed(whole, host, id), host, networking or NetworkingConfig())
        except BaseException:
            with self._lock:
                self._names.pop(name, None)
            raise
        made.tell("create")
        return Created(id, warnings)

    def _check_others(self, host: HostConfig) -> None:
        """The containers whose processes and memory it shares, and those that it links to, must be there."""
        shared = (mode.removeprefix("container:") for mode in (host.PidMode, host.IpcMode) if mode.startswith("container:"))
        linked = (link.partition(":")[0] for link in host.Links)
        for words, found in (("", shared), ("could not get container for {}: ", linked)):
            for name in found:
                try:
                    self.get(name)
                except NotFound as error:  # not as one: what is not found when a container is made is an image, for a client, and it pulls
                    raise InvalidInput(f"{words.format(name)}{error}") from None

    def _make(self, id: str, name: str, image: Image, config: Config, host: HostConfig, networking: NetworkingConfig) -> Container:
        directory, snapshots = f"{self.directory}/{id}", self.engine.store.snapshots
        try:
            os.makedirs(f"{directory}/rootfs", mode=0o755)
            os.chmod(directory, 0o710)
        except OSError as error:
            raise KernelError.of(error, "mkdir", directory) from None
        try:
            snapshot = root_layer.prepare(self.engine, image, id[:12])
            layers = [layer.upper for layer in snapshots.stack(snapshot.name)]
            points = mounting.points(self.engine, config, host, layers)
            created = times.text(times.now())
            made = Record(id, name, created, image.id, snapshot.name, config, host, networking, points)
            container_file.save(directory, made)
        except BaseException:
            snapshots.remove(id[:12])
            shutil.rmtree(directory, ignore_errors=True)
            raise
        container = Container(self.engine, made)
        with self._lock:
            self._by_id[id] = container
        return container

    def _reserve(self, name: str, id: str) -> str:
        """Take a name, or make one that is free."""
        wanted = name.removeprefix("/")
        with self._lock:
            attempt = 0
            while not name and (not wanted or wanted in self._names):
                wanted = names.generate(attempt)
                attempt += 1
            if owner := self._names.get(wanted):
                raise Conflict(
                    f'Conflict. The container name "/{wanted}" is already in use by container "{owner}".'
                    " You have to remove (or rename) that container to be able to reuse that name."
                )
            self._names[wanted] = id
        return wanted

    # Finding

    def get(self, reference: str) -> Container:
        """By name, with or without a slash, by ID, or by the beginning of one. ``NotFound``; ``InvalidInput`` if several begin so."""
        wanted = reference.removeprefix("/")
        with self._lock:
            found = self._by_id.get(wanted) or self._by_id.get(self._names.get(wanted, ""))
            if found is None and wanted:
                begin = [container for id, container in self._by_id.items() if id.startswith(wanted)]
                if len(begin) > 1:
                    raise InvalidInput(f"multiple IDs found with provided prefix: {wanted}")
                found = begin[0] if begin else None
        if found is None:
            raise NotFound(f"No such container: {reference}")
        return found

    def list(self, all: bool = False, limit: int = 0, filters: Mapping[str, Sequence[str]] | None = None) -> list[Container]:
        """Those that run, or with ``all`` every one, the newest first; with a ``limit`` the last so many, whether they run or not."""
        with self._lock:
            found = sorted(self._by_id.values(), key=lambda container: container.age, reverse=True)
        passing = container_filters.passing(self.engine, found, filters or {})
        if limit > 0:
            return passing[:limit]
        if all or (filters and container_filters.says_status(filters)):
            return passing
        return [container for container in passing if container.state.running]

    def using_image(self, image_id: str) -> builtins.list[Container]:
        """Those that were made from an image, for which it must stay."""
        return [container for container in self.list(all=True) if container.record.Image == image_id]

    def holders(self, image_id: str) -> tuple[Holder, ...]:
        """The same, as ``image_use`` wants to know it."""
        return tuple(Holder(container.id, container.state.running) for container in self.using_image(image_id))

    def using_volume(self, name: str) -> builtins.list[Container]:
        """Those that have a volume among their mounts."""
        return [
            container
            for container in self.list(all=True)
            if any(point.Type == "volume" and point.Name == name for point in container.record.Mounts)
        ]

    # Changing

    def rename(self, container: Container, name: str) -> None:
        """Give a container another name."""
        if not name:
            raise InvalidInput("Neither old nor new names may be empty")
        try:
            names.check(f"/{name.removeprefix('/')}")
        except InvalidInput as error:
            raise InvalidInput(f"Error when allocating new name: {error}") from None
        with container.lock:
            if container.is_removed:
                raise NotFound(f"No such container: {container.id}")
            old = container.name
            if name.removeprefix("/") == old:
                raise InvalidInput("Renaming a container with the same name as its current name")
            try:
                new = self._reserve(name, container.id)
            except Conflict as error:
                raise Conflict(f"Error when allocating new name: {error}") from None
            try:
                container.save(Name=new)
            except BaseException:
                self._release(new, container.id)
                raise
            self._release(old, container.id)
            container.tell("rename", oldName=f"/{old}")

    def prune(self, filters: Mapping[str, Sequence[str]] | None = None) -> Pruned:
        """Remove those that do not run; ``filters`` by ``until`` and ``label``."""
        container_filters.check_prune(filters or {})
        removed, size = [], 0
        for container in container_filters.prunable(self.list(all=True), filters or {}):
            try:
                bytes_ = usage.of_container(container).SizeRw
                container.remove()
            except LabError:
                continue  # somebody has just started it, or removed it
            removed.append(container.id)
            size += bytes_
        return Pruned(tuple(removed), size)

    # For the modules of the engine

    def load(self, records: Sequence[Record]) -> None:
        """Take in what is on the disk."""
        with self._lock:
            for each in records:
                self._by_id[each.Id] = Container(self.engine, each)
                self._names[each.Name] = each.Id

    def forget(self, container: Container) -> None:
        """It is removed: its name may be taken again."""
        with self._lock:
            self._by_id.pop(container.id, None)
        self._release(container.name, container.id)

    def _release(self, name: str, id: str) -> None:
        with self._lock:
            if self._names.get(name) == id:
                del self._names[name]


def _completed(config: Config, host: HostConfig, id: str) -> Config:
    """What is said of every container: its host name is the beginning of its ID, unless it has another's."""
    shares = host.NetworkMode == "host" or host.NetworkMode.startswith("container:") or host.UTSMode == "host"
    return replace(config, Hostname=config.Hostname or ("" if shares else id[:12]))
