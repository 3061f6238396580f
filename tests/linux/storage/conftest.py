"""What the tests of labkit.storage share: a store on this machine's disk, and its layers seen through the kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from labkit.storage.layers import snapshot_name
from labkit.storage.store import Store

See = Callable[[str], AbstractContextManager[Path]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


@pytest.fixture
def see(store: Store, tmp_path: Path) -> See:
    """``with see(chain) as root``: the union of the layers of a chain, as a container sees it."""

    @contextmanager
    def seen(chain: str) -> Iterator[Path]:
        (target := tmp_path / "seen").mkdir(exist_ok=True)
        with store.snapshots.mounted(snapshot_name(chain), str(target)):
            yield target

    return seen
