"""What ``load`` finds in an archive, whoever wrote it.

    labkit, docker 25 and later, skopeo oci-archive:    index.json, blobs/sha256/…
    docker until 24                                     manifest.json, ID.json, LAYER/layer.tar (or a link to another's)
    skopeo docker-archive:, podman save                 manifest.json, ID.json, DIFFID.tar

    >>> with Arrivals(images) as arrivals:
    ...     arrivals.take(chunks)
    ...     images_in(arrivals)
    (Found(manifest=Descriptor(…), names=(Reference(…),)),)

Files go into the store as they come, for the list of what they are may be last in the archive. Nothing is unpacked by its name, so that
no name can lead anywhere. Source: OCI image-spec 1.1, image-layout.md; Docker's image spec 1.2. Shown in notebook 05.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType

from labkit import codec
from labkit.errors import InvalidInput, LabError
from labkit.image import documents, index, media, references
from labkit.image.documents import Descriptor, Manifest
from labkit.image.images import Images
from labkit.image.references import Reference
from labkit.storage import tar

_DOCUMENTS_LIMIT = 64 << 20  # bytes of all small files together, which are kept in memory
_BLOB = re.compile(r"blobs/(sha256/[0-9a-f]{64}|sha512/[0-9a-f]{128})")
_MAGIC = {b"\x1f\x8b": media.OCI_LAYER_GZIP, b"\x28\xb5\x2f\xfd": media.OCI_LAYER_ZSTD}


@dataclass(frozen=True)
class Found:
    """An image of an archive, by now in the store."""

    manifest: Descriptor
    names: tuple[Reference, ...]


@dataclass(frozen=True)
class _Item:
    """One image in Docker's ``manifest.json``."""

    Config: str
    Layers: tuple[str, ...]
    RepoTags: tuple[str, ...] = ()


class Arrivals:
    """Blobs that come into the store for images that are not entered yet; at the end, those that no image needs go again."""

    def __init__(self, images: Images) -> None:
        self.images = images
        self.blobs = images.store.blobs
        self.small: dict[str, bytes] = {}
        """Contents of the archive's small files, by name."""
        self._large: dict[str, str] = {}
        self._links: dict[str, str] = {}
        self._new: list[str] = []

    def __enter__(self) -> Arrivals:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        needed = self.images.keep()[0]
        for digest in self._new:
            if digest not in needed:
                self.blobs.remove(digest)

    def take(self, chunks: Iterable[bytes]) -> None:
        """All files of an archive."""
        try:
            self._take(tar.Reader(chunks))
        except InvalidInput as error:
            raise InvalidInput(f"load: archive: {str(error).removeprefix('layer: ')}") from None

    def _take(self, archive: tar.Reader) -> None:
        for entry in archive:
            path = _normal(entry.path.decode(errors="surrogateescape"))
            target = entry.link.decode(errors="surrogateescape")
            if entry.kind == tar.SYMLINK:
                self._links[path] = _normal(posixpath.join(posixpath.dirname(path), target))
            elif entry.kind == tar.HARD_LINK:
                self._links[path] = _normal(target)
            elif entry.kind == tar.FILE:
                self._take_file(path, entry.size, archive)

    def _take_file(self, path: str, size: int, archive: tar.Reader) -> None:
        blob = _BLOB.fullmatch(path)
        if blob:
            digest = blob[1].replace("/", ":")
            self._large[path] = self.write(map(bytes, archive.contents()), digest, size)
        elif size <= documents.MAX_DOCUMENT and not path.endswith(".tar"):
            if sum(map(len, self.small.values())) + size > _DOCUMENTS_LIMIT:
                raise InvalidInput(f"load: more than {_DOCUMENTS_LIMIT} bytes of small files: this is no archive of images")
            self.small[path] = b"".join(archive.contents())
        else:
            self._large[path] = self.write(map(bytes, archive.contents()))

    def write(self, chunks: Iterable[bytes], digest: str | None = None, size: int | None = None) -> str:
        """A blob, checked if it has a name already; its digest."""
        with self.blobs.writer(digest, size) as writer:
            if not writer.there:
                writer.restart()
                for chunk in chunks:
                    writer.write(chunk)
            there = digest is not None and writer.there
            written = writer.commit()
        if not there:
            self._new.append(written)
        return written

    def manifest(self, config: bytes, layers: Sequence[Descriptor]) -> Descriptor:
        """A manifest for a config and layers that are in the store."""
        described = Descriptor(media.OCI_CONFIG, len(config), self.write([config]))
        data = documents.encode(Manifest(2, media.OCI_MANIFEST, described, tuple(layers)))
        return Descriptor(media.OCI_MANIFEST, len(data), self.write([data]))

    def digest(self, path: str) -> str:
        """Which blob a file of the archive has become."""
        path = self._followed(path)
        if path in self.small:
            self._large[path] = self.write([self.small[path]])
        if path not in self._large:
            raise InvalidInput(f"load: manifest.json names {path!r}, which is not in the archive")
        return self._large[path]

    def _followed(self, path: str) -> str:
        path = _normal(path)
        for _ in range(40):
            if path not in self._links:
                return path
            path = self._links[path]
        raise InvalidInput(f"load: the links of {path!r} lead round in a circle")


def images_in(arrivals: Arrivals) -> tuple[Found, ...]:
    """The images of an archive. Where there are two lists of them, Docker's counts only if the layout's is of no use."""
    listed = "manifest.json" in arrivals.small
    if "index.json" in arrivals.small:
        try:
            return _from_index(arrivals)
        except LabError:
            if not listed:  # docker 25.0 wrote manifests without layers
                raise
    if not listed:
        raise InvalidInput("load: neither index.json nor manifest.json is in the archive: it holds no images, or is older than Docker 1.10")
    return tuple(_from_item(arrivals, item) for item in _items(arrivals.small["manifest.json"]))


def _from_index(arrivals: Arrivals) -> tuple[Found, ...]:
    found: dict[str, tuple[Descriptor, list[Reference]]] = {}
    for entry in index.parse(arrivals.small["index.json"]):
        image = arrivals.images.of(entry.descriptor)
        for layer in image.manifest.layers:
            if not arrivals.blobs.has(layer.digest):
                raise InvalidInput(f"load: layer {layer.digest} of {entry.name or image.id} is not in the archive")
        names_so_far = found.setdefault(entry.descriptor.digest, (image.descriptor, []))[1]
        if entry.name:
            names_so_far.append(entry.name)
    return tuple(Found(manifest, tuple(names)) for manifest, names in found.values())


def _items(data: bytes) -> tuple[_Item, ...]:
    try:
        listed = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"load: manifest.json is not JSON: {error}") from None
    if not isinstance(listed, list):
        raise InvalidInput(f"load: manifest.json: must be an array, not {listed!r:.60}")
    return tuple(codec.decode(_Item, item, f"load: manifest.json[{number}]") for number, item in enumerate(listed))


def _from_item(arrivals: Arrivals, item: _Item) -> Found:
    config = arrivals.blobs.read(arrivals.digest(item.Config), documents.MAX_DOCUMENT)
    layers = [_layer(arrivals, path) for path in item.Layers]
    manifest = arrivals.manifest(config, layers)
    arrivals.images.of(manifest)  # checks that its parts fit each other
    return Found(manifest, tuple(references.parse(tag).tagged for tag in item.RepoTags))


def _layer(arrivals: Arrivals, path: str) -> Descriptor:
    digest = arrivals.digest(path)
    with arrivals.blobs.open(digest) as blob:
        start = blob.read(4)
    media_type = next((found for magic, found in _MAGIC.items() if start.startswith(magic)), media.OCI_LAYER)
    return Descriptor(media_type, arrivals.blobs.size(digest), digest)


def _normal(path: str) -> str:
    """One spelling for each name. It leads nowhere but to the archive's own files."""
    return posixpath.normpath(f"/{path}").lstrip("/")
