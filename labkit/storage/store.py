"""The store: everything that images are on this machine, below one directory.

    ROOT/images/      blobs by digest, an OCI image layout                                       labkit.storage.blobs
    ROOT/snapshots/   layers unpacked, as overlayfs stacks them                                  labkit.storage.snapshots, .layers
    ROOT/lock         held by whoever changes the store

    >>> from labkit.storage.store import Store
    >>> store = Store("/var/lib/labkit")
    >>> with store.changing():
    ...     store.blobs.put(b"hello")

Reading takes no lock: whatever is there is whole. Changes that hang together (a blob and the name that points to it; what is used
and what is therefore kept) are made under the lock, so that nothing is collected that somebody is about to use.

Source: ``man 2 flock``. Shown in notebook 05.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property

from labkit.errors import KernelError
from labkit.storage.blobs import Blobs
from labkit.storage.layers import Layers
from labkit.storage.snapshots import Snapshots

DEFAULT_ROOT = "/var/lib/labkit"


class _Lock:
    """The lock of one directory in this process: held by one thread, as often as it likes."""

    def __init__(self) -> None:
        self.thread = threading.RLock()
        self.depth = 0


_locks: dict[str, _Lock] = {}


class Store:
    """The store below ``root``. ``waiting``, if it is set, is called when another process holds the lock, before waiting for it."""

    def __init__(self, root: str = DEFAULT_ROOT, waiting: Callable[[], None] | None = None) -> None:
        self.root = os.path.realpath(root)
        self.waiting = waiting
        try:
            os.makedirs(self.root, exist_ok=True)
        except OSError as error:
            raise KernelError.of(error, "make the store in", root) from None

    def __repr__(self) -> str:
        return f"Store({self.root!r})"

    @cached_property
    def blobs(self) -> Blobs:
        """Manifests, configs and layers as they came."""
        return Blobs(f"{self.root}/images")

    @cached_property
    def snapshots(self) -> Snapshots:
        """Layers unpacked; ``Unsupported`` where no overlay can have its upper directory."""
        return Snapshots(f"{self.root}/snapshots")

    @cached_property
    def layers(self) -> Layers:
        """What makes the one from the other."""
        return Layers(self.snapshots)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Nobody else changes the store meanwhile. May be nested."""
        lock = _locks.setdefault(self.root, _Lock())
        with lock.thread:
            if lock.depth:
                lock.depth += 1
                try:
                    yield
                finally:
                    lock.depth -= 1
                return
            with self._flocked():
                lock.depth = 1
                try:
                    yield
                finally:
                    lock.depth = 0

    @contextmanager
    def _flocked(self) -> Iterator[None]:
        path = f"{self.root}/lock"
        try:
            file = open(path, "w")
        except OSError as error:
            raise KernelError.of(error, "lock", path) from None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self.waiting:
                    self.waiting()
                fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)  # a child that has the descriptor would go on holding it
