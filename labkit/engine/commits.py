"""``docker commit``: what a container has written becomes the next layer of its image.

    >>> from labkit.engine import commits
    >>> commits.commit(web, "me/web:v2", changes=("ENV A=1",), message="by hand", author="student").id
    'sha256:…'

    image's layers, as they are ──────────────────────────────────────────────┐
    container's own layer ── paused ── packed, hashed, compressed ── a blob ──┼──▶ manifest ──▶ index, last of all
    container's configuration, over it ``config``, over it ``changes`` ───────┘

Volumes are not in it. A container that has written nothing gives an image of the same layers, with a line more in its history.
Source: Docker Engine API v1.47, ``POST /commit``; moby's ``daemon/commit.go``. Shown in notebook 06.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from labkit.engine import config as configs
from labkit.engine import images as image_store
from labkit.engine import times
from labkit.engine.config import Config
from labkit.errors import Conflict, LabError
from labkit.image import documents, media
from labkit.image.archive_reading import Arrivals
from labkit.image.container_config import ContainerConfig
from labkit.image.documents import Descriptor, History, ImageConfig, RootFS
from labkit.storage.compression import gzipped
from labkit.storage.digests import Hasher
from labkit.storage.pack import pack

if TYPE_CHECKING:
    from labkit.engine.container import Container
    from labkit.image.images import Image


def commit(
    container: Container,
    name: str = "",
    *,
    changes: Sequence[str] = (),
    message: str = "",
    author: str = "",
    pause: bool = True,
    config: Config | None = None,
) -> Image:
    """The image of the container's configuration (over it that of ``config``, then of ``changes``, lines of a Dockerfile) and files.

    ``pause``: a container that runs stands still meanwhile, so that its files fit each other.
    """
    if container.is_removed:
        raise Conflict(f"You cannot commit container {container.id} which is being removed")
    reference = image_store.new_name(name) if name else None
    wanted = _configuration(container, config or Config(), image_store.changed(changes))
    images = container.engine.images.images
    with container.engine.store.changing(), Arrivals(images) as arrivals:
        base = container.engine.image(container.record.Image)
        with _still(container, pause):
            layer = _layer(container, arrivals)
        document = _document(container, base.config, wanted, layer[1] if layer else None, message, author)
        layers = (*base.manifest.layers, *((layer[0],) if layer else ()))
        manifest = arrivals.manifest(documents.encode(document), layers)
        images.ensure_unpacked(images.of(manifest))
        image = images.add(manifest, reference)
    container.tell("commit", comment=message, imageID=image.id, imageRef=reference.familiar if reference else "")
    return image


@contextmanager
def _still(container: Container, wanted: bool) -> Iterator[None]:
    """A container that runs stands still for a while; one that does not, or is paused already, is left alone."""
    with container.lock:
        pauses = wanted and container.state.Status == "running"
        if pauses:
            container.pause()
    try:
        yield
    finally:
        if pauses:
            with suppress(LabError):  # it has been killed, or somebody else has let it go on
                container.unpause()


def _layer(container: Container, arrivals: Arrivals) -> tuple[Descriptor, str] | None:
    """The blob of what the container has written, and its diff ID; None if that is nothing.

    It stands on the image's layers. The layer of mount points between the two is in no image.
    """
    own, _mount_points, *below = (layer.upper for layer in container.engine.store.snapshots.stack(container.record.Snapshot))
    if not os.listdir(own):
        return None
    hasher = Hasher()
    digest = arrivals.write(gzipped(_hashed(hasher, pack(own, below))))
    return Descriptor(media.OCI_LAYER_GZIP, arrivals.blobs.size(digest), digest), hasher.digest()


def _hashed(hasher: Hasher, chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        hasher.update(chunk)
        yield chunk


def _document(
    container: Container, base: ImageConfig, config: ContainerConfig, diff_id: str | None, message: str, author: str
) -> ImageConfig:
    created = times.text(times.now())
    step = History(created, " ".join(container.record.Config.Cmd or ()), author, message, empty_layer=diff_id is None)
    return replace(
        base,
        created=created,
        author=author,
        config=config,
        rootfs=RootFS("layers", (*base.rootfs.diff_ids, *((diff_id,) if diff_id else ()))),
        history=(*base.history, step),
    )


def _configuration(container: Container, config: Config, changed: ContainerConfig) -> ContainerConfig:
    """What the three say; who comes later has the last word, and where nothing is said, the one before counts."""
    said = configs.merged(config, _of_image(container.record.Config))
    whole = configs.merged(_of_container(changed), _of_image(said))
    return _of_image(replace(whole, Env=_environment(container.record.Config.Env, whole.Env)))


def _environment(before: tuple[str, ...], after: tuple[str, ...]) -> tuple[str, ...]:
    """The variables of ``after``, where they were before; new ones come last."""
    values = {each.partition("=")[0]: each for each in after}
    first = [name for each in before if (name := each.partition("=")[0]) in values]
    return tuple(values[name] for name in dict.fromkeys((*first, *values)))


def _of_image(config: Config) -> ContainerConfig:
    """The part of a container's configuration that an image can have."""
    found = {each.name: getattr(config, each.name) for each in fields(ContainerConfig)}
    return ContainerConfig(**{**found, "Cmd": config.Cmd or (), "Entrypoint": config.Entrypoint or ()})


def _of_container(config: ContainerConfig) -> Config:
    """An image's configuration as that of a container; what it does not say is open."""
    found = {each.name: getattr(config, each.name) for each in fields(ContainerConfig)}
    return Config(**{**found, "Cmd": config.Cmd or None, "Entrypoint": config.Entrypoint or None})
