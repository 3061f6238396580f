"""What takes how much room on the disk: ``docker system df``, ``docker ps --size``.

    >>> from labkit.engine import usage
    >>> usage.of_container(web)
    Size(SizeRw=1093, SizeRootFs=4231000)
    >>> usage.disk(engine).LayersSize
    29600000

Source: Docker Engine API v1.47, ``/system/df``. Shown in notebook 05.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    InUse: bool = False
    Shared: bool = False


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
    raise NotImplementedError


def disk(engine: Engine) -> Disk:
    """Everything."""
    raise NotImplementedError
