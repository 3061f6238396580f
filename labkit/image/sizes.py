"""How much the layers of an image take.

    >>> sizes.of_layers(store, image)
    (29600000, 1103)

Bytes of its files, each counted once however many names it has, as ``docker image ls`` counts them. A layer never changes, so that
this is counted once and kept beside it, in the file ``size``. Shown in notebook 05.
"""

from __future__ import annotations

import os
import stat

from labkit.errors import NotFound, Unsupported
from labkit.image.image import Image
from labkit.storage.layers import snapshot_name
from labkit.storage.snapshots import Snapshot, Snapshots
from labkit.storage.store import Store


def of_layers(store: Store, image: Image) -> tuple[int, ...]:
    """Bytes of the files of each layer; of its blob, where it is not unpacked."""
    try:
        snapshots = store.snapshots
    except Unsupported:  # no layer can be unpacked in such a place
        return tuple(layer.size for layer in image.manifest.layers)
    return tuple(_size(snapshots, chain, layer.size) for chain, layer in zip(image.chain_ids, image.manifest.layers, strict=True))


def _size(snapshots: Snapshots, chain: str, packed: int) -> int:
    try:
        return unpacked(snapshots.get(snapshot_name(chain)))
    except NotFound:
        return packed


def unpacked(snapshot: Snapshot) -> int:
    """Bytes of the files of a committed snapshot's own layer."""
    note = os.path.join(os.path.dirname(snapshot.upper), "size")
    try:
        with open(note) as file:
            return int(file.read())
    except (OSError, ValueError):
        total = _count(snapshot.upper)
    try:
        new = f"{note}.{os.getpid()}"
        with open(new, "w") as file:
            file.write(f"{total}\n")
        os.rename(new, note)
    except OSError:
        pass  # a full disk or the rights of a guest: it is counted again next time
    return total


def _count(directory: str) -> int:
    total, seen = 0, set()
    for place, _, names in os.walk(directory):
        for name in names:
            found = os.lstat(f"{place}/{name}")
            if found.st_nlink > 1:
                if found.st_ino in seen:
                    continue
                seen.add(found.st_ino)
            if not stat.S_ISDIR(found.st_mode):
                total += found.st_size
    return total
