"""The layer that a step of a build writes into: made on top of the image so far, then kept or thrown away.

    >>> from labkit.engine.build import working
    >>> with working.layer(store, chain) as layer:
    ...     with layer.mounted() as root: open(f"{root}/hello", "w").close()
    ...     diff_id = layer.commit()                 # None if nothing was changed: then there is no layer

    image so far (chain) ◀── active snapshot ── mounted: read and written as a whole
                                   └── commit: packed for its digest, and committed under the chain ID of the two

A layer that is not committed is gone when the block ends; what a killed build has left, ``tidy`` takes away.
Source: OCI image-spec 1.1, layer.md, config.md. Shown in notebooks 03 and 09.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from labkit.errors import Conflict, LabError
from labkit.linux import mounts
from labkit.storage.digests import Hasher
from labkit.storage.layers import chain_id, snapshot_name
from labkit.storage.pack import pack
from labkit.storage.snapshots import OverlayMount
from labkit.storage.store import Store

PREFIX = "build-"


class Layer:
    """A layer in the making; made by ``layer``."""

    def __init__(self, store: Store, name: str, parent: str | None, epoch: int | None) -> None:
        self._store = store
        self._name = name
        self._parent = parent
        self._epoch = epoch

    @property
    def overlay(self) -> OverlayMount:
        """What to mount to see it on top of the image so far."""
        return self._store.snapshots.overlay(self._name)

    @contextmanager
    def mounted(self) -> Iterator[str]:
        """See it for a while as the image's root directory."""
        target = f"{self._store.root}/build/mnt/{self._name}"
        os.makedirs(target, exist_ok=True)
        try:
            with self._store.snapshots.mounted(self._name, target):
                yield target
        finally:
            with suppress(OSError):
                os.rmdir(target)

    def commit(self) -> str | None:
        """Keep it: its diff_id; None if it changes nothing."""
        snapshots = self._store.snapshots
        upper = snapshots.get(self._name).upper
        if not os.listdir(upper):
            return None
        if self._epoch is not None:
            _clamp(upper, self._epoch)
        if self._parent:  # that the root directory was written to is no news: without this it would be in the layer, or not, by the second
            before = os.stat(self._store.layers.get(self._parent).upper)
            os.utime(upper, ns=(before.st_atime_ns, before.st_mtime_ns))
        diff_id = digest(self._store, self._name)
        name = snapshot_name(chain_id([self._parent, diff_id] if self._parent else [diff_id]))
        if not snapshots.has(name):
            snapshots.commit(self._name, name)
        return diff_id


@contextmanager
def layer(store: Store, parent: str | None, epoch: int | None = None) -> Iterator[Layer]:
    """A new layer on top of the stack ``parent``, a chain ID. No file in it will be younger than ``epoch``, in seconds, if that is set."""
    name = f"{PREFIX}{os.getpid()}-{os.urandom(6).hex()}"
    store.snapshots.prepare(name, snapshot_name(parent) if parent else None)
    try:
        yield Layer(store, name, parent, epoch)
    finally:
        store.snapshots.remove(name)  # nothing, if it is committed: then it has another name


@contextmanager
def seen(store: Store, chain: str | None) -> Iterator[str]:
    """The file system of an image, for reading; that of scratch is empty."""
    with layer(store, chain) as looked_at, looked_at.mounted() as root:
        yield root


def packed(store: Store, name: str) -> Iterator[bytes]:
    """The archive of a snapshot's own layer, uncompressed."""
    top, *below = store.snapshots.stack(name)
    return pack(top.upper, [snapshot.upper for snapshot in below])


def digest(store: Store, name: str) -> str:
    """The diff_id of a snapshot's own layer."""
    hasher = Hasher()
    for chunk in packed(store, name):
        hasher.update(chunk)
    return hasher.digest()


def tidy(store: Store) -> None:
    """Take away what builds have left here that were killed. Whoever calls holds the store's lock, so that none is at work."""
    place = f"{store.root}/build/mnt"
    for mount in reversed(mounts.table()):
        if mount.target.startswith(f"{place}/"):
            mounts.unmount(mount.target, lazy=True)
    shutil.rmtree(place, ignore_errors=True)
    for snapshot in store.snapshots.list():
        if not snapshot.committed and snapshot.name.startswith(PREFIX):
            with suppress(Conflict):  # its container still runs
                store.snapshots.remove(snapshot.name)


def _clamp(upper: str, epoch: int) -> None:
    """SOURCE_DATE_EPOCH: what the build made is as old as its sources."""
    latest = epoch * 10**9
    try:
        for directory, names, files in os.walk(upper, topdown=False):
            for path in (*(f"{directory}/{name}" for name in (*names, *files)), directory):
                if os.lstat(path).st_mtime_ns > latest:
                    os.utime(path, ns=(latest, latest), follow_symlinks=False)
    except OSError as error:
        raise LabError(f"set the times of files in {upper}: {error}") from None
