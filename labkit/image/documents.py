"""An image's documents, as OCI image-spec 1.1 words them: frozen records with the specification's field names.

    Index ── manifests: Descriptor, one a platform ──▶ Manifest
    Manifest ─┬─ config: Descriptor ──▶ ImageConfig ─┬─ config: ContainerConfig   what a container gets if its user says nothing
              │                                      ├─ rootfs.diff_ids           the layers, uncompressed
              └─ layers: Descriptor ──▶ blobs        └─ history                   how they came about

    >>> from labkit.image import documents, media
    >>> manifest = documents.parse_manifest(data, media.OCI_MANIFEST)
    >>> config = documents.parse_config(blobs.read(manifest.config.digest))
    >>> documents.check(manifest, config)

Docker's schema 2 is the same but for the media types. The bytes as they came are what is hashed and stored; nothing that was read is
ever written again from its record. All that is read here comes from strangers: ``InvalidInput`` names the document and its field.
Source: OCI image-spec 1.1, descriptor.md, manifest.md, image-index.md, config.md; Docker's image spec 1.2. Shown in notebook 05.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import field

from labkit import codec
from labkit.errors import InvalidInput
from labkit.image import media
from labkit.image.container_config import ContainerConfig, Healthcheck
from labkit.image.platforms import Platform
from labkit.records import record

__all__ = ["ContainerConfig", "Descriptor", "Healthcheck", "History", "ImageConfig", "Index", "Manifest", "Platform", "RootFS"]

MAX_LAYERS = 127  # Docker's: with a container's own layer on top they are the 128 that one overlay takes at most there
MAX_DOCUMENT = 4 << 20  # bytes; registries take no larger manifest either (distribution-spec, "Pushing Manifests")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


@record
class Descriptor:
    """Points at a blob: what it is, how long, and the digest of its bytes."""

    mediaType: str
    size: int
    digest: str
    urls: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None
    artifactType: str = ""
    data: str = ""

    def __post_init__(self) -> None:
        if not _DIGEST.fullmatch(self.digest):
            raise InvalidInput(f"digest: {self.digest!r:.80} must be sha256: and 64 hexadecimal digits in lower case, or sha512: and 128")
        if not 0 <= self.size < 1 << 63:
            raise InvalidInput(f"size: of {self.digest} must be 0 or more bytes, not {self.size}")


@record
class Manifest:
    """One image for one platform: its config and its layers, the lowest first."""

    schemaVersion: int
    mediaType: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    artifactType: str = ""
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


@record
class Index:
    """The same image for several platforms; Docker calls it a manifest list."""

    schemaVersion: int
    mediaType: str
    manifests: tuple[Descriptor, ...]
    artifactType: str = ""
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


@record
class RootFS:
    """The layers by the digests of their uncompressed tar archives."""

    type: str
    diff_ids: tuple[str, ...]


@record
class History:
    """One step of the build; one without ``empty_layer`` made the next layer."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


@record
class ImageConfig:
    """The config of an image; the digest of its bytes is the image's ID."""

    architecture: str
    os: str
    rootfs: RootFS
    variant: str = ""
    created: str = ""
    author: str = ""
    config: ContainerConfig = ContainerConfig()
    history: tuple[History, ...] = ()
    os_version: str = field(default="", metadata={"json": "os.version"})
    os_features: tuple[str, ...] = field(default=(), metadata={"json": "os.features"})

    @property
    def platform(self) -> Platform:
        """What it runs on."""
        return Platform(self.architecture, self.os, self.variant, self.os_version, self.os_features)


def parse_manifest(data: bytes, media_type: str = "") -> Manifest | Index:
    """A manifest or an index, whichever ``media_type`` or else the document itself says it is."""
    document = _object(data, "manifest")
    said = document.get("mediaType")
    kind = (media_type or said or _guessed(document)) if isinstance(said, str | None) else ""
    if said and kind != said:
        raise InvalidInput(f"manifest.mediaType: is {said!r:.80}, but it was given out as {media_type!r:.80}")
    document["mediaType"] = kind
    if kind in media.INDEXES:
        document.update(manifests=_list(document.get("manifests")))
        index = codec.decode(Index, document, "index")
        _check_version(index.schemaVersion, "index")
        return index
    if kind in media.MANIFESTS:
        document.update(layers=_list(document.get("layers")))
        manifest = codec.decode(Manifest, document, "manifest")
        _check_version(manifest.schemaVersion, "manifest")
        _check_manifest(manifest)
        return manifest
    if kind in media.DOCKER_SCHEMA_1 or document.get("schemaVersion") == 1:
        raise InvalidInput("manifest.schemaVersion: is 1, which Docker gave up in 2017: the image must be pushed again by a newer client")
    raise InvalidInput(f"manifest.mediaType: {kind!r:.80} is no image's: must be one of {', '.join((*media.MANIFESTS, *media.INDEXES))}")


def parse_config(data: bytes) -> ImageConfig:
    """An image's config."""
    config = codec.decode(ImageConfig, _object(data, "config"), "config")
    if config.rootfs.type != "layers":
        raise InvalidInput(f"config.rootfs.type: must be 'layers', not {config.rootfs.type!r:.60}")
    for index, diff_id in enumerate(config.rootfs.diff_ids):
        if not _DIGEST.fullmatch(diff_id):
            raise InvalidInput(f"config.rootfs.diff_ids[{index}]: {diff_id!r:.80} must be a digest")
    return config


def check(manifest: Manifest, config: ImageConfig) -> None:
    """``InvalidInput`` if they are not of one image."""
    if len(manifest.layers) != len(config.rootfs.diff_ids):
        raise InvalidInput(
            f"manifest.layers: there are {len(manifest.layers)}, but the config {manifest.config.digest} "
            f"has {len(config.rootfs.diff_ids)} in rootfs.diff_ids"
        )


def encode(document: Manifest | Index | ImageConfig) -> bytes:
    """A document that we made ourselves, to be hashed and stored; the same document always gives the same bytes."""
    return json.dumps(codec.encode(document), separators=(",", ":"), ensure_ascii=False).encode()


def _object(data: bytes, name: str) -> dict[str, object]:
    if len(data) > MAX_DOCUMENT:
        raise InvalidInput(f"{name}: has {len(data)} bytes, more than the {MAX_DOCUMENT} that are read")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{name}: is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidInput(f"{name}: must be an object, not {document!r:.60}")
    return document


def _list(value: object) -> object:
    """Go writes null for a list that has nothing in it."""
    return [] if value is None else value


def _guessed(document: dict[str, object]) -> str:
    """OCI leaves the media type out at will; what has ``manifests`` is an index then."""
    if "config" in document:
        return media.OCI_MANIFEST
    return media.OCI_INDEX if "manifests" in document else ""


def _check_version(version: int, name: str) -> None:
    if version != 2:
        raise InvalidInput(f"{name}.schemaVersion: must be 2, not {version}")


def _check_manifest(manifest: Manifest) -> None:
    if manifest.config.mediaType not in media.CONFIGS:
        raise InvalidInput(
            f"manifest.config.mediaType: {manifest.config.mediaType!r:.80} is no image's config: "
            f"what is stored under this name is another kind of artifact; images have one of {', '.join(media.CONFIGS)}"
        )
    if len(manifest.layers) > MAX_LAYERS:
        raise InvalidInput(f"manifest.layers: there are {len(manifest.layers)}, more than the {MAX_LAYERS} that can be stacked")
    for index, layer in enumerate(manifest.layers):
        if layer.mediaType not in media.LAYERS:
            raise InvalidInput(f"manifest.layers[{index}].mediaType: {layer.mediaType!r:.80} is no layer that can be unpacked here")
