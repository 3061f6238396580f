"""Images for tests: small ones, made of layers with the files that a test wants, without any tool.

def test_something(store: Store) -> None:
    manifest = image(store, layer(store, {"etc/motd": b"hello"}), Cmd=("sh",))
    Images(store).add(manifest, references.parse("web"))
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass

import zstandard

from labkit.image import documents, media
from labkit.image.documents import ContainerConfig, Descriptor, History, ImageConfig, Manifest, RootFS
from labkit.storage import digests
from labkit.storage.store import Store


@dataclass(frozen=True)
class Layer:
    """A layer whose blob is in the store."""

    descriptor: Descriptor
    diff_id: str


def tar(files: Mapping[str, bytes]) -> bytes:
    """A tar archive of files; a name with a slash at its end is a directory."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            if name.endswith("/"):
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def layer(store: Store, files: Mapping[str, bytes], media_type: str = media.OCI_LAYER) -> Layer:
    """A layer of these files, compressed as its media type says."""
    plain = tar(files)
    data = plain
    if media_type.endswith("gzip"):
        data = gzip.compress(plain, mtime=0)
    elif media_type.endswith("zstd"):
        data = zstandard.compress(plain)
    return Layer(Descriptor(media_type, len(data), store.blobs.put(data)), digests.of(plain))


def image(store: Store, *layers: Layer, created: str = "2026-01-01T00:00:00Z", architecture: str = "amd64", **config: object) -> Descriptor:
    """The manifest of an image with these layers; ``config`` is what its containers get, as Cmd=("sh",)."""
    document = ImageConfig(
        architecture,
        "linux",
        RootFS("layers", tuple(each.diff_id for each in layers)),
        created=created,
        config=ContainerConfig(**config),  # type: ignore[arg-type]
        history=tuple(History(created, f"layer {number}") for number, _ in enumerate(layers)),
    )
    described = put(store, documents.encode(document), media.OCI_CONFIG)
    return put(store, documents.encode(Manifest(2, media.OCI_MANIFEST, described, tuple(each.descriptor for each in layers))))


def put(store: Store, data: bytes, media_type: str = media.OCI_MANIFEST) -> Descriptor:
    """A blob in the store, and what points at it."""
    return Descriptor(media_type, len(data), store.blobs.put(data))
