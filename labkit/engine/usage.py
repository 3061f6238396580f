"""What takes how much room on the disk: ``docker system df``, ``docker ps --size``.

    >>> from labkit.engine import usage
    >>> usage.of_container(web)
    Size(SizeRw=1093, SizeRootFs=4231000)
    >>> usage.disk(engine).LayersSize
    29600000

Source: Docker Engine API v1.47, ``/system/df``. Shown in notebook 05.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from labkit.engine.build.cache import Cache
from labkit.errors import NotFound
from labkit.image import sizes
from labkit.records import record

if TYPE_CHECKING:
    from labkit.engine.container import Container
    from labkit.engine.engine import Engine
    from labkit.engine.volumes import Volume
    from labkit.image.images import Image


@record
class Size:
    """Bytes of the files that the container itself has written, and of all that are in its file system."""

    SizeRw: int
    SizeRootFs: int


@record
class ImageUsage:
    """``SharedSize``: bytes of its layers that other images have, too; ``Containers``: how many were made from it."""

    image: Image
    Size: int
    SharedSize: int
    Containers: int


@record
class ContainerUsage:
    """A container and its sizes."""

    container: Container
    size: Size


@record
class VolumeUsage:
    """A volume, the bytes of its files, and how many containers have it."""

    volume: Volume
    Size: int
    RefCount: int


@record
class BuildUsage:
    """A layer that the build cache keeps and no image has."""

    ID: str
    Size: int


@record
class Disk:
    """All of it; ``LayersSize`` counts each layer once."""

    LayersSize: int
    Images: tuple[ImageUsage, ...]
    Containers: tuple[ContainerUsage, ...]
    Volumes: tuple[VolumeUsage, ...]
    BuildCache: tuple[BuildUsage, ...]


def of_container(container: Container) -> Size:
    """The sizes of one container; reads all of its own layer."""
    snapshots = container.engine.store.snapshots
    own, *below = snapshots.stack(container.record.Snapshot)
    written = of_directory(own.upper)
    return Size(written, written + sum(map(sizes.unpacked, below)))


def of_directory(directory: str) -> int:
    """Bytes of the files below a directory, each counted once however many names it has; what vanishes meanwhile counts nothing."""
    total, seen = 0, set[tuple[int, int]]()
    for place, _, names in os.walk(directory):
        for name in names:
            try:
                found = os.lstat(f"{place}/{name}")
            except FileNotFoundError:
                continue
            if found.st_nlink > 1:
                if (found.st_dev, found.st_ino) in seen:
                    continue
                seen.add((found.st_dev, found.st_ino))
            total += found.st_size
    return total


def disk(engine: Engine) -> Disk:
    """Everything."""
    images = engine.images.images.list()
    layers = {chain: size for image in images for chain, size in zip(image.chain_ids, image.layer_sizes, strict=True)}
    owners = Counter(chain for image in images for chain in set(image.chain_ids))
    return Disk(
        sum(layers.values()),
        tuple(_of_image(engine, image, owners) for image in images),
        tuple(_of_containers(engine)),
        tuple(_of_volumes(engine)),
        tuple(_of_builds(engine, layers)),
    )


def _of_image(engine: Engine, image: Image, owners: Counter[str]) -> ImageUsage:
    shared = sum(size for chain, size in zip(image.chain_ids, image.layer_sizes, strict=True) if owners[chain] > 1)
    return ImageUsage(image, image.size, shared, len(engine.containers.using_image(image.id)))


def _of_containers(engine: Engine) -> Iterator[ContainerUsage]:
    for container in engine.containers.list(all=True):
        try:
            yield ContainerUsage(container, of_container(container))
        except NotFound:
            continue  # somebody has just removed it


def _of_volumes(engine: Engine) -> Iterator[VolumeUsage]:
    for volume in engine.volumes.list():
        yield VolumeUsage(volume, of_directory(volume.Mountpoint), len(engine.volumes.holders(volume.Name)))


def _of_builds(engine: Engine, layers: Mapping[str, int]) -> Iterator[BuildUsage]:
    _, chains = Cache(engine.store).keep()
    for chain in sorted(chains - layers.keys()):
        try:
            yield BuildUsage(chain.partition(":")[2], sizes.unpacked(engine.store.layers.get(chain)))
        except NotFound:
            continue
