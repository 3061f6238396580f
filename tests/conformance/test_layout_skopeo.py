"""skopeo and umoci read what labkit writes, and the other way round: layouts in a directory, archives in a file."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit.errors import InvalidInput
from labkit.image import archives, media
from labkit.image.images import Image, Images
from labkit.image.references import parse
from labkit.storage.store import Store
from tests.layouts import image, layer

pytestmark = pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed")


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return Images(Store(str(tmp_path / "store")))


@pytest.fixture
def web(images: Images) -> Image:
    """An image with layers as skopeo leaves them: it compresses what is not, and writes no zstd for Docker."""
    store = images.store
    low = layer(store, {"d/": b"", "d/a": b"low", "b": b"low"}, media.OCI_LAYER_GZIP)
    layers = [low, layer(store, {"d/a": b"middle", ".wh.b": b"", "c": b"high"}, media.OCI_LAYER_GZIP)]
    return images.add(image(store, *layers, Cmd=("sh",), Labels={"of": "this test"}), parse("me/web:v1"))


def skopeo(*words: str) -> str:
    done = subprocess.run(["skopeo", *words], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return done.stdout


def layout(images: Images, name: str) -> str:
    return f"oci:{images.store.blobs.directory}:{name}"


def seen(images: Images, found: Image, target: Path) -> dict[str, bytes]:
    name = images.ensure_unpacked(found)
    assert name
    target.mkdir()
    with images.store.snapshots.mounted(name, str(target)):
        return {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}


def test_skopeo_reads_an_image_by_its_full_name(images: Images, web: Image) -> None:
    told = json.loads(skopeo("inspect", layout(images, "docker.io/me/web:v1")))
    assert told["Digest"] == web.descriptor.digest
    assert told["Layers"] == [each.digest for each in web.manifest.layers]
    assert told["Labels"] == {"of": "this test"}
    raw = skopeo("inspect", "--raw", "--config", layout(images, "docker.io/me/web:v1"))
    assert raw.encode() == images.store.blobs.read(web.id)


def test_what_skopeo_copies_in_is_an_image_beside_those_that_were_there(images: Images, web: Image, tmp_path: Path) -> None:
    elsewhere = Images(Store(str(tmp_path / "elsewhere")))
    skopeo("copy", layout(images, "docker.io/me/web:v1"), layout(elsewhere, "nginx:1"))
    skopeo("copy", layout(images, "docker.io/me/web:v1"), layout(images, "copied"))
    assert elsewhere.get("docker.io/library/nginx:1").descriptor == web.descriptor
    assert [name.familiar for name in images.get("me/web:v1").names] == ["copied:latest", "me/web:v1"]
    assert seen(elsewhere, elsewhere.get("nginx:1"), tmp_path / "mnt") == {"d/a": b"middle", "c": b"high"}


def test_skopeo_copies_layers_of_every_compression(images: Images, tmp_path: Path) -> None:
    store = images.store
    kinds = (media.OCI_LAYER, media.OCI_LAYER_GZIP, media.OCI_LAYER_ZSTD)
    made = images.add(image(store, *(layer(store, {kind[-4:]: kind.encode()}, kind) for kind in kinds)), parse("all"))
    elsewhere = Images(Store(str(tmp_path / "elsewhere")))
    skopeo("copy", layout(images, "docker.io/library/all:latest"), layout(elsewhere, "all"))
    assert elsewhere.get("all").id == made.id
    assert seen(elsewhere, elsewhere.get("all"), tmp_path / "mnt") == {kind[-4:]: kind.encode() for kind in kinds}


def test_labkit_names_and_removes_what_skopeo_brought_and_skopeo_sees_it(images: Images, web: Image, tmp_path: Path) -> None:
    elsewhere = Images(Store(str(tmp_path / "elsewhere")))
    skopeo("copy", layout(images, "docker.io/me/web:v1"), layout(elsewhere, "v1"))
    elsewhere.tag(elsewhere.get("v1"), parse("127.0.0.1:5000/me/web"))
    elsewhere.remove("v1")
    elsewhere.collect()
    told = json.loads(skopeo("inspect", layout(elsewhere, "127.0.0.1:5000/me/web:latest")))
    assert told["Digest"] == web.descriptor.digest
    with pytest.raises(AssertionError, match="no descriptor found"):
        skopeo("inspect", layout(elsewhere, "v1"))


@pytest.mark.skipif(not shutil.which("umoci"), reason="umoci is not installed")
def test_umoci_unpacks_the_same_files(images: Images, tmp_path: Path) -> None:
    """Without zstd, which umoci 0.4 does not read."""
    store = images.store
    layers = [layer(store, {"d/": b"", "d/a": b"1", "b": b"2"}, media.OCI_LAYER_GZIP), layer(store, {".wh.b": b"", "c": b"3"})]
    made = images.add(image(store, *layers), parse("v1"))
    # umoci 0.4 cuts a name at its first colon: give it a layout with a name that has none.
    skopeo("copy", layout(images, "docker.io/library/v1:latest"), f"oci:{tmp_path}/layout:v1")
    command = ["umoci", "unpack", "--image", f"{tmp_path}/layout:v1", str(tmp_path / "bundle")]
    subprocess.run(command, check=True, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    rootfs = tmp_path / "bundle" / "rootfs"
    unpacked = {str(path.relative_to(rootfs)): path.read_bytes() for path in rootfs.rglob("*") if path.is_file()}
    assert unpacked == seen(images, made, tmp_path / "mnt")


@pytest.mark.parametrize("transport", ["oci-archive", "docker-archive"])
def test_an_archive_of_skopeos_is_loaded(transport: str, images: Images, web: Image, tmp_path: Path) -> None:
    skopeo("copy", layout(images, "docker.io/me/web:v1"), f"{transport}:{tmp_path}/archive.tar:docker.io/me/web:v1")
    elsewhere = Images(Store(str(tmp_path / "elsewhere")))
    with open(tmp_path / "archive.tar", "rb") as archive:
        assert archives.load(elsewhere, archive) == ("Loaded image: me/web:v1",)
    loaded = elsewhere.get("me/web:v1")
    assert loaded.config.rootfs == web.config.rootfs
    assert loaded.config.config == web.config.config
    assert seen(elsewhere, loaded, tmp_path / "mnt") == {"d/a": b"middle", "c": b"high"}


@pytest.mark.parametrize("transport", ["oci-archive", "docker-archive"])
def test_skopeo_reads_a_saved_archive(transport: str, images: Images, web: Image, tmp_path: Path) -> None:
    with open(tmp_path / "archive.tar", "wb") as out:
        archives.save(images, ["me/web:v1"], out)
    copied = Images(Store(str(tmp_path / "copied")))
    skopeo("copy", f"{transport}:{tmp_path}/archive.tar", layout(copied, "v1"))
    assert copied.get("v1").config.rootfs == web.config.rootfs
    if transport == "oci-archive":
        assert copied.get("v1").descriptor == web.descriptor


@pytest.fixture
def podman() -> Iterator[Callable[..., str]]:
    """podman with a storage of its own, in a place with a short name."""
    with tempfile.TemporaryDirectory(prefix="labkit-") as place:
        command = ["podman", "--root", f"{place}/data", "--runroot", f"{place}/run", "--storage-driver", "vfs"]

        def run(*words: str) -> str:
            done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
            assert done.returncode == 0, done.stderr
            return done.stdout

        yield run


@pytest.mark.skipif(not shutil.which("podman"), reason="podman is not installed")
@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_podman_loads_what_labkit_saves_and_the_reverse(
    form: str, images: Images, web: Image, podman: Callable[..., str], tmp_path: Path
) -> None:
    with open(tmp_path / "ours.tar", "wb") as out:
        archives.save(images, ["me/web:v1"], out)
    assert "docker.io/me/web:v1" in podman("load", "-q", "-i", f"{tmp_path}/ours.tar")
    podman("save", "-q", "--format", form, "-o", f"{tmp_path}/theirs.tar", "docker.io/me/web:v1")
    elsewhere = Images(Store(str(tmp_path / "elsewhere")))
    with open(tmp_path / "theirs.tar", "rb") as archive:
        assert archives.load(elsewhere, archive) == ("Loaded image: me/web:v1",)
    assert elsewhere.get("me/web:v1").config.config == web.config.config
    assert seen(elsewhere, elsewhere.get("me/web:v1"), tmp_path / "mnt") == {"d/a": b"middle", "c": b"high"}


@pytest.mark.parametrize("data", [b"", b"hello", b"\0" * 10240])
def test_what_skopeo_refuses_is_refused(data: bytes, images: Images, tmp_path: Path) -> None:
    (tmp_path / "archive.tar").write_bytes(data)
    with pytest.raises(AssertionError):
        skopeo("inspect", f"docker-archive:{tmp_path}/archive.tar")
    with pytest.raises(InvalidInput):
        archives.load(images, io.BytesIO(data))
