"""Volumes: directories that outlive the containers which have them mounted.

    /var/lib/labkit/volumes/NAME/_data          what containers see
                            NAME/volume.json    driver, labels, when it was made

    >>> engine.volumes.create("site", labels={"of": "web"}).Mountpoint
    '/var/lib/labkit/volumes/site/_data'
    >>> engine.volumes.remove("site")
    Conflict: remove site: volume is in use - [4cfc…]

    NAME ──rename──▶ .NAME.….removing ──▶ gone         made likewise: whole, and then given its name

A volume without a name of its own is called by 64 hexadecimal digits, and is *anonymous*: ``volume prune`` takes those that no container
has. An empty volume that is mounted where the image has a directory begins with what is in that. Source: Docker Engine API v1.47, Volume;
moby's ``volume/local``. Shown in notebook 09.
"""

from __future__ import annotations

import errno
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from typing import TYPE_CHECKING

from labkit import codec
from labkit.engine import names, times, usage, volume_filling, volume_filters
from labkit.errors import Conflict, InvalidInput, KernelError, LabError, NotFound, Unsupported
from labkit.records import record
from labkit.storage import trees

if TYPE_CHECKING:
    from labkit.engine.engine import Engine

_ANONYMOUS = "com.docker.volume.anonymous"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_LONGEST_NAME = 200  # with what is put around it while it is made or removed, it is still the name of a file
_FILE = "volume.json"


@record
class Volume:
    """A volume; ``Mountpoint`` is the directory on the host."""

    Name: str
    Mountpoint: str
    CreatedAt: str
    Driver: str = "local"
    Labels: Mapping[str, str] = field(default_factory=dict)
    Options: Mapping[str, str] = field(default_factory=dict)
    Scope: str = "local"

    @property
    def anonymous(self) -> bool:
        """Whether nobody has given it a name."""
        return _ANONYMOUS in self.Labels


@record
class Pruned:
    """The names of the volumes that were removed, and how many bytes of files went with them."""

    VolumesDeleted: tuple[str, ...]
    SpaceReclaimed: int


class Volumes:
    """All volumes of the engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.directory = f"{engine.root}/volumes"
        self._lock = threading.RLock()
        self._claims: dict[str, int] = {}
        """How many containers that are being made have a volume: no record says so yet."""
        self._claiming = threading.local()
        try:
            os.makedirs(self.directory, mode=0o711, exist_ok=True)
        except OSError as error:
            raise KernelError.of(error, "make", self.directory) from None
        self._tidy()

    def _tidy(self) -> None:
        """What was half made, half filled or half removed when an engine was killed."""
        for name in os.listdir(self.directory):
            if name.startswith("."):
                _remove_quietly(f"{self.directory}/{name}")
                continue
            for left in os.listdir(f"{self.directory}/{name}"):
                if left.startswith("_data."):
                    _remove_quietly(f"{self.directory}/{name}/{left}")

    # What there is

    def get(self, name: str) -> Volume:
        """``NotFound`` in Docker's words."""
        missing = NotFound(f"get {name}: no such volume")
        if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
            raise missing
        path = f"{self.directory}/{name}/{_FILE}"
        try:
            with open(path) as file:
                return codec.decode(Volume, json.load(file), path)
        except (FileNotFoundError, NotADirectoryError):
            raise missing from None
        except OSError as error:
            raise KernelError.of(error, "read", path) from None
        except ValueError as error:
            raise InvalidInput(f"{path}: is not JSON: {error}") from None

    def list(self, filters: Mapping[str, Sequence[str]] | None = None) -> tuple[Volume, ...]:
        """All of them, or those that the filters (dangling, driver, label, name) let through, by name."""
        found = []
        for name in sorted(os.listdir(self.directory)):
            try:
                found.append(self.get(name))
            except LabError:
                continue  # half made, or damaged: ``get`` says how
        return volume_filters.passing(found, filters or {}, lambda volume: bool(self.holders(volume.Name)))

    def holders(self, name: str) -> tuple[str, ...]:
        """The IDs of the containers that have it."""
        return tuple(container.id for container in self.engine.containers.using_volume(name))

    # Making

    def create(
        self,
        name: str = "",
        driver: str = "local",
        *,
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Volume:
        """Make a volume, or take the one of this name that there is; without a name an anonymous one."""
        shown = name or "volume"
        if driver not in ("", "local", "default"):
            raise NotFound(f'create {shown}: error looking up volume plugin {driver}: plugin "{driver}" not found')
        if options:
            raise Unsupported(
                f"create {shown}: options of a volume ({', '.join(sorted(options))}): labkit's volumes are plain directories;"
                " mount other file systems with --mount type=bind or type=tmpfs"
            )
        return self.provide(name, labels)

    def provide(self, name: str = "", labels: Mapping[str, str] | None = None) -> Volume:
        """The volume of this name, made if there is none; without a name an anonymous one."""
        said = dict(labels or {})
        if not name:
            name, said = names.new_id(), {_ANONYMOUS: "", **said}
        _check(name)
        with self._lock:
            try:
                volume, is_new = self.get(name), False
            except NotFound:
                volume, is_new = self._make(Volume(name, f"{self.directory}/{name}/_data", times.text(times.now()), Labels=said)), True
            self._claim(volume, is_new)
        if is_new:
            self._tell("create", volume)
        return volume

    def _make(self, volume: Volume) -> Volume:
        new = f"{self.directory}/.{volume.Name}.new"
        try:
            trees.remove(new)
            os.makedirs(f"{new}/_data", mode=0o755)
            os.chmod(new, 0o701)  # users in containers reach what is in there through it
            os.chmod(f"{new}/_data", 0o755)  # whatever the umask is
            with open(f"{new}/{_FILE}", "w") as file:
                json.dump(codec.encode(volume), file)
            os.rename(new, f"{self.directory}/{volume.Name}")
        except OSError as error:
            _remove_quietly(new)
            raise KernelError.of(error, "make volume", volume.Name) from None
        return volume

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Volumes that this thread asks for in the block are in use until its end; if it fails, its new anonymous ones are removed."""
        mine = self._claiming.names = dict[str, bool]()
        try:
            yield
        except BaseException:
            self._release(mine)
            for name, is_ours in mine.items():
                if is_ours:
                    self.discard(name)
            raise
        else:
            self._release(mine)

    def _claim(self, volume: Volume, is_new: bool) -> None:
        mine: dict[str, bool] | None = getattr(self._claiming, "names", None)
        if mine is not None and volume.Name not in mine:
            mine[volume.Name] = is_new and volume.anonymous
            self._claims[volume.Name] = self._claims.get(volume.Name, 0) + 1

    def _release(self, mine: Mapping[str, bool]) -> None:
        self._claiming.names = None
        with self._lock:
            for name in mine:
                self._claims[name] -= 1
                if not self._claims[name]:
                    del self._claims[name]

    def fill(self, volume: Volume, layers: Sequence[str], path: str) -> None:
        """Copy what an image has at ``path`` into a volume that is empty, with owners and modes, that of the directory itself, too.

        ``layers`` from the topmost down. A volume that no container has yet is filled aside, and so has all of it or nothing.
        """
        place = volume.Mountpoint
        try:
            if os.listdir(place):
                return
            if not self.holders(volume.Name):
                place = f"{place}.{os.urandom(4).hex()}"
            if volume_filling.copied(layers, path, place, self.engine.run) and place != volume.Mountpoint:
                os.rename(place, volume.Mountpoint)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:  # somebody else was faster
                raise KernelError.of(error, f"copy {path} of the image to volume", volume.Name) from None
        finally:
            if place != volume.Mountpoint:
                _remove_quietly(place)

    # Taking away

    def remove(self, name: str, *, force: bool = False) -> None:
        """Remove a volume and what is in it; ``Conflict`` while a container has it. With ``force``, one that is gone is fine."""
        with self._lock:
            try:
                volume = self.get(name)
            except NotFound:
                if force:
                    return
                raise
            holders = self.holders(name)
            if holders or name in self._claims:
                raise Conflict(f"remove {name}: volume is in use - [{', '.join(holders)}]")
            going = self._put_aside(volume)
        self._take_away(volume, going)

    def discard(self, name: str) -> None:
        """Remove an anonymous volume whose container is gone, unless another one has it."""
        try:
            self.remove(name, force=True)
        except Conflict:
            pass

    def prune(self, filters: Mapping[str, Sequence[str]] | None = None, *, all: bool = False) -> Pruned:
        """Remove the anonymous volumes that no container has, or ``all`` that none has; ``filters`` by ``label`` and ``all``."""
        wanted = volume_filters.prunable(self.list(), filters or {}, every=all)
        removed, size = [], 0
        for volume in wanted:
            bytes_ = usage.of_directory(volume.Mountpoint)
            try:
                self.remove(volume.Name)
            except (Conflict, NotFound):
                continue
            removed.append(volume.Name)
            size += bytes_
        self.engine.events.publish("volume", "prune", "", {"reclaimed": str(size)})
        return Pruned(tuple(removed), size)

    def _put_aside(self, volume: Volume) -> str:
        going = f"{self.directory}/.{volume.Name}.{os.urandom(4).hex()}.removing"
        try:
            os.rename(f"{self.directory}/{volume.Name}", going)
        except OSError as error:
            raise KernelError.of(error, "remove volume", volume.Name) from None
        return going

    def _take_away(self, volume: Volume, going: str) -> None:
        self._tell("destroy", volume)
        try:
            trees.remove(going)
        except OSError as error:
            raise KernelError.of(error, "remove volume", volume.Name, "is something mounted in it? it is tried again later") from None

    def _tell(self, action: str, volume: Volume) -> None:
        self.engine.events.publish("volume", action, volume.Name, {"driver": volume.Driver})


def _check(name: str) -> None:
    if len(name) == 1:
        raise InvalidInput(f"create {name}: volume name is too short, names should be at least two alphanumeric characters")
    if not _NAME.fullmatch(name):
        allowed = 'only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
        raise InvalidInput(f'create {name[:255]}: "{name[:255]}" includes invalid characters for a local volume name, {allowed}')
    if len(name) > _LONGEST_NAME:
        raise InvalidInput(f"create {name[:64]}…: a volume name of {len(name)} characters is too long, {_LONGEST_NAME} are allowed")


def _remove_quietly(path: str) -> None:
    try:
        trees.remove(path)
    except OSError:
        pass  # the next engine tries again
