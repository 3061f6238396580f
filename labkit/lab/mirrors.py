"""The mirrors in daemon.json: the lab's registry becomes one, and each can be held to its word.

    >>> from labkit.lab import mirrors
    >>> mirrors.name("http://127.0.0.1:5000")               # writes /etc/labkit/daemon.json, if there is none
    True
    >>> mirrors.inspect("http://127.0.0.1:5000")
    Holdings(tags=4, blobs=12, bytes=31207554, faults=())

A mirror claims that a tag is a certain manifest, and a digest a certain blob. Both can be checked by whoever asks, since a digest is
computed from the content. Whoever pulls checks what he pulls; this checks all that is there, before a class stands before it.

    catalogue ─▶ tags ─▶ manifest  (Docker-Content-Digest = sha256 of it?) ─▶ config, layers  (sha256 = the digest that names them?)

Source: OCI distribution-spec 1.1; Docker's dockerd reference, ``registry-mirrors``. Notebook 05 breaks one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.errors import InvalidInput, KernelError, LabError, NotFound
from labkit.image.registry import settings
from labkit.storage import digests

if TYPE_CHECKING:
    from labkit.image.documents import Descriptor
    from labkit.image.registry.client import Client

_FILE = '{{\n    "registry-mirrors": ["{url}"]\n}}\n'


@dataclass(frozen=True)
class Holdings:
    """What a registry has, and what of it is not what it claims to be, a line each."""

    tags: int
    blobs: int
    bytes: int
    faults: tuple[str, ...]


def name(url: str, path: str = settings.PATH) -> bool:
    """Name a registry as the mirror in daemon.json, if there is no such file yet; whether there was none."""
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "x") as file:
            file.write(_FILE.format(url=url))
    except FileExistsError:
        return False  # somebody's own, which may have good reasons to say otherwise
    except OSError as error:
        raise KernelError.of(error, "write", path) from None
    return True


def forget(url: str, path: str = settings.PATH) -> bool:
    """Remove daemon.json, if it is still as ``name`` wrote it; whether it was."""
    try:
        with open(path) as file:
            if file.read() != _FILE.format(url=url):
                return False
    except FileNotFoundError:
        return False
    os.unlink(path)
    with suppress(OSError):
        os.rmdir(os.path.dirname(path))  # if that was all that was in it
    return True


def inspect(url: str, trusted: settings.Settings | None = None) -> Holdings:
    """Read everything that a registry has, and compare it with its digests; takes a second for 300 MB.

    Raises ``Unreachable`` if it does not answer, ``Denied`` or ``NotFound`` if it does not say what it has, as the public ones do not.
    """
    from labkit.image.registry import endpoints
    from labkit.image.registry.client import Client
    from labkit.image.registry.transport import Patience

    endpoint = endpoints.registry(url.partition("://")[2], trusted or settings.Settings())
    tags: list[str] = []
    faults: list[str] = []
    blobs: dict[str, int] = {}
    with Client(endpoint, patience=Patience(attempts=1, connect=5.0)) as registry:
        registry.ping()
        for repository in registry.catalogue():
            for tag in _tags(registry, repository):
                tags.append(f"{repository}:{tag}")
                try:
                    for descriptor in _descriptors(registry, repository, tag):
                        if descriptor.digest not in blobs:
                            _check(registry, repository, descriptor)
                            blobs[descriptor.digest] = descriptor.size
                except LabError as error:
                    faults.append(f"{repository}:{tag}: {error}")
    return Holdings(len(tags), len(blobs), sum(blobs.values()), tuple(faults))


def _tags(registry: Client, repository: str) -> tuple[str, ...]:
    try:
        return tuple(registry.tags(repository))
    except NotFound:
        return ()  # all of them were deleted


def _descriptors(registry: Client, repository: str, reference: str) -> Iterator[Descriptor]:
    """What a manifest names; what an index names in its turn, as far as the registry has it."""
    from labkit.image.documents import Index, parse_manifest

    fetched = registry.manifest(repository, reference)
    document = parse_manifest(fetched.data, fetched.media_type)
    if isinstance(document, Index):
        for each in document.manifests:
            yield from _descriptors(registry, repository, each.digest)
    else:
        yield from (document.config, *document.layers)


def _check(registry: Client, repository: str, descriptor: Descriptor) -> None:
    hasher = digests.Hasher(descriptor.digest.partition(":")[0])
    for chunk in registry.blob(repository, descriptor.digest, descriptor.size):
        hasher.update(chunk)
    if hasher.digest() != descriptor.digest:
        raise InvalidInput(f"blob {descriptor.digest}: what comes has the digest {hasher.digest()}")
