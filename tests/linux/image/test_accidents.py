"""Several at once, kill -9, a full disk: the store is right afterwards."""

from __future__ import annotations

import io
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit.errors import KernelError
from labkit.image import archives, media
from labkit.image.images import Images
from labkit.image.progress import Progress
from labkit.image.references import parse
from labkit.linux import mounts
from labkit.storage.store import Store
from tests.layouts import image, layer


def child(what: Callable[[], object]) -> int:
    """The PID of a process that does something in this store."""
    pid = os.fork()
    if pid == 0:
        try:
            what()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return pid


def archive(images: Images, size: int) -> bytes:
    """An archive of an image with two layers of so many bytes each, which no compression makes smaller."""
    store = images.store
    noise = random.Random(size).randbytes
    layers = [layer(store, {f"{number}": noise(size)}, media.OCI_LAYER_GZIP) for number in range(2)]
    images.add(image(store, *layers), parse("big"))
    out = io.BytesIO()
    archives.save(images, ["big"], out)
    return out.getvalue()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Images:
    return Images(Store(str(tmp_path / "elsewhere")))


def test_names_that_several_processes_give_at_once_are_all_there(images: Images, store: Store) -> None:
    added = images.add(image(store, layer(store, {"a": b"1"})), parse("web"))
    pids = [child(lambda number=number: Images(Store(store.root)).tag(added, parse(f"web:{number}"))) for number in range(12)]  # type: ignore[misc]
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 12
    assert {name.tag for name in images.get("web").names} == {"latest", *map(str, range(12))}


def test_an_image_that_several_processes_unpack_at_once_is_unpacked_once(images: Images, store: Store) -> None:
    added = images.add(image(store, layer(store, {"a": b"1"}), layer(store, {"b": b"2"})), parse("web"))
    pids = [child(lambda: Images(Store(store.root)).ensure_unpacked(added)) for _ in range(4)]
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 4
    assert [snapshot.committed for snapshot in store.snapshots.list()] == [True, True]


@pytest.mark.parametrize("moment", range(5))
def test_a_load_that_is_killed_is_made_again_and_leaves_no_rubbish(moment: int, images: Images, elsewhere: Images) -> None:
    whole = archive(elsewhere, 1 << 20)
    reader, writer = os.pipe()

    def load() -> None:
        os.close(writer)
        with open(reader, "rb") as stream:
            archives.load(images, stream, lambda said: os.kill(os.getpid(), signal.SIGKILL) if moment == 4 else None)

    pid = child(load)
    os.close(reader)
    with open(writer, "wb") as pipe:
        pipe.write(whole[: (moment + 1) * len(whole) // 5 if moment < 4 else None])
        pipe.flush()
        if moment < 4:
            os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert images.list() == ()
    assert archives.load(images, io.BytesIO(whole)) == ("Loaded image: big:latest",)
    assert images.ensure_unpacked(images.get("big"))
    images.collect()
    assert set(images.store.blobs.list()) == images.keep()[0]
    assert all(snapshot.committed for snapshot in images.store.snapshots.list())


def test_a_full_disk_is_said_and_the_store_is_as_it_was(elsewhere: Images, tmp_path: Path) -> None:
    whole = archive(elsewhere, 3 << 20)
    (tmp_path / "small").mkdir()
    with mounts.mounted("tmpfs", str(tmp_path / "small"), "tmpfs", ("size=8m",)):
        images = Images(Store(str(tmp_path / "small" / "store")))
        before = images.add(image(images.store, layer(images.store, {"a": b"1"})), parse("before"))
        with pytest.raises(KernelError, match="ENOSPC"):
            archives.load(images, io.BytesIO(whole))
        assert images.list() == (before,)
        assert set(images.store.blobs.list()) == images.keep()[0]
        assert images.ensure_unpacked(before)
        assert len(images.store.snapshots.list()) == 1


def test_reports_come_while_the_layers_are_unpacked(images: Images, elsewhere: Images) -> None:
    archives.load(images, io.BytesIO(archive(elsewhere, 3 << 20)), (said := list[Progress]()).append)
    for each in images.get("big").manifest.layers:
        steps = [(told.current, told.total) for told in said if each.digest[7:19] == told.id]
        assert len(steps) > 2
        assert steps[-1] == (each.size, each.size)
        assert steps == sorted(steps)
