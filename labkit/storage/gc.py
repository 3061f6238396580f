"""Garbage collection: whatever nobody needs any more is deleted; what is used stays, whoever asks.

    >>> from labkit.storage import gc
    >>> gc.collect(store, keep_blobs, keep_chains).bytes             # how much room that made
    31457280

    blobs                          that are not in ``keep_blobs``
    snapshots of image layers      that are not in ``keep_chains``, nor below one that is, nor below a container, nor mounted
    layers half unpacked           whose process is gone
    downloads half done            that nobody is at, and that nobody has gone on with for ``age`` seconds: until then they may be resumed

Snapshots that are called otherwise than a layer belong to whoever named them, and stay. The caller says what is kept, since only images
know what a manifest refers to; all of it happens under ``store.changing()``, so that nobody takes up meanwhile what is on its way out.

Shown in notebook 05.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterable, Iterator

from labkit.errors import Conflict, KernelError
from labkit.records import record
from labkit.storage.layers import is_abandoned, snapshot_name
from labkit.storage.snapshots import Snapshot, Snapshots
from labkit.storage.store import Store

_DAY = 24 * 60 * 60


@record
class Collected:
    """What was deleted: digests of blobs, names of snapshots, and the bytes of disk that all of it had taken."""

    blobs: tuple[str, ...]
    snapshots: tuple[str, ...]
    bytes: int


def collect(store: Store, keep_blobs: Iterable[str], keep_chains: Iterable[str], age: float = _DAY) -> Collected:
    """Delete what is neither kept nor in use."""
    with store.changing():
        try:
            blobs, freed = _collect_blobs(store, frozenset(keep_blobs))
            freed += _collect_partial(f"{store.blobs.directory}/ingest", age)
            names, freed_too = _collect_snapshots(store, frozenset(map(snapshot_name, keep_chains)))
        except OSError as error:
            raise KernelError.of(error, "collect garbage in", store.root) from None
    return Collected(blobs, names, freed + freed_too)


def _collect_blobs(store: Store, keep: frozenset[str]) -> tuple[tuple[str, ...], int]:
    doomed = tuple(digest for digest in store.blobs.list() if digest not in keep)
    freed = 0
    for digest in doomed:
        freed += _disk_use(store.blobs.path(digest))
        store.blobs.remove(digest)
    return doomed, freed


def _collect_partial(directory: str, age: float) -> int:
    freed = 0
    for name in os.listdir(directory):
        path = f"{directory}/{name}"
        with open(path, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # somebody writes it right now
            is_resumable = name.startswith(("sha256-", "sha512-"))
            if not is_resumable or time.time() - os.fstat(file.fileno()).st_mtime >= age:
                freed += _disk_use(path)
                os.unlink(path)
    return freed


def _collect_snapshots(store: Store, keep: frozenset[str]) -> tuple[tuple[str, ...], int]:
    if not os.path.isdir(f"{store.root}/snapshots"):
        return (), 0  # a store of blobs alone, which may be where no snapshots can be
    store.snapshots.empty_trash()
    gone = []
    freed = 0
    for snapshot in _topmost_first(store.snapshots):
        is_layer = snapshot.committed and re.fullmatch("[0-9a-f]{32}", snapshot.name)
        if not (is_abandoned(snapshot) or (is_layer and snapshot.name not in keep)):
            continue
        size = sum(map(_disk_use, _files(snapshot.upper)))
        try:
            store.snapshots.remove(snapshot.name)
        except Conflict:
            continue  # a container stands on it, or it is mounted
        gone.append(snapshot.name)
        freed += size
    return tuple(gone), freed


def _topmost_first(snapshots: Snapshots) -> list[Snapshot]:
    """Children before their parents."""
    found = {snapshot.name: snapshot for snapshot in snapshots.list()}

    def height(snapshot: Snapshot) -> int:
        below = 0
        parent = snapshot.parent
        while parent in found and below < len(found):
            below += 1
            parent = found[parent].parent
        return below

    return sorted(found.values(), key=height, reverse=True)


def _files(directory: str) -> Iterator[str]:
    """All below ``directory``, each file once however many names it has."""
    seen = set()
    for here, directories, names in os.walk(directory):
        for name in (*directories, *names):
            path = os.path.join(here, name)
            status = os.lstat(path)
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                yield path


def _disk_use(path: str) -> int:
    try:
        return os.lstat(path).st_blocks * 512
    except FileNotFoundError:
        return 0
