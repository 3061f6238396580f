"""A mirror held to its word: a real registry, in which somebody has changed a file."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit.errors import Denied, Unreachable
from labkit.lab import mirrors
from tests.registries import Registry

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def put(registry: Registry, path: str, data: bytes, kind: str, method: str = "PUT") -> str:
    request = urllib.request.Request(path if "://" in path else registry.url + path, data, {"Content-Type": kind}, method=method)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        return str(answer.headers.get("Location", ""))


def blob(registry: Registry, repository: str, data: bytes, kind: str) -> dict[str, object]:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    place = put(registry, f"/v2/{repository}/blobs/uploads/", b"", "application/octet-stream", "POST")
    put(registry, f"{place}&digest={digest}", data, "application/octet-stream")
    return {"mediaType": kind, "digest": digest, "size": len(data)}


def image(registry: Registry, repository: str, *tags: str) -> dict[str, object]:
    """Push an image with one layer; its layer's descriptor."""
    tree = io.BytesIO()
    with tarfile.open(fileobj=tree, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(repository))
    layer = blob(registry, repository, gzip.compress(tree.getvalue(), mtime=0), LAYER)
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tree.getvalue()).hexdigest()}"]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode()
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": blob(registry, repository, config, CONFIG), "layers": [layer]}
    for tag in tags:
        put(registry, f"/v2/{repository}/manifests/{tag}", json.dumps(manifest).encode(), MANIFEST)
    return layer


def file_of(registry: Registry, digest: str) -> Path:
    return registry.directory / f"data/docker/registry/v2/blobs/sha256/{digest[7:9]}/{digest[7:]}/data"


def test_an_empty_one_claims_nothing(registry: Registry) -> None:
    assert mirrors.inspect(registry.url) == mirrors.Holdings(0, 0, 0, ())


def test_what_is_whole_is_counted_once(registry: Registry) -> None:
    image(registry, "library/web", "latest", "v1")
    image(registry, "me/other", "latest")
    has = mirrors.inspect(registry.url)
    assert (has.tags, has.blobs, has.faults) == (3, 4, ())
    assert has.bytes > 0


@pytest.mark.parametrize("change", [lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda data: data[:-1], lambda data: data + b"x"])
def test_a_blob_that_is_not_what_its_digest_says_is_a_fault(registry: Registry, change: Callable[[bytes], bytes]) -> None:
    layer = image(registry, "library/web", "latest")
    path = file_of(registry, str(layer["digest"]))
    path.write_bytes(change(path.read_bytes()))
    (fault,) = mirrors.inspect(registry.url).faults
    assert fault.startswith("library/web:latest: ")
    assert str(layer["digest"]) in fault


def test_a_blob_that_is_lost_is_a_fault(registry: Registry) -> None:
    layer = image(registry, "library/web", "latest")
    file_of(registry, str(layer["digest"])).unlink()
    (fault,) = mirrors.inspect(registry.url).faults
    assert fault.startswith("library/web:latest: ")


def test_one_that_does_not_answer_is_unreachable() -> None:
    with pytest.raises(Unreachable):
        mirrors.inspect("http://127.0.0.1:9")


def test_one_that_does_not_say_what_it_has_denies_it(registries: Callable[..., Registry]) -> None:
    with pytest.raises(Denied):
        mirrors.inspect(registries(htpasswd=True).url)


def test_the_registry_is_named_as_a_mirror_once_and_never_over_somebody_s_own(tmp_path: Path) -> None:
    path = tmp_path / "etc/daemon.json"
    assert mirrors.name("http://127.0.0.1:5000", str(path))
    assert json.loads(path.read_text()) == {"registry-mirrors": ["http://127.0.0.1:5000"]}
    path.write_text("{}")
    assert not mirrors.name("http://127.0.0.1:5000", str(path))
    assert path.read_text() == "{}"
