"""The blobs of an image, fetched: three layers at a time, each unpacked in the same stream in which it arrives.

    socket ─▶ blob on disk, digest ─▶ decompressed ─▶ diff ID, files     one thread a layer, a chunk at a time; nothing is read twice
                                                         │
    layer 1 ─────────────────────────────────────────────┤ commit
    layer 2 ─────────────────────────────────────────────┤ commit, on top of 1
    layer 3 ─────────────────────────────────────────────┘ commit, on top of 2

    >>> fetching = Fetching(store, client, "library/nginx", report)
    >>> config = documents.parse_config(fetching.document(manifest.config))
    >>> fetching.layers(manifest, config)

What is here is not fetched: a whole blob never, of a part only the rest. Whatever happens, what is on disk under a digest is right.
The caller holds ``store.changing()``. Source: OCI image-spec 1.1, layer.md, config.md (DiffID, ChainID). Shown in notebook 05.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event, Lock

from labkit.errors import InvalidInput, LabError
from labkit.image.documents import MAX_DOCUMENT, Descriptor, ImageConfig, Manifest
from labkit.image.image import chain_ids
from labkit.image.progress import Progress, Report
from labkit.image.registry.client import Client
from labkit.storage import digests
from labkit.storage.blobs import BlobWriter
from labkit.storage.compression import decompressed
from labkit.storage.layers import Pending, is_abandoned
from labkit.storage.store import Store

_AT_ONCE = 3
_REPORT_SECONDS = 0.1


class Fetching:
    """What is fetched from one registry for one image."""

    def __init__(self, store: Store, client: Client, repository: str, report: Report, limit: int | None = None) -> None:
        """``limit``: bytes that a layer may have when it is decompressed."""
        self._store, self._client, self._repository, self._report, self._limit = store, client, repository, report, limit
        self._stopped = Event()
        self._failure: BaseException | None = None
        self._stopping = Lock()

    def document(self, descriptor: Descriptor) -> bytes:
        """A small blob: a config."""
        if descriptor.size > MAX_DOCUMENT:
            raise InvalidInput(f"blob {descriptor.digest}: has {descriptor.size} bytes, more than the {MAX_DOCUMENT} of a document")
        with self._store.blobs.writer(descriptor.digest, descriptor.size) as writer:
            for _ in self._sources(writer, descriptor):  # without a word: a config is no layer
                pass
            if not writer.there:
                writer.commit()
        return self._store.blobs.read(descriptor.digest, MAX_DOCUMENT)

    def layers(self, manifest: Manifest, config: ImageConfig) -> None:
        """All layers, as blobs and as snapshots."""
        self._clear_up()
        chains = chain_ids(config)
        there = [self._store.layers.has(chain) for chain in chains]
        for layer, is_unpacked in zip(manifest.layers, there, strict=True):
            self._say(layer, "Already exists" if is_unpacked and self._store.blobs.has(layer.digest) else "Pulling fs layer")
        threads = ThreadPoolExecutor(_AT_ONCE, "pull")
        arriving: list[Future[Pending | None]] = []
        try:
            arriving += [threads.submit(self._guarded, *job) for job in zip(manifest.layers, there, strict=True)]
            for number, future in enumerate(arriving):
                if unpacked := future.result():
                    self._commit(manifest.layers[number], unpacked, config.rootfs.diff_ids[number], chains, number)
        except BaseException as error:
            self._stop(error)
            threads.shutdown(cancel_futures=True)
            for future in arriving:
                if not future.cancelled() and not future.exception() and (unpacked := future.result()):
                    self._store.layers.discard(unpacked)  # one that is committed stays
            raise self._failure or error from None
        finally:
            threads.shutdown()

    def _clear_up(self) -> None:
        """What pulls that were killed have unpacked halfway; their blobs stay."""
        for snapshot in self._store.snapshots.list():
            if is_abandoned(snapshot):
                self._store.snapshots.remove(snapshot.name)

    def _guarded(self, layer: Descriptor, is_unpacked: bool) -> Pending | None:
        """One layer; its failure is the end of all."""
        try:
            return self._layer(layer, is_unpacked)
        except BaseException as error:
            self._stop(error)
            raise

    def _layer(self, layer: Descriptor, is_unpacked: bool) -> Pending | None:
        if is_unpacked and self._store.blobs.has(layer.digest):
            return None
        while True:
            with self._store.blobs.writer(layer.digest, layer.size) as writer:
                resumed = not writer.there and writer.offset
                try:
                    return self._through(writer, layer, is_unpacked)
                except InvalidInput:
                    writer.restart()  # nobody shall go on from what is wrong
                    if not resumed or self._stopped.is_set():
                        raise  # else it is what an earlier pull has left that may have come from somebody who lies

    def _through(self, writer: BlobWriter, layer: Descriptor, is_unpacked: bool) -> Pending | None:
        arriving = self._bytes(writer, layer)
        unpacked = None if is_unpacked else self._store.layers.unpack(decompressed(arriving, self._limit))
        try:
            for _ in arriving:  # padding after the archive; and the check of the digest comes at the end
                pass
        except BaseException:
            if unpacked:
                self._store.layers.discard(unpacked)
            raise
        return unpacked

    def _bytes(self, writer: BlobWriter, blob: Descriptor) -> Iterator[bytes]:
        """The blob as it arrives, and is written. When the last byte has been taken, it is whole, checked and has its name."""
        status = "Extracting" if writer.there else "Downloading"
        said, done = 0.0, 0
        for chunk in self._sources(writer, blob):
            yield chunk
            done += len(chunk)
            if (now := time.monotonic()) >= said + _REPORT_SECONDS:
                said = now
                self._say(blob, status, done)
        if not writer.there:
            self._say(blob, "Verifying Checksum")
            writer.commit()
            self._say(blob, "Download complete")

    def _sources(self, writer: BlobWriter, blob: Descriptor) -> Iterator[bytes]:
        for chunk in writer.resumed():
            self._check_stopped()
            yield chunk
        if writer.there:
            return
        for chunk in self._client.blob(self._repository, blob.digest, blob.size, writer.offset, lambda left: self._retrying(blob, left)):
            self._check_stopped()
            writer.write(chunk)
            yield chunk

    def _commit(self, layer: Descriptor, unpacked: Pending, diff_id: str, chains: Sequence[str], number: int) -> None:
        if unpacked.diff_id != diff_id:
            raise InvalidInput(
                f"layer {layer.digest}: its content has the digest {unpacked.diff_id}, but the config says {diff_id}: "
                "the image was damaged or forged where it comes from"
            )
        self._say(layer, "Extracting", layer.size)
        self._store.layers.commit(unpacked, chains[number - 1] if number else None)
        self._say(layer, "Pull complete")

    def _stop(self, error: BaseException) -> None:
        """The first failure counts; those of the others, whose connections are cut, are of no interest."""
        with self._stopping:
            self._failure = self._failure or error
        self._stopped.set()
        self._client.abort()

    def _check_stopped(self) -> None:
        if self._stopped.is_set():
            raise LabError("another layer failed")

    def _retrying(self, blob: Descriptor, seconds: int) -> None:
        self._check_stopped()
        self._say(blob, f"Retrying in {seconds} second{'' if seconds == 1 else 's'}")

    def _say(self, blob: Descriptor, status: str, current: int | None = None) -> None:
        self._report(Progress(digests.short(blob.digest), status, current, None if current is None else blob.size))
