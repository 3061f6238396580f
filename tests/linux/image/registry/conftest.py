"""What the tests of pull and push share: a store of their own, and images put into a registry without labkit's push."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit.image import references
from labkit.image.images import Image, Images
from labkit.image.progress import Progress
from labkit.image.registry import pull
from labkit.image.registry.settings import Settings
from labkit.image.registry.transport import Patience
from labkit.storage.layers import snapshot_name
from labkit.storage.store import Store
from tests import evil
from tests.evil import Made
from tests.registries import Registry

QUICK = Patience(attempts=3, first_delay=0.01, longest_delay=5.0, connect=5.0, silence=5.0)


@pytest.fixture(autouse=True)
def _nobody_s_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))


@pytest.fixture
def images(tmp_path: Path) -> Images:
    """The images of an empty store."""
    return Images(Store(str(tmp_path / "store")))


@pytest.fixture
def said() -> list[Progress]:
    """What was reported."""
    return []


@pytest.fixture
def pulled(images: Images, said: list[Progress]) -> Callable[..., Image]:
    """``pulled("127.0.0.1:5000/me/web:v1")``: pull into the store, without much patience."""

    def call(name: str, settings: Settings = Settings(), **how: object) -> Image:  # noqa: B008
        return pull.pull(images, references.parse(name), settings=settings, report=said.append, **{"patience": QUICK, **how})  # type: ignore[arg-type]

    return call


@pytest.fixture
def bad() -> Iterator[evil.Evil]:
    """A registry that can be told to misbehave."""
    with evil.Evil() as registry:
        yield registry


def put(registry: Registry, image: Made, repository: str, *tags: str) -> None:
    """Upload an image with plain HTTP."""
    for blob in image.config, *image.layers:
        digest = evil.digest_of(blob)
        location = _send(f"{registry.url}/v2/{repository}/blobs/uploads/", "POST", b"", "")
        _send(f"{location}&digest={digest}", "PUT", blob, "application/octet-stream")
    for tag in tags:
        _send(f"{registry.url}/v2/{repository}/manifests/{tag}", "PUT", image.manifest, evil.MANIFEST)


def _send(url: str, method: str, data: bytes, kind: str) -> str:
    request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": kind} if kind else {})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.headers["Location"] or ""


def seen(images: Images, image: Image, directory: Path) -> dict[str, bytes]:
    """The files of an image, as a container would see them."""
    directory.mkdir()
    top = images.ensure_unpacked(image)
    assert top == snapshot_name(image.chain_ids[-1])
    found: dict[str, bytes] = {}
    with images.store.snapshots.mounted(top, str(directory)):
        for parent, _, names in os.walk(directory):
            for name in names:
                path = os.path.join(parent, name)
                found[os.path.relpath(path, directory)] = Path(path).read_bytes()
    return found


def statuses(said: list[Progress], part: str = "") -> list[str]:
    """What was said, without the repetitions of a bar that moves; of one layer, if ``part`` is its ID."""
    lines: list[str] = []
    for progress in said:
        if progress.id == part or not part:
            line = progress.status if part else str(progress)
            if lines[-1:] != [line]:
                lines.append(line)
    return lines


def rubbish(images: Images) -> list[str]:
    """What is in the store and belongs to nobody: unfinished downloads, snapshots on their way."""
    places = (f"{images.store.root}/{place}" for place in ("images/ingest", "snapshots/active", "snapshots/trash"))
    return [name for place in places if os.path.isdir(place) for name in os.listdir(place)]
