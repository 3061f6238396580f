"""Volumes: directories that outlive the containers which have them mounted.

    /var/lib/labkit/volumes/NAME/_data          what containers see
                            NAME/volume.json    driver, labels, when it was made

Source: Docker Engine API v1.47, Volume. Shown in notebook 09.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING

from labkit import codec
from labkit.engine import names, times
from labkit.errors import InvalidInput, KernelError, LabError, NotFound
from labkit.linux import mounts, paths
from labkit.records import record

if TYPE_CHECKING:
    from labkit.engine.engine import Engine


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


class Volumes:
    """All volumes of the engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.directory = f"{engine.root}/volumes"
        os.makedirs(self.directory, mode=0o711, exist_ok=True)

    def get(self, name: str) -> Volume:
        """``NotFound`` in Docker's words."""
        try:
            with open(f"{self.directory}/{name}/volume.json") as file:
                return codec.decode(Volume, json.load(file))
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"get {name}: no such volume") from None

    def provide(self, name: str = "", labels: Mapping[str, str] | None = None) -> Volume:
        """The volume of this name, made if there is none; without a name an anonymous one."""
        name = name or names.new_id()
        if "/" in name or name in (".", ".."):
            raise InvalidInput(f"volume name {name!r} cannot hold a slash")
        try:
            return self.get(name)
        except NotFound:
            place = f"{self.directory}/{name}"
            volume = Volume(name, f"{place}/_data", times.text(times.now()), Labels=dict(labels or {}))
            try:
                os.makedirs(volume.Mountpoint, exist_ok=True)
                with open(f"{place}/volume.json.new", "w") as file:
                    json.dump(codec.encode(volume), file)
                os.rename(f"{place}/volume.json.new", f"{place}/volume.json")
            except OSError as error:
                raise KernelError.of(error, "make volume", name) from None
            self.engine.events.publish("volume", "create", name, {"driver": "local"})
            return volume

    def fill(self, volume: Volume, layers: Sequence[str], path: str) -> None:
        """Copy what the image has at ``path`` into a volume that is empty; ``layers`` from the topmost down."""
        if os.listdir(volume.Mountpoint):
            return
        with tempfile.TemporaryDirectory(dir=self.engine.run) as place:
            mounts.overlay((*layers, f"{self.engine.store.snapshots.root}/empty"), None, None, place, ())
            try:
                with paths.inside(place, path) as spot:
                    if os.path.isdir(spot):
                        _copy(spot, volume.Mountpoint)
            except NotFound:
                return  # the image has nothing there
            except subprocess.CalledProcessError as error:
                raise LabError(f"fill volume {volume.Name} from {path}: {error}") from None
            finally:
                mounts.unmount(place)

    def discard(self, name: str) -> None:
        """Remove an anonymous volume whose container is gone, unless another one has it."""
        if self.engine.containers.using_volume(name):
            return
        shutil.rmtree(f"{self.directory}/{name}", ignore_errors=True)
        self.engine.events.publish("volume", "destroy", name, {"driver": "local"})


def _copy(spot: str, target: str) -> None:
    """All of a directory, with owners, modes, times and links."""
    fd = os.open(spot, os.O_PATH)
    try:
        subprocess.run(["cp", "-a", f"/proc/self/fd/{fd}/.", target], pass_fds=[fd], check=True)
    finally:
        os.close(fd)
