"""The layers of an image unpacked: several at a time, each checked against the config, stacked in their order.

    blobs      unpack              commit
    layer 1 ──▶ a directory ──┬──▶ snapshot 1
    layer 2 ──▶ a directory ──┼──▶ snapshot 2, on top of 1
    layer 3 ──▶ a directory ──┘    snapshot 3, on top of 2
               in parallel         one after the other

    >>> unpacking.unpack(store, image)
    '9d1cb0ae4b5f9c3d2a1e8f7b6c5d4e3f'

Stacks that other images have brought are there already. Source: OCI image-spec 1.1, config.md, ``rootfs``; layer.md. Shown in
notebook 05.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from threading import Event
from typing import BinaryIO

from labkit.errors import InvalidInput, NotFound
from labkit.image.documents import Descriptor
from labkit.image.image import Image
from labkit.image.progress import Progress, Report, silent
from labkit.storage import digests
from labkit.storage.compression import decompressed
from labkit.storage.layers import Pending, snapshot_name
from labkit.storage.store import Store

_PARALLEL = 3
_CHUNK = 1 << 20


def unpack(store: Store, image: Image, report: Report = silent, limit: int | None = None) -> str | None:
    """The name of the snapshot with the image's file system; None for an image without layers.

    ``limit`` is how many bytes a layer may have when it is unpacked. ``InvalidInput`` if a layer is not what the config says.
    """
    chains = image.chain_ids
    if not chains:
        return None
    if store.layers.has(chains[-1]):  # the usual case, and no reason to wait for somebody else's pull
        return snapshot_name(chains[-1])
    with store.changing():
        there = next((count for count in range(len(chains), 0, -1) if store.layers.has(chains[count - 1])), 0)
        layers = image.manifest.layers[there:]
        stop = Event()
        with ThreadPoolExecutor(_PARALLEL) as pool:
            unpacking = [pool.submit(_unpack, store, layer, report, limit, stop) for layer in layers]
            try:
                for number, future in enumerate(unpacking, there):
                    _commit(store, image, number, future.result())
                    report(Progress(digests.short(image.manifest.layers[number].digest), "Pull complete"))
            except BaseException:
                stop.set()
                _give_up(store, unpacking)
                raise
    return snapshot_name(chains[-1])


def _unpack(store: Store, layer: Descriptor, report: Report, limit: int | None, stop: Event) -> Pending:
    if not store.blobs.has(layer.digest):
        raise NotFound(f"unpack layer {layer.digest}: its blob is not in {store.blobs.directory}: pull or load the image again")
    with store.blobs.open(layer.digest) as blob:
        return store.layers.unpack(decompressed(_read(blob, layer, report, stop)), limit)


def _read(blob: BinaryIO, layer: Descriptor, report: Report, stop: Event) -> Iterator[bytes]:
    while chunk := blob.read(_CHUNK):
        if stop.is_set():  # another layer has failed, or somebody pressed ctrl-C
            raise CancelledError
        yield chunk
        report(Progress(digests.short(layer.digest), "Extracting", blob.tell(), layer.size))


def _commit(store: Store, image: Image, number: int, pending: Pending) -> None:
    wanted = image.config.rootfs.diff_ids[number]
    if pending.diff_id != wanted:
        raise InvalidInput(
            f"unpack layer {image.manifest.layers[number].digest} of image {image.id}: its content has the digest {pending.diff_id}, "
            f"but the config says {wanted}: the image was damaged or forged where it comes from"
        )
    store.layers.commit(pending, image.chain_ids[number - 1] if number else None)


def _give_up(store: Store, unpacking: list[Future[Pending]]) -> None:
    for future in unpacking:
        if not future.cancel() and not future.exception():
            store.layers.discard(future.result())  # one that is committed is not pending any more, which is fine
