"""What lies between an image and the container's own layer: the mount points that every container needs, made once for each image.

    active      4cfc314c4980           what this container writes, and nothing else: diff and commit look here
    committed   9d1c…-init             /dev /proc /sys, empty /etc/hosts and their like, unless the image has them
    committed   9d1c…                  the image's top layer; and the others below it

Source: moby's ``daemon/initlayer``. Shown in notebook 06.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from labkit.errors import Conflict, NotFound
from labkit.storage import union
from labkit.storage.layers import snapshot_name

if TYPE_CHECKING:
    from labkit.engine.engine import Engine
    from labkit.image.image import Image
    from labkit.storage.snapshots import Snapshot, Snapshots
    from labkit.storage.store import Store

_DIRECTORIES = ("/dev", "/proc", "/sys")
_FILES = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/.dockerenv")


def prepare(engine: Engine, image: Image, key: str) -> Snapshot:
    """The layer of a new container, called ``key``."""
    while True:
        base = ensure(engine, image)
        try:
            return engine.store.snapshots.prepare(key, base)
        except NotFound:
            continue  # somebody has just collected what nobody used


def ensure(engine: Engine, image: Image) -> str:
    """The name of the snapshot that containers of this image stand on; it is made if there is none yet."""
    top = engine.images.images.ensure_unpacked(image)
    snapshots = engine.store.snapshots
    name = f"{top or 'scratch'}-init"
    try:
        return snapshots.get(name).name
    except NotFound:
        return _make(snapshots, top, name)


def _make(snapshots: Snapshots, top: str | None, name: str) -> str:
    key = f"{name}-{os.getpid()}-{os.urandom(3).hex()}"
    upper = snapshots.prepare(key, top).upper
    try:
        below = [layer.upper for layer in snapshots.stack(top)] if top else []
        for path in _DIRECTORIES:
            if _is_missing(path, below):
                os.mkdir(upper + path, 0o755)
        for path in _FILES:
            if _is_missing(path, below) and _parent(path, below, upper):
                with open(upper + path, "x"):
                    os.chmod(upper + path, 0o755 if path == "/.dockerenv" else 0o644)
        snapshots.commit(key, name)
    except Conflict:  # somebody else has made it meanwhile
        snapshots.remove(key)
    except BaseException:
        snapshots.remove(key)
        raise
    return name


def tidy(store: Store, chains: Iterable[str]) -> None:
    """Take away those of images that are gone, if no container stands on them; ``chains`` are the layers that are kept."""
    if not os.path.isdir(f"{store.root}/snapshots"):
        return  # a store of blobs alone, which may be where no snapshots can be
    kept = frozenset(map(snapshot_name, chains))
    for snapshot in store.snapshots.list():
        if snapshot.committed and snapshot.name == f"{snapshot.parent}-init" and snapshot.parent not in kept:
            with suppress(Conflict):  # a container stands on it
                store.snapshots.remove(snapshot.name)


def _is_missing(path: str, below: list[str]) -> bool:
    return union.provider(below, path) is None


def _parent(path: str, below: list[str], upper: str) -> bool:
    """The directory for a file, in this layer, as those below have it. False where it is no directory: then none is made for it."""
    parent = os.path.dirname(path)
    if parent == "/" or os.path.isdir(upper + parent):
        return True
    index = union.provider(below, parent)
    if index is None:
        os.mkdir(upper + parent, 0o755)
        return True
    there = below[index] + parent
    if os.path.islink(there) or not os.path.isdir(there):
        return False
    os.mkdir(upper + parent)
    found = os.stat(there)
    os.chown(upper + parent, found.st_uid, found.st_gid)
    shutil.copystat(there, upper + parent)
    return True
