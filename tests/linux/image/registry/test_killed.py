"""Power cuts, full disks and large layers."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit.errors import KernelError
from labkit.image.images import Image, Images
from labkit.linux import mounts
from labkit.storage.store import Store
from tests import evil
from tests.evil import Evil, Made, Request, digest_of, layer, made
from tests.linux.image.registry.conftest import rubbish, seen

PULLING = str(Path(__file__).with_name("pulling.py"))
_ROUNDS = 12


def noise(count: int, size: int, seed: int) -> dict[str, bytes]:
    """Files that do not compress."""
    chance = random.Random(seed)
    return {f"d{seed}/f{number}": chance.randbytes(size) for number in range(count)}


@pytest.fixture(scope="module")
def image() -> Made:
    return made([layer(noise(40, 50_000, seed), level=1) for seed in range(4)])


def start(images: Images, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, PULLING, images.store.root, name]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)


def whole(images: Images) -> set[str]:
    """The blobs that are there; each of them must be right."""
    found = set(images.store.blobs.list())
    assert {digest_of(Path(images.store.blobs.path(digest)).read_bytes()) for digest in found} == found
    return found


def finish(images: Images, bad: Evil, image: Made, pulled: Callable[..., Image], there: set[str], tmp_path: Path) -> None:
    """Pull again: it is correct, and what was whole is not asked for again."""
    bad.asked.clear()
    got = pulled(f"{bad.address}/me/web:v1")
    assert {path.rpartition("/")[2] for path in bad.paths("GET", "/blobs/")} & there == set()
    expected = {name: data for seed in range(4) for name, data in noise(40, 50_000, seed).items()}
    assert seen(images, got, tmp_path / "m") == expected
    whole(images)
    assert rubbish(images) == []
    assert len(images.store.snapshots.list()) == 4


@pytest.mark.parametrize("seed", range(_ROUNDS))
def test_killed_at_any_moment_the_next_pull_is_correct_and_fetches_nothing_twice(
    bad: Evil, images: Images, pulled: Callable[..., Image], image: Made, tmp_path: Path, seed: int
) -> None:
    bad.add(image, "me/web", "v1")
    chance = random.Random(seed)
    for _ in range(2):
        process = start(images, f"{bad.address}/me/web:v1")
        try:
            process.wait(chance.uniform(0.1, 0.8))
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
    finish(images, bad, image, pulled, whole(images), tmp_path)


@pytest.mark.parametrize("seed", range(_ROUNDS))
def test_killed_in_the_middle_of_a_blob_the_next_pull_goes_on_there(
    bad: Evil, images: Images, pulled: Callable[..., Image], image: Made, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    victim = chance.choice(image.layers)
    count = chance.randrange(len(victim))

    def kill(request: Request) -> None:
        evil.die_after(count)(request)
        os.kill(process.pid, signal.SIGKILL)

    bad.add(image, "me/web", "v1")
    bad.on(digest_of(victim), kill, times=1)
    process = start(images, f"{bad.address}/me/web:v1")
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    finish(images, bad, image, pulled, whole(images), tmp_path)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 12 MiB."""
    disk = tmp_path / "small"
    disk.mkdir()
    mounts.mount("tmpfs", str(disk), "tmpfs", options=("size=12m",))
    yield disk
    mounts.unmount(str(disk))


def test_a_full_disk_is_told_and_with_more_room_the_pull_goes_on(bad: Evil, small: Path, image: Made, tmp_path: Path) -> None:
    from labkit.image import references
    from labkit.image.registry import pull
    from labkit.image.registry.settings import Settings

    bad.add(image, "me/web", "v1")
    images = Images(Store(str(small / "store")))
    name = references.parse(f"{bad.address}/me/web:v1")
    with pytest.raises(KernelError, match=r"ENOSPC .*full"):
        pull.pull(images, name, settings=Settings())
    assert images.list() == ()
    assert os.listdir(f"{images.store.root}/snapshots/active") == []
    there = whole(images)
    subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
    finish(images, bad, image, lambda text: pull.pull(images, references.parse(text), settings=Settings()), there, tmp_path)


def test_memory_stays_flat_however_large_the_layer(bad: Evil, images: Images) -> None:
    large = made([layer({"large": random.Random(1).randbytes(1 << 20) * 200}, level=0)])
    bad.add(large, "me/large", "latest")
    process = start(images, f"{bad.address}/me/large")
    out, err = process.communicate()
    assert err == ""
    assert int(out.split()[1]) < 100 << 10
