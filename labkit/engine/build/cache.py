"""The build cache: which step, done to which image, gave which image.

    >>> from labkit.engine.build.cache import Cache
    >>> cache = Cache(store)
    >>> cache.find(cache.key(parent_id, "/bin/sh -c make"))        # None, or the config of the image that this gave before

    ROOT/build/steps/KEY     the config of the image after the step; KEY is over the image before, the step's words, what it copies
    ROOT/build/layers/HEX    the blob, compressed, of the layer that has this diff_id

By content alone: the same files give the same key, whatever their times and wherever they are. An entry whose layers are gone is of no
use and goes, too. What is kept here is kept on the disk, with the layers that it needs, until ``prune``.
Source: Docker's documentation, "Build cache". Shown in notebook 09.
"""

from __future__ import annotations

import json
import os
import shutil

from labkit import codec
from labkit.errors import InvalidInput, KernelError
from labkit.image import documents
from labkit.image.documents import Descriptor, ImageConfig
from labkit.image.image import chain_ids
from labkit.storage import digests
from labkit.storage.store import Store


class Cache:
    """The build cache of a store. Whoever writes holds ``store.changing()``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.root = f"{store.root}/build"
        try:
            for name in "steps", "layers":
                os.makedirs(f"{self.root}/{name}", exist_ok=True)
        except OSError as error:
            raise KernelError.of(error, "make the build cache in", self.root) from None

    @staticmethod
    def key(*parts: str) -> str:
        """The name of an entry: each part, however it is cut, counts."""
        return digests.of(json.dumps(parts).encode()).partition(":")[2]

    def find(self, key: str) -> tuple[str, ImageConfig] | None:
        """ID and config of the image that a step gave, if all its layers are still there."""
        path = f"{self.root}/steps/{key}"
        data = _read(path)
        if data is None:
            return None
        try:
            config = documents.parse_config(data)
        except InvalidInput:
            os.unlink(path)
            return None
        chains = chain_ids(config)
        if chains and not self._store.layers.has(chains[-1]):
            os.unlink(path)
            return None
        os.utime(path)  # the last time that it was of use
        return digests.of(data), config

    def remember(self, key: str, config: bytes) -> None:
        """Keep what a step gave."""
        _write(f"{self.root}/steps/{key}", config)

    def blob(self, diff_id: str) -> Descriptor | None:
        """The blob of a layer, if it has been compressed before and is still there."""
        data = _read(self._layer(diff_id))
        if data is None:
            return None
        try:
            found = codec.decode(Descriptor, json.loads(data))
        except ValueError:
            return None
        return found if self._store.blobs.has(found.digest) else None

    def remember_blob(self, diff_id: str, blob: Descriptor) -> None:
        """Keep which blob a layer has."""
        _write(self._layer(diff_id), json.dumps(codec.encode(blob)).encode())

    def keep(self) -> tuple[frozenset[str], frozenset[str]]:
        """Blobs and chain IDs that must not be collected, or the cache would be of no use."""
        chains: set[str] = set()
        blobs: set[str] = set()
        for key in os.listdir(f"{self.root}/steps"):
            found = self.find(key)
            if found:
                chains.update(chain_ids(found[1]))
                blobs.update(blob.digest for diff_id in found[1].rootfs.diff_ids if (blob := self.blob(diff_id)))
        return frozenset(blobs), frozenset(chains)

    def prune(self) -> int:
        """Forget all; how many steps that were. What no image needs then is ``Images.collect``'s to delete."""
        count = len(os.listdir(f"{self.root}/steps"))
        for name in "steps", "layers":
            shutil.rmtree(f"{self.root}/{name}", ignore_errors=True)
            os.makedirs(f"{self.root}/{name}", exist_ok=True)
        return count

    def _layer(self, diff_id: str) -> str:
        return f"{self.root}/layers/{digests.check(diff_id).partition(':')[2]}"


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _write(path: str, data: bytes) -> None:
    try:
        with open(f"{path}.new", "wb") as file:
            file.write(data)
        os.rename(f"{path}.new", path)
    except OSError as error:
        raise KernelError.of(error, "write", path) from None
