"""Images that are not what they say: refused, named, and nothing of them is left to hinder a good one."""

from __future__ import annotations

import gzip
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from labkit.errors import InvalidInput, LabError, Unreachable
from labkit.image.images import Image, Images
from labkit.image.progress import Progress
from labkit.image.registry.settings import Settings
from labkit.storage import digests
from tests import evil
from tests.evil import Evil, Made, digest_of, layer, made, status
from tests.linux.image.registry.conftest import QUICK, rubbish, seen, statuses

BASE, PAGE = layer({"base": b"b" * 300_000}, level=0), layer({"srv/index.html": b"<h1>lab</h1>"})
GOOD = made([BASE, PAGE])

Pulled = Callable[..., Image]


def changed(image: Made, **manifest: object) -> Made:
    return replace(image, manifest=json.dumps({**json.loads(image.manifest), **manifest}).encode())


def described(data: bytes, **also: object) -> dict[str, object]:
    return {"mediaType": evil.LAYER, "size": len(data), "digest": digest_of(data), **also}


def config_of(image: Made, data: bytes) -> Made:
    """The same with another config."""
    return replace(changed(image, config=described(data, mediaType=evil.CONFIG)), config=data)


TRUNCATED = (BASE[0][:-1000], BASE[1])
GARBAGE = (b"this is no archive" * 100, BASE[1])
BOMB = (gzip.compress(bytes(50 << 20), mtime=0), digest_of(b""))
OUTSIDE = layer({"../../../escaped": b"x"})


@pytest.mark.parametrize(
    ("image", "complaint"),
    [
        (made([TRUNCATED]), "layer.*breaks off"),
        (made([GARBAGE]), "layer"),
        (made([BOMB]), r"layer: is larger than 10485760 bytes"),
        (made([(BASE[0], PAGE[1])]), f"layer {digest_of(BASE[0])}: its content has the digest {BASE[1]}, but the config says {PAGE[1]}"),
        (changed(GOOD, layers=[]), r"manifest\.layers: there are 0, but the config .* has 2"),
        (changed(GOOD, layers=[described(BASE[0])] * 10_000), r"manifest\.layers: there are 10000, more than the 127"),
        (changed(GOOD, layers=[described(BASE[0], size=len(BASE[0]) - 1), described(PAGE[0])]), "bytes, not the"),
        (changed(GOOD, layers=[described(BASE[0], size=-1)]), "size"),
        (changed(GOOD, layers=[described(BASE[0], digest="sha256:../../../../etc/passwd")]), "digest"),
        (changed(GOOD, layers="none"), r"manifest\.layers: must be an array"),
        (changed(GOOD, schemaVersion=1), r"manifest\.schemaVersion"),
        (changed(GOOD, config=described(b"", mediaType="application/vnd.cncf.helm.config.v1+json")), "another kind of artifact"),
        (changed(GOOD, config=described(b"{}", size=1 << 40, mediaType=evil.CONFIG)), "more than the 4194304 of a document"),
        (config_of(GOOD, b"not json"), "config: is not JSON"),
        (config_of(GOOD, b"{}"), r"config\.architecture: is missing"),
        (replace(GOOD, manifest=b"\xff\xfe"), "manifest: is not JSON"),
        (replace(GOOD, manifest=b"[]"), "manifest: must be an object"),
    ],
)
def test_a_bad_image_is_refused_and_leaves_nothing(
    bad: Evil, images: Images, pulled: Pulled, tmp_path: Path, image: Made, complaint: str
) -> None:
    bad.add(image, "me/web", "v1")
    name = f"{bad.address}/me/web:v1"
    with pytest.raises(InvalidInput, match=complaint):
        pulled(name, Settings(max_layer_bytes=10 << 20))
    assert images.list() == ()
    assert [left for left in rubbish(images) if not left.startswith("sha256-")] == []
    bad.manifests.clear()
    bad.add(GOOD, "me/web", "v1")
    assert set(seen(images, pulled(name), tmp_path / "m")) == {"base", "srv/index.html"}


def test_nothing_is_written_outside_the_store(bad: Evil, images: Images, pulled: Pulled, tmp_path: Path) -> None:
    bad.add(made([OUTSIDE]), "me/web", "v1")
    before = set(os.listdir(tmp_path))
    try:
        pulled(f"{bad.address}/me/web:v1")
    except LabError as error:
        assert "escaped" in str(error)
    assert set(os.listdir(tmp_path)) - before <= {"store"}
    assert not [path for path in tmp_path.rglob("escaped") if "upper" not in path.parts]


@pytest.mark.parametrize("data", [b"?" * len(BASE[0]), bytes(len(BASE[0]))])
def test_a_layer_of_another_digest_is_refused(bad: Evil, images: Images, pulled: Pulled, data: bytes) -> None:
    bad.add(GOOD, "me/web", "v1")
    bad.on(digest_of(BASE[0]), status(200, {}, data))
    with pytest.raises(InvalidInput, match=r"layer|blob"):
        pulled(f"{bad.address}/me/web:v1")
    assert not images.store.blobs.has(digest_of(BASE[0]))
    assert images.list() == ()


def test_a_layer_that_was_changed_on_its_way_is_refused_by_its_digest(bad: Evil, images: Images, pulled: Pulled) -> None:
    """It unpacks, it has the size, and only a byte of a file is another."""
    at = BASE[0].index(b"b" * 100) + 50
    bad.add(GOOD, "me/web", "v1")
    data = BASE[0][:at] + b"B" + BASE[0][at + 1 :]
    bad.on(digest_of(BASE[0]), status(200, {}, data))
    with pytest.raises(InvalidInput, match=f"blob {digest_of(BASE[0])}: the contents that came have the digest|damaged"):
        pulled(f"{bad.address}/me/web:v1")
    assert rubbish(images) == []


def test_a_failing_layer_stops_the_others(bad: Evil, images: Images, pulled: Pulled) -> None:
    bad.add(GOOD, "me/web", "v1")
    bad.on(digest_of(BASE[0]), evil.hang_after(1000))
    bad.on(digest_of(PAGE[0]), status(404))
    started = time.monotonic()
    with pytest.raises(LabError, match=r"blob unknown|404 Not Found"):
        pulled(f"{bad.address}/me/web:v1", patience=replace(QUICK, silence=60.0))
    assert time.monotonic() - started < 30


def test_a_registry_that_hangs_is_given_up_and_the_next_pull_goes_on(
    bad: Evil, images: Images, pulled: Pulled, said: list[Progress]
) -> None:
    bad.add(GOOD, "me/web", "v1")
    bad.on(digest_of(BASE[0]), evil.hang_after(100_000), times=1)
    name = f"{bad.address}/me/web:v1"
    with pytest.raises(Unreachable, match="fallen silent"):
        pulled(name, patience=replace(QUICK, attempts=1, silence=0.3))
    assert rubbish(images) == [digest_of(BASE[0]).replace(":", "-")]
    pulled(name)
    assert bad.asked[-1].headers.get("range") == "bytes=100000-"
    assert rubbish(images) == []


def test_retries_are_told(bad: Evil, pulled: Pulled, said: list[Progress]) -> None:
    bad.add(GOOD, "me/web", "v1")
    bad.on(digest_of(PAGE[0]), status(429, {"Retry-After": "1"}), times=1)
    pulled(f"{bad.address}/me/web:v1")
    assert "Retrying in 1 second" in statuses(said, digests.short(digest_of(PAGE[0])))


def test_an_interrupted_pull_ends_at_once_and_the_next_goes_on(bad: Evil, images: Images, pulled: Pulled) -> None:
    def interrupted(request: evil.Request) -> None:
        evil.die_after(100_000)(request)
        while not (os.path.exists(partial) and os.stat(partial).st_size == 100_000):
            request.registry.closing.wait(0.01)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        request.registry.closing.wait()

    bad.add(GOOD, "me/web", "v1")
    bad.on(digest_of(BASE[0]), interrupted, times=1)
    partial = f"{images.store.root}/images/ingest/{digest_of(BASE[0]).replace(':', '-')}"
    name = f"{bad.address}/me/web:v1"
    with pytest.raises(KeyboardInterrupt):
        pulled(name, patience=replace(QUICK, silence=60.0))
    assert images.list() == ()
    assert rubbish(images) == [os.path.basename(partial)]
    pulled(name)
    assert [asked.headers.get("range") for asked in bad.asked if asked.path.endswith(digest_of(BASE[0]))] == [None, "bytes=100000-"]


def test_a_registry_that_does_not_know_head_is_asked_for_the_manifest(bad: Evil, pulled: Pulled, said: list[Progress]) -> None:
    bad.add(GOOD, "me/web", "v1")
    bad.on("/manifests/", status(405), method="HEAD")
    name = f"{bad.address}/me/web:v1"
    assert pulled(name) == pulled(name)
    assert said[-1].status == f"Status: Image is up to date for {name}"
