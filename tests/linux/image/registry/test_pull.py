"""Pull from Debian's docker-registry: what is fetched, what is not, and what is there then."""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from labkit.errors import Denied, NotFound, Unreachable
from labkit.image import media, platforms
from labkit.image.images import Image, Images
from labkit.image.progress import Progress
from labkit.image.registry import credentials
from labkit.image.registry.settings import Settings
from labkit.storage import digests
from tests.evil import Made, digest_of, layer, made
from tests.linux.image.registry.conftest import put, rubbish, seen, statuses
from tests.registries import PASSWORD, USER, Registry

BASE = layer({"etc/os-release": b"ID=lab\n", "etc/gone": b"", "bin/sh": b"#!"})
PAGE = layer({"srv/index.html": b"<h1>lab</h1>", "etc/.wh.gone": b""})
NGINX, BUSYBOX = made([BASE, PAGE], config={"Cmd": ["nginx"]}), made([BASE])

Pulled = Callable[..., Image]


def test_an_image_is_fetched_unpacked_and_named(registry: Registry, images: Images, pulled: Pulled, tmp_path: Path) -> None:
    put(registry, NGINX, "me/web", "v1")
    image = pulled(f"{registry.address}/me/web:v1")
    assert (image.id, image.descriptor.digest, image.config.config.Cmd) == (digest_of(NGINX.config), NGINX.digest, ("nginx",))
    assert [str(name) for name in image.names] == [f"{registry.address}/me/web:v1", f"{registry.address}/me/web@{NGINX.digest}"]
    assert seen(images, image, tmp_path / "m") == {"etc/os-release": b"ID=lab\n", "bin/sh": b"#!", "srv/index.html": b"<h1>lab</h1>"}
    assert images.store.blobs.read(NGINX.digest) == NGINX.manifest
    assert rubbish(images) == []


def test_what_happens_is_told_in_docker_s_words(registry: Registry, pulled: Pulled, said: list[Progress]) -> None:
    put(registry, NGINX, "me/web", "v1")
    pulled(f"{registry.address}/me/web:v1")
    short = digests.short(digest_of(PAGE[0]))
    steps = ["Pulling fs layer", "Verifying Checksum", "Download complete", "Extracting", "Pull complete"]
    assert [status for status in statuses(said, short) if status != "Downloading"] == steps
    assert str(said[0]) == "v1: Pulling from me/web"
    assert [str(last) for last in said[-2:]] == [
        f"Digest: {NGINX.digest}",
        f"Status: Downloaded newer image for {registry.address}/me/web:v1",
    ]
    assert all(progress.total == len(PAGE[0]) for progress in said if progress.id == short and progress.current is not None)


def test_a_second_pull_transfers_nothing(registry: Registry, pulled: Pulled, said: list[Progress]) -> None:
    put(registry, NGINX, "me/web", "v1")
    first = pulled(f"{registry.address}/me/web:v1")
    before = len(registry.requests())
    said.clear()
    assert pulled(f"{registry.address}/me/web:v1") == first
    registry.stop()
    asked = [(request.method, request.path) for request in registry.requests()[before:] if request.path != "/v2/"]
    assert asked == [("HEAD", "/v2/me/web/manifests/v1")]
    end = [f"Digest: {NGINX.digest}", f"Status: Image is up to date for {registry.address}/me/web:v1"]
    assert statuses(said) == ["v1: Pulling from me/web", *end]


def test_a_pull_by_digest_that_is_here_asks_nobody(registry: Registry, pulled: Pulled) -> None:
    put(registry, NGINX, "me/web", "v1")
    name = f"{registry.address}/me/web@{NGINX.digest}"
    first = pulled(name)
    assert (first.tags, [str(each) for each in first.digests]) == ((), [name])
    registry.stop()
    assert pulled(name) == first


def test_layers_that_images_share_are_fetched_once(registry: Registry, images: Images, pulled: Pulled, said: list[Progress]) -> None:
    put(registry, BUSYBOX, "busybox", "latest")
    put(registry, NGINX, "nginx", "latest")
    pulled(f"{registry.address}/busybox")
    said.clear()
    pulled(f"{registry.address}/nginx")
    assert statuses(said, digests.short(digest_of(BASE[0]))) == ["Already exists"]
    registry.stop()
    assert len([request for request in registry.requests("GET", "/v2/") if request.path.endswith(digest_of(BASE[0]))]) == 1
    assert len(images.store.snapshots.list()) == 2


def test_a_tag_that_has_moved_brings_the_newer_image(registry: Registry, images: Images, pulled: Pulled, said: list[Progress]) -> None:
    put(registry, BUSYBOX, "me/web", "latest")
    old = pulled(f"{registry.address}/me/web")
    put(registry, NGINX, "me/web", "latest")
    new = pulled(f"{registry.address}/me/web")
    assert (old.id, new.id) == (digest_of(BUSYBOX.config), digest_of(NGINX.config))
    assert said[-1].status == f"Status: Downloaded newer image for {registry.address}/me/web:latest"
    assert images.get(f"{registry.address}/me/web").id == new.id
    assert images.get(old.id).tags == ()


def test_what_was_lost_is_fetched_again(registry: Registry, images: Images, pulled: Pulled) -> None:
    put(registry, NGINX, "me/web", "v1")
    image = pulled(f"{registry.address}/me/web:v1")
    images.store.blobs.remove(digest_of(PAGE[0]))
    assert pulled(f"{registry.address}/me/web:v1") == image
    assert images.store.blobs.has(digest_of(PAGE[0]))


def test_layers_whose_blobs_are_here_are_unpacked_without_the_registry_s_help(
    registry: Registry, images: Images, pulled: Pulled, tmp_path: Path
) -> None:
    put(registry, NGINX, "me/web", "v1")
    for blob in (*NGINX.layers, NGINX.config):
        images.store.blobs.put(blob)
    image = pulled(f"{registry.address}/me/web:v1")
    assert "srv/index.html" in seen(images, image, tmp_path / "m")
    registry.stop()
    assert registry.requests("GET", "/v2/me/web/blobs/sha256") == []


def index(*entries: tuple[Made, str]) -> bytes:
    manifests = []
    for image, name in entries:
        system, architecture = name.split("/")[:2]
        described = {"mediaType": media.OCI_MANIFEST, "size": len(image.manifest), "digest": image.digest}
        manifests.append({**described, "platform": {"os": system, "architecture": architecture}})
    return json.dumps({"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": manifests}).encode()


def put_index(registry: Registry, repository: str, tag: str, data: bytes) -> None:
    command = ["curl", "-sf", "-X", "PUT", "-H", f"Content-Type: {media.OCI_INDEX}", "--data-binary", "@-"]
    subprocess.run([*command, f"{registry.url}/v2/{repository}/manifests/{tag}"], input=data, check=True)


def test_of_an_index_the_image_for_this_machine_is_taken(registry: Registry, pulled: Pulled, said: list[Progress]) -> None:
    other = made([BASE], architecture="s390x")
    mine = str(platforms.host())
    put(registry, other, "me/web", "other")
    put(registry, NGINX, "me/web", "mine")
    put_index(registry, "me/web", "v1", data := index((other, "linux/s390x"), (NGINX, mine)))
    image = pulled(f"{registry.address}/me/web:v1")
    assert image.id == digest_of(NGINX.config)
    assert said[-2].status == f"Digest: {digest_of(data)}"
    assert [name.digest for name in image.digests] == [digest_of(data)]
    said.clear()
    pulled(f"{registry.address}/me/web:v1")
    assert said[-1].status.startswith("Status: Image is up to date")


def test_another_platform_is_taken_if_it_was_asked_for(registry: Registry, pulled: Pulled) -> None:
    other = made([BASE], architecture="s390x")
    put(registry, other, "me/web", "other")
    put(registry, NGINX, "me/web", "mine")
    put_index(registry, "me/web", "v1", index((other, "linux/s390x"), (NGINX, str(platforms.host()))))
    assert pulled(f"{registry.address}/me/web:v1").id == digest_of(NGINX.config)
    assert pulled(f"{registry.address}/me/web:v1", platform=platforms.parse("linux/s390x")).config.architecture == "s390x"


def test_a_platform_that_there_is_not_is_told_with_those_that_there_are(registry: Registry, pulled: Pulled) -> None:
    put(registry, NGINX, "me/web", "mine")
    put_index(registry, "me/web", "v1", index((NGINX, "linux/s390x")))
    with pytest.raises(NotFound, match=f"no matching manifest for {platforms.host()} in the manifest list entries: there is linux/s390x"):
        pulled(f"{registry.address}/me/web:v1")


@pytest.mark.parametrize("kind", ["zstd", "plain"])
def test_layers_may_be_compressed_otherwise_or_not_at_all(
    registry: Registry, images: Images, pulled: Pulled, tmp_path: Path, kind: str
) -> None:
    plain = gzip.decompress(BASE[0])
    blob = zstandard.compress(plain) if kind == "zstd" else plain
    put(registry, made([(blob, BASE[1])]), "me/web", "v1")
    assert seen(images, pulled(f"{registry.address}/me/web:v1"), tmp_path / "m")["etc/os-release"] == b"ID=lab\n"


def test_the_same_layer_twice_is_fetched_once(registry: Registry, images: Images, pulled: Pulled) -> None:
    put(registry, made([BASE, BASE, BASE]), "me/web", "v1")
    image = pulled(f"{registry.address}/me/web:v1")
    assert len(images.store.snapshots.stack(images.ensure_unpacked(image) or "")) == 3
    registry.stop()
    assert len([request for request in registry.requests("GET") if request.path.endswith(digest_of(BASE[0]))]) == 1


def test_an_image_without_layers_is_one(registry: Registry, pulled: Pulled) -> None:
    put(registry, made([]), "scratch", "latest")
    assert pulled(f"{registry.address}/scratch").chain_ids == ()


def test_what_is_not_there_is_told_as_docker_tells_it(registry: Registry, pulled: Pulled) -> None:
    name = f"{registry.address}/nosuch:latest"
    with pytest.raises(NotFound, match=f"manifest for {name} not found: manifest unknown: manifest unknown"):
        pulled(f"{registry.address}/nosuch")


def test_a_registry_that_is_not_there_is_told_with_its_address(registry: Registry, pulled: Pulled) -> None:
    registry.stop()
    with pytest.raises(Unreachable, match=f'Get "{registry.url}/v2/": connection refused'):
        pulled(f"{registry.address}/me/web")


def test_a_registry_with_a_password_wants_it(registries: Callable[..., Registry], images: Images, pulled: Pulled) -> None:
    registry = registries(htpasswd=True)
    with pytest.raises(Denied, match=f"pull access denied for {registry.address}/me/web, .* 'labkit login {registry.address}'"):
        pulled(f"{registry.address}/me/web")
    credentials.login(registry.address, USER, PASSWORD, Settings())
    with pytest.raises(NotFound):
        pulled(f"{registry.address}/me/web")


def test_a_registry_of_this_machine_may_have_a_certificate_that_nobody_vouches_for(
    registries: Callable[..., Registry], images: Images, pulled: Pulled
) -> None:
    registry = registries(tls=True)
    with pytest.raises(NotFound, match="manifest unknown"):
        pulled(f"{registry.address}/me/web")
