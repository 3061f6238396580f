"""Push to Debian's docker-registry, and what skopeo finds there then."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit.errors import Denied, InvalidInput, NotFound, Unreachable
from labkit.image import media, references
from labkit.image.documents import Descriptor
from labkit.image.images import Image, Images
from labkit.image.progress import Progress
from labkit.image.registry import credentials, push
from labkit.image.registry.auth import Credential
from labkit.image.registry.settings import Settings
from labkit.storage import digests
from tests.evil import Made, digest_of, layer, made
from tests.linux.image.registry.conftest import QUICK, put, statuses
from tests.registries import PASSWORD, USER, Registry
from tests.tokens import TokenServer

BASE = layer({"etc/os-release": b"ID=lab\n"})
PAGE = layer({"srv/index.html": b"<h1>lab</h1>"})
NGINX = made([BASE, PAGE])


@pytest.fixture
def pushed(images: Images, said: list[Progress]) -> Callable[[str], Descriptor]:
    def call(name: str) -> Descriptor:
        return push.push(images, references.parse(name), settings=Settings(), report=said.append, patience=QUICK)

    return call


def local(images: Images, image: Made, name: str) -> Image:
    """An image in the store, by that name."""
    for blob in (image.manifest, image.config, *image.layers):
        images.store.blobs.put(blob)
    return images.add(Descriptor(media.OCI_MANIFEST, len(image.manifest), image.digest), references.parse(name))


def skopeo(*arguments: str) -> str:
    if not shutil.which("skopeo"):
        pytest.skip("skopeo is not there: apt install skopeo")
    return subprocess.run(["skopeo", *arguments], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout


def test_what_is_pushed_is_there_byte_for_byte(registry: Registry, images: Images, pushed: Callable[[str], Descriptor]) -> None:
    name = f"{registry.address}/me/web:v1"
    local(images, NGINX, name)
    assert pushed(name).digest == NGINX.digest
    assert skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}").encode() == NGINX.manifest
    assert json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{name}"))["Layers"] == [digest_of(blob) for blob in NGINX.layers]


def test_skopeo_copies_it_whole(registry: Registry, images: Images, pushed: Callable[[str], Descriptor], tmp_path: Path) -> None:
    name = f"{registry.address}/me/web:v1"
    local(images, NGINX, name)
    pushed(name)
    skopeo("copy", "--src-tls-verify=false", f"docker://{name}", f"oci:{tmp_path}/copy:v1")
    copied = {digest_of(path.read_bytes()) for path in (tmp_path / "copy/blobs/sha256").iterdir()}
    assert copied == {digest_of(blob) for blob in (NGINX.manifest, NGINX.config, *NGINX.layers)}


def test_what_skopeo_pushes_is_pulled(registry: Registry, images: Images, pulled: Callable[..., Image], tmp_path: Path) -> None:
    put(registry, NGINX, "me/web", "v1")
    source, target = f"docker://{registry.address}/me/web:v1", f"docker://{registry.address}/me/web:docker"
    skopeo("copy", "--format", "v2s2", "--src-tls-verify=false", "--dest-tls-verify=false", source, target)
    image = pulled(f"{registry.address}/me/web:docker")
    assert image.manifest.mediaType == media.DOCKER_MANIFEST
    assert image.config.rootfs.diff_ids == (BASE[1], PAGE[1])


def test_what_happens_is_told_in_docker_s_words(
    registry: Registry, images: Images, pushed: Callable[[str], Descriptor], said: list[Progress]
) -> None:
    name = f"{registry.address}/me/web:v1"
    local(images, NGINX, name)
    pushed(name)
    assert str(said[0]) == f"The push refers to repository [{registry.address}/me/web]"
    steps = [status for status in statuses(said, digests.short(digest_of(PAGE[0]))) if status != "Pushing"]
    assert steps == ["Preparing", "Pushed"]
    assert str(said[-1]) == f"v1: digest: {NGINX.digest} size: {len(NGINX.manifest)}"


def test_a_second_push_sends_no_layer(
    registry: Registry, images: Images, pushed: Callable[[str], Descriptor], said: list[Progress]
) -> None:
    local(images, NGINX, f"{registry.address}/me/web:v1")
    image = local(images, NGINX, f"{registry.address}/me/web:v2")
    pushed(f"{registry.address}/me/web:v1")
    said.clear()
    pushed(f"{registry.address}/me/web:v2")
    assert statuses(said, digests.short(digest_of(BASE[0]))) == ["Preparing", "Layer already exists"]
    registry.stop()
    assert len(registry.requests("PUT", "/v2/me/web/blobs/")) == 3
    assert {name.digest for name in images.get(image.id).digests} == {NGINX.digest}


def test_a_layer_of_another_repository_of_the_registry_is_mounted(
    registry: Registry, images: Images, pushed: Callable[[str], Descriptor], pulled: Callable[..., Image], said: list[Progress]
) -> None:
    put(registry, made([BASE]), "lab/base", "v1")
    pulled(f"{registry.address}/lab/base:v1")
    said.clear()
    local(images, NGINX, f"{registry.address}/me/web:v1")
    pushed(f"{registry.address}/me/web:v1")
    assert statuses(said, digests.short(digest_of(BASE[0]))) == ["Preparing", "Mounted from lab/base"]
    registry.stop()
    assert len(registry.requests("PUT", "/v2/me/web/blobs/")) == 2


def test_what_is_not_here_is_told_as_docker_tells_it(registry: Registry, images: Images, pushed: Callable[[str], Descriptor]) -> None:
    local(images, NGINX, f"{registry.address}/me/web:v1")
    with pytest.raises(NotFound, match=f"An image does not exist locally with the tag: {registry.address}/nosuch"):
        pushed(f"{registry.address}/nosuch")
    with pytest.raises(NotFound, match=f"tag does not exist: {registry.address}/me/web:latest"):
        pushed(f"{registry.address}/me/web")
    with pytest.raises(InvalidInput, match="cannot push a digest reference"):
        pushed(f"{registry.address}/me/web@{NGINX.digest}")


def test_a_registry_that_is_not_there_is_told_with_its_address(
    registry: Registry, images: Images, pushed: Callable[[str], Descriptor]
) -> None:
    local(images, NGINX, f"{registry.address}/me/web:v1")
    registry.stop()
    with pytest.raises(Unreachable, match=f'Get "{registry.url}/v2/": connection refused'):
        pushed(f"{registry.address}/me/web:v1")


def test_a_registry_with_a_password_wants_it(
    registries: Callable[..., Registry], images: Images, pushed: Callable[[str], Descriptor]
) -> None:
    registry = registries(htpasswd=True)
    name = f"{registry.address}/me/web:v1"
    local(images, NGINX, name)
    with pytest.raises(Denied, match=rf"push access denied for .* \(labkit login {registry.address}\)"):
        pushed(name)
    credentials.login(registry.address, USER, PASSWORD, Settings())
    assert pushed(name).digest == NGINX.digest


def test_anybody_may_pull_with_a_token_and_who_is_known_may_push(
    registries: Callable[..., Registry], images: Images, pushed: Callable[[str], Descriptor], pulled: Callable[..., Image], tmp_path: Path
) -> None:
    with TokenServer(tmp_path) as server:
        registry = registries(auth=server.auth)
        name = f"{registry.address}/me/web:v1"
        image = local(images, NGINX, name)
        with pytest.raises(Denied, match="push access denied"):
            pushed(name)
        with pytest.raises(Denied, match="incorrect username or password"):
            credentials.login(registry.address, USER, "wrong", Settings())
        credentials.login(registry.address, USER, PASSWORD, Settings())
        pushed(name)
        assert credentials.logout(registry.address)
        images.remove(image.id, force=True)
        server.evil.asked.clear()
        assert pulled(name).id == image.id
        scopes = {path.partition("scope=")[2] for path in server.evil.paths("GET", "/token")}
        assert scopes == {"repository:me/web:pull"}
        assert all("authorization" not in asked.headers for asked in server.evil.asked)


def test_who_may_push_is_asked_for_each_push(images: Images, registries: Callable[..., Registry], said: list[Progress]) -> None:
    registry = registries(htpasswd=True)
    name = f"{registry.address}/me/web:v1"
    local(images, NGINX, name)
    asked: list[str] = []

    def me(domain: str) -> Credential:
        asked.append(domain)
        return Credential(USER, PASSWORD)

    push.push(images, references.parse(name), settings=Settings(), credentials=me, report=said.append)
    assert asked == [registry.address]
    assert not os.path.exists(os.environ["DOCKER_CONFIG"])
