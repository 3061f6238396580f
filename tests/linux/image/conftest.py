"""A store on a file system that layers can be unpacked on."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.image.images import Images
from labkit.storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


@pytest.fixture
def images(store: Store) -> Images:
    return Images(store)
