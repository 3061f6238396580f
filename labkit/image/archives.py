"""Images in a tar, to carry about: ``docker save``, ``docker load``, ``docker import``.

    blobs/sha256/…   manifests, configs, layers           ┐ an OCI image layout,
    index.json       name ──▶ manifest                    │ which skopeo reads as oci-archive:
    oci-layout                                            ┘
    manifest.json    [{Config, RepoTags, Layers}, …]        Docker's own list of the same blobs, which every docker load reads

    >>> from labkit.image import archives
    >>> with open("web.tar", "wb") as out: archives.save(images, ["me/web:v1"], out)
    >>> with open("web.tar", "rb") as file: archives.load(images, file)
    ('Loaded image: me/web:v1',)

The same images under the same names give the same bytes. What is read, and from whom, is in archive_reading.py. Source: OCI image-spec
1.1, image-layout.md; Docker's image spec 1.2, "Combined Image JSON + Filesystem Changeset Format". Shown in notebook 05.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import BinaryIO

from labkit.image import documents, index, media, platforms, references
from labkit.image.archive_reading import Arrivals, images_in
from labkit.image.documents import ContainerConfig, Descriptor, History, ImageConfig, Index, RootFS
from labkit.image.images import Image, Images
from labkit.image.platforms import Platform
from labkit.image.progress import Progress, Report, silent
from labkit.image.references import Reference
from labkit.storage import digests
from labkit.storage.compression import decompressed, gzipped

_CHUNK = 1 << 20


def save(images: Images, names: Sequence[str], out: BinaryIO) -> None:
    """Write images as one archive. A name without a tag stands for all tags of the repository; an ID for the image without a name.

    ``NotFound`` before the first byte is written if an image, or part of one, is not there.
    """
    chosen = _chosen(images, names)
    blobs = sorted({digest for each in chosen for digest in images.contents.reachable(each.image.descriptor)})
    sizes = {digest: images.store.blobs.size(digest) for digest in blobs}
    out.write(_header("blobs/", 0) + _header("blobs/sha256/", 0))
    for digest in blobs:
        out.write(_header(_path(digest), sizes[digest]))
        with images.store.blobs.open(digest) as blob:
            while chunk := blob.read(_CHUNK):
                out.write(chunk)
        out.write(bytes(-sizes[digest] % tarfile.BLOCKSIZE))
    for name, data in (
        ("index.json", documents.encode(Index(2, media.OCI_INDEX, tuple(entry for each in chosen for entry in each.entries)))),
        ("manifest.json", json.dumps([each.item for each in chosen], separators=(",", ":")).encode()),
        ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
    ):
        out.write(_header(name, len(data)) + data + bytes(-len(data) % tarfile.BLOCKSIZE))
    out.write(bytes(2 * tarfile.BLOCKSIZE))


def load(images: Images, stream: BinaryIO, report: Report = silent) -> tuple[str, ...]:
    """Take in all images of an archive, compressed or not, and say what Docker says: ``Loaded image: nginx:latest``.

    Nothing gets a name before all of it is there, unpacked and checked; ``InvalidInput`` leaves the store as it was.
    """
    said: list[str] = []
    with images.store.changing(), Arrivals(images) as arrivals:
        arrivals.take(decompressed(_chunks(stream)))
        found = images_in(arrivals)
        for each in found:
            images.ensure_unpacked(images.of(each.manifest), _loading(report))
        for each in found:
            image = images.of(each.manifest)
            if not each.names:
                images.add(each.manifest)
                said.append(f"Loaded image ID: {image.id}")
            for name in each.names:
                said += _displaced(images, image, name)
                images.add(each.manifest, name)
                said.append(f"Loaded image: {name.familiar}")
    return tuple(said)


def import_(
    images: Images,
    stream: BinaryIO,
    name: Reference | None = None,
    *,
    config: ContainerConfig | None = None,
    message: str = "Imported from -",
    created: str = "",
    platform: Platform | None = None,
) -> Image:
    """Make an image of one layer from a tar of a file system, compressed or not; ``InvalidInput`` leaves the store as it was.

    ``created`` is a time as RFC 3339 has it. What the ``CMD``, ``ENV``, … of ``docker import --change`` say is in ``config``.
    """
    created = created or datetime.now(UTC).isoformat().replace("+00:00", "Z")
    made_for = (platform or platforms.host()).normal
    plain = digests.Hasher()
    with images.store.changing(), Arrivals(images) as arrivals:
        digest = arrivals.write(gzipped(_hashed(plain, decompressed(_chunks(stream)))))
        layer = Descriptor(media.OCI_LAYER_GZIP, images.store.blobs.size(digest), digest)
        document = ImageConfig(
            made_for.architecture,
            made_for.os,
            RootFS("layers", (plain.digest(),)),
            made_for.variant,
            created,
            config=config or ContainerConfig(),
            history=(History(created, comment=message),),
        )
        manifest = arrivals.manifest(documents.encode(document), [layer])
        images.ensure_unpacked(images.of(manifest))
        return images.add(manifest, name)


# Saving


@dataclass(frozen=True)
class _Chosen:
    """An image to be saved, and the tags that it has in the archive."""

    image: Image
    tags: tuple[Reference, ...]

    @property
    def entries(self) -> list[Descriptor]:
        """Its entries of index.json, with both annotations that Docker writes: the whole name, and the tag alone."""
        bare = index.nameless(self.image.descriptor)
        named = [{**bare.annotations, index.CONTAINERD_NAME: str(tag), index.REF_NAME: tag.tag or ""} for tag in self.tags]
        return [replace(bare, annotations=annotations) for annotations in named] or [bare]

    @property
    def item(self) -> dict[str, object]:
        """Its part of manifest.json."""
        layers = [_path(layer.digest) for layer in self.image.manifest.layers]
        return {"Config": _path(self.image.id), "RepoTags": [tag.familiar for tag in self.tags] or None, "Layers": layers}


def _chosen(images: Images, names: Sequence[str]) -> list[_Chosen]:
    found: dict[str, Image] = {}
    tags: dict[str, set[Reference]] = {}
    for text in names:
        for image, tag in _meant(images, text):
            found[image.descriptor.digest] = image
            tags.setdefault(image.descriptor.digest, set()).update([tag] if tag else [])
    return [_Chosen(image, tuple(sorted(tags[digest], key=str))) for digest, image in found.items()]


def _meant(images: Images, text: str) -> list[tuple[Image, Reference | None]]:
    """What one name means: images, each with the tag that it was asked for by."""
    if re.fullmatch("(sha256:)?[0-9a-f]{64}", text):
        return [(images.get(text), None)]
    wanted = references.parse(text)
    if not wanted.tag and not wanted.digest:
        tags = [tag for image in images.list() for tag in image.tags if tag.name == wanted.name]
        return [(images.get(str(tag)), tag) for tag in tags] or [(images.get(text), None)]
    image = images.get(text)
    return [(image, wanted if wanted in image.tags else None)]


def _path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _header(name: str, size: int) -> bytes:
    """A tar header that says nothing of this machine and this day."""
    header = tarfile.TarInfo(name)
    header.size = size
    if name.endswith("/"):
        header.type, header.mode = tarfile.DIRTYPE, 0o755
    return header.tobuf(tarfile.PAX_FORMAT)


# Loading


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK):
        yield chunk


def _hashed(hasher: digests.Hasher, chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        hasher.update(chunk)
        yield chunk


def _loading(report: Report) -> Report:
    """Unpacking in the words of ``docker load``."""

    def told(said: Progress) -> None:
        if said.status == "Extracting":
            report(replace(said, status="Loading layer"))

    return told


def _displaced(images: Images, image: Image, name: Reference) -> list[str]:
    for other in images.list():
        if name in other.names and other.id != image.id:
            return [f"The image {name.familiar} already exists, renaming the old one with ID {other.id} to empty string"]
    return []
