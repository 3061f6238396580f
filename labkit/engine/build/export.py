"""The end of a build: what was built gets its blobs, its manifest and its names.

    >>> from labkit.engine.build import export
    >>> export.export(images, job, built, [references.parse("web:v1")])

    snapshots of the new layers ── packed, compressed, several at a time ──▶ blobs ──┐
    layers of the base image ── are there already ───────────────────────────────────┼──▶ manifest ──▶ index, last of all
    config ──────────────────────────────────────────────────────────────────▶ blob ─┘

Source: OCI image-spec 1.1, manifest.md, layer.md. Shown in notebook 05.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from labkit.engine.build import working
from labkit.engine.build.job import Built, Job
from labkit.errors import LabError
from labkit.image import documents, media
from labkit.image.documents import Descriptor, Manifest
from labkit.image.image import chain_ids
from labkit.image.images import Image, Images
from labkit.image.references import Reference
from labkit.storage.compression import gzipped
from labkit.storage.digests import Hasher
from labkit.storage.layers import snapshot_name

_PARALLEL = 2
_AS_OCI = {  # the same bytes; an OCI manifest calls them by its own names
    media.DOCKER_LAYER: media.OCI_LAYER,
    media.DOCKER_LAYER_GZIP: media.OCI_LAYER_GZIP,
    media.DOCKER_LAYER_ZSTD: media.OCI_LAYER_ZSTD,
}


def export(images: Images, job: Job, built: Built, names: Sequence[Reference]) -> Image:
    """The image that was built, in the store under its names."""
    with ThreadPoolExecutor(_PARALLEL) as pool:
        layers = tuple(pool.map(partial(_layer, job), built.config.rootfs.diff_ids, chain_ids(built.config)))
    blobs = images.store.blobs
    config = documents.encode(built.config) if not blobs.has(built.id) else blobs.read(built.id)
    manifest = documents.encode(Manifest(2, media.OCI_MANIFEST, Descriptor(media.OCI_CONFIG, len(config), blobs.put(config)), layers))
    descriptor = Descriptor(media.OCI_MANIFEST, len(manifest), blobs.put(manifest))
    image = images.add(descriptor, names[0] if names else None)
    for name in names[1:]:
        image = images.add(descriptor, name)
    return image


def _layer(job: Job, diff_id: str, chain: str) -> Descriptor:
    """The blob of a layer: the one that it has, or a new one."""
    blob = job.cache.blob(diff_id)
    if blob is None:
        with job.store.blobs.writer() as writer:
            for chunk in gzipped(_checked(job, diff_id, chain)):
                writer.write(chunk)
            blob = Descriptor(media.OCI_LAYER_GZIP, writer.written, writer.commit())
        job.cache.remember_blob(diff_id, blob)
    return replace(blob, mediaType=_AS_OCI.get(blob.mediaType, blob.mediaType))


def _checked(job: Job, diff_id: str, chain: str) -> Iterator[bytes]:
    """A layer's archive, packed once more: it must come out as it did when its step was done."""
    hasher = Hasher()
    for chunk in working.packed(job.store, snapshot_name(chain)):
        hasher.update(chunk)
        yield chunk
    if hasher.digest() != diff_id:
        raise LabError(f"pack layer {diff_id}: it has changed on disk since it was built: `labkit builder prune`, then build again")
