"""An image: its documents, its names, and what follows from them.

    >>> web = images.get("nginx")
    >>> web.id, web.config.config.Cmd, web.chain_ids[-1]
    ('sha256:4f4f…', ('nginx', '-g', 'daemon off;'), 'sha256:9d1c…')

    diff_ids    a        b            c           one a layer
    chain_ids   a        H(a b)       H(H(a b) c) one a stack of layers: what a snapshot is called by, since the same layer
                                                  on top of others is another snapshot

Source: OCI image-spec 1.1, config.md ("ImageID", "Layer ChainID", ``history``); Docker Engine API, ``GET /images/NAME/history``.
Shown in notebook 05.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from labkit.image.documents import Descriptor, ImageConfig, Manifest
from labkit.image.references import Reference
from labkit.storage.layers import chain_id


@dataclass(frozen=True)
class Step:
    """A line of ``docker history``: one step of the build, and the layer that it made, if any."""

    id: str
    """The image's ID on the last step, ``<missing>`` on those before, whose images were left behind where they were built."""
    created: datetime | None
    created_by: str
    size: int
    """Of the layer, in bytes; 0 for a step that made none."""
    comment: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Image:
    """An image of the store."""

    id: str
    """The digest of the config."""
    descriptor: Descriptor
    """Of the manifest."""
    manifest: Manifest
    config: ImageConfig
    names: tuple[Reference, ...]
    """By tag and by digest; all that the image has, whichever it was asked for by."""
    layer_sizes: tuple[int, ...]
    """Bytes of the files of each unpacked layer; of the blob, where the layer is not unpacked."""

    @property
    def tags(self) -> tuple[Reference, ...]:
        """The names by tag. An image without any is dangling: ``<none>``."""
        return tuple(name for name in self.names if name.tag)

    @property
    def digests(self) -> tuple[Reference, ...]:
        """The names by digest: under which a registry gives out this image."""
        return tuple(name for name in self.names if name.digest)

    @property
    def chain_ids(self) -> tuple[str, ...]:
        """What each stack of its layers is called, from the lowest layer alone to all of them."""
        return chain_ids(self.config)

    @property
    def size(self) -> int:
        """Bytes of all its layers, unpacked where they are; what layers share with other images is counted for each."""
        return sum(self.layer_sizes)

    @property
    def created(self) -> datetime | None:
        """When it was made, as it says itself."""
        return when(self.config.created)

    @property
    def history(self) -> tuple[Step, ...]:
        """The steps of its build, the last one first. Layers of which the history tells nothing are steps without words."""
        steps: list[Step] = []
        sizes = list(self.layer_sizes)
        for told in self.config.history:
            size = sizes.pop(0) if sizes and not told.empty_layer else 0
            steps.append(Step("<missing>", when(told.created), told.created_by, size, told.comment))
        steps += [Step("<missing>", None, "", size, "") for size in sizes]
        if not steps:
            return ()
        last = steps.pop()
        tags = tuple(name.familiar for name in self.tags)
        return (Step(self.id, last.created, last.created_by, last.size, last.comment, tags), *reversed(steps))


def chain_ids(config: ImageConfig) -> tuple[str, ...]:
    """What each stack of the layers is called, from the lowest layer alone to all of them."""
    chains: list[str] = []
    for diff_id in config.rootfs.diff_ids:
        chains.append(chain_id((*chains[-1:], diff_id)))  # the chain ID so far stands for all layers below
    return tuple(chains)


def when(text: str) -> datetime | None:
    """A time as documents have it (RFC 3339); None if there is none, or if it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
