"""From an entry of the index to the documents behind it.

    entry ──▶ index ──▶ … ──▶ manifest for this machine ──▶ config

    >>> contents = Contents(store.blobs)
    >>> contents.of(entry.descriptor).config.config.Cmd
    ('nginx', '-g', 'daemon off;')

All of it is read by digest, so that what has been read once holds for good. Source: OCI image-spec 1.1, image-layout.md. Shown in
notebook 05.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from labkit.errors import InvalidInput, LabError
from labkit.image import documents, index, media, platforms
from labkit.image.documents import Descriptor, ImageConfig, Manifest
from labkit.storage.blobs import Blobs

_MAX_NESTING = 4  # indexes within indexes


@dataclass(frozen=True)
class Documents:
    """A manifest, where it is, and its config."""

    descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig

    @property
    def id(self) -> str:
        """Of the image: the digest of the config."""
        return self.manifest.config.digest


class Contents:
    """The documents among some blobs."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._known: dict[str, Documents] = {}

    def of(self, descriptor: Descriptor, nesting: int = 0) -> Documents:
        """What a descriptor leads to on this machine; ``NotFound`` or ``InvalidInput`` if it leads to no image."""
        known = self._known.get(descriptor.digest)
        if known:
            return known
        document = documents.parse_manifest(self._read(descriptor), descriptor.mediaType)
        if isinstance(document, documents.Index):
            if nesting == _MAX_NESTING:
                raise InvalidInput(f"index {descriptor.digest}: there are more than {_MAX_NESTING} indexes within each other")
            found = self.of(platforms.choose(document, platforms.host()), nesting + 1)
        else:
            config = documents.parse_config(self._read(document.config))
            documents.check(document, config)
            found = Documents(index.nameless(descriptor), document, config)
        self._known[descriptor.digest] = found
        return found

    def id(self, descriptor: Descriptor) -> str:
        """The ID of the image that a descriptor leads to; nothing, if its documents are lost or damaged or it is no image at all."""
        try:
            return self.of(descriptor).id
        except LabError:
            return ""

    def reachable(self, descriptor: Descriptor) -> frozenset[str]:
        """The digests of all blobs behind a descriptor, for whatever machine and of whatever kind; some may not be here."""
        return frozenset(self._walk(descriptor.mediaType, descriptor.digest, 0))

    def _walk(self, media_type: str, digest: str, nesting: int) -> Iterator[str]:
        """Not strict: what another tool has put here, of a kind that we do not know, must not lose its parts to the collector."""
        yield digest
        if media_type not in (*media.MANIFESTS, *media.INDEXES) or nesting > _MAX_NESTING:
            return
        try:
            document = json.loads(self._blobs.read(digest, documents.MAX_DOCUMENT))
        except (LabError, ValueError, RecursionError):
            return
        for found in (document.get(key) for key in ("config", "subject", "layers", "manifests")) if isinstance(document, dict) else ():
            for each in found if isinstance(found, list) else [found]:
                if isinstance(each, dict) and isinstance(each.get("digest"), str):
                    yield from self._walk(str(each.get("mediaType")), each["digest"], nesting + 1)

    def _read(self, descriptor: Descriptor) -> bytes:
        data = self._blobs.read(descriptor.digest, documents.MAX_DOCUMENT)
        if len(data) != descriptor.size:
            raise InvalidInput(f"blob {descriptor.digest}: has {len(data)} bytes, but what points at it says {descriptor.size}")
        return data
