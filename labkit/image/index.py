"""``index.json`` of an image layout: which manifest has which name.

    {"schemaVersion": 2, "manifests": [
      {"mediaType": …, "digest": "sha256:9834…", "size": 735,
       "annotations": {"org.opencontainers.image.ref.name": "docker.io/library/nginx:latest"}}]}

    >>> from labkit.image import index
    >>> index.read("/var/lib/labkit/images")
    (Entry(descriptor=Descriptor(…), name=Reference(domain='docker.io', path='library/nginx', tag='latest', digest=None)),)

An entry a name: a manifest with three names has three, and one without any an entry without a name, so that it is not lost. Others
write here, too: skopeo calls an image what its user called it ("nginx", "v1"), which is read as Docker would read it, and Docker's
archives have the whole name in an annotation of containerd's. Source: OCI image-spec 1.1, image-layout.md, "index.json file";
annotations.md. Shown in notebook 05.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from labkit.errors import InvalidInput, KernelError
from labkit.image import documents, media, references
from labkit.image.documents import Descriptor
from labkit.image.references import Reference

REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"


@dataclass(frozen=True)
class Entry:
    """One line of the index: a manifest, or an index of manifests, and what it is called."""

    descriptor: Descriptor
    name: Reference | None = None
    """``docker.io/library/nginx:latest``, or ``…@sha256:…`` for the digest under which a registry has it."""

    @property
    def named(self) -> Descriptor:
        """The descriptor as it is written: with the name among its annotations."""
        if not self.name:
            return self.descriptor
        bare = nameless(self.descriptor)
        return replace(bare, annotations={**bare.annotations, REF_NAME: str(self.name)})


def read(directory: str) -> tuple[Entry, ...]:
    """The entries of a layout, in their order; none if there is no index yet."""
    try:
        with open(f"{directory}/index.json", "rb") as file:
            data = file.read(documents.MAX_DOCUMENT + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise KernelError.of(error, "read", f"{directory}/index.json") from None
    return parse(data, f"{directory}/index.json")


def parse(data: bytes, where: str = "index.json") -> tuple[Entry, ...]:
    """The entries of an ``index.json``."""
    try:
        document = documents.parse_manifest(data)
    except InvalidInput as error:
        raise InvalidInput(f"{where}: {error}") from None
    if not isinstance(document, documents.Index):
        raise InvalidInput(f"{where}: is a manifest, not an index")
    return tuple(Entry(descriptor, _name(descriptor)) for descriptor in document.manifests)


def encode(entries: Iterable[Entry]) -> bytes:
    """The bytes of an ``index.json``; the same entries in any order give the same."""
    manifests = sorted((entry.named for entry in entries), key=lambda named: (named.annotations.get(REF_NAME, ""), named.digest))
    return documents.encode(documents.Index(2, media.OCI_INDEX, tuple(manifests)))


def write(directory: str, entries: Iterable[Entry]) -> None:
    """Replace the index. Whoever reads sees the old or the new one, even if the power fails: it is renamed into place."""
    new = f"{directory}/index.json.new"
    try:
        with open(new, "wb") as file:
            file.write(encode(entries))
            file.flush()
            os.fsync(file.fileno())
        os.rename(new, f"{directory}/index.json")
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        with suppress(FileNotFoundError):
            os.unlink(new)  # on a full disk all else needs the room
        raise KernelError.of(error, "write", f"{directory}/index.json") from None


def nameless(descriptor: Descriptor) -> Descriptor:
    """The descriptor without the annotations that name it."""
    annotations = {key: value for key, value in descriptor.annotations.items() if key not in (REF_NAME, CONTAINERD_NAME)}
    return replace(descriptor, annotations=annotations)


def _name(descriptor: Descriptor) -> Reference | None:
    """What an entry is called. A name that cannot be one is none: the image is there by its ID still."""
    for key in CONTAINERD_NAME, REF_NAME:
        if text := descriptor.annotations.get(key):
            try:
                return references.parse(text).tagged
            except InvalidInput:
                continue
    return None
