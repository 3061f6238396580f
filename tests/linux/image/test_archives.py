"""Archives: written, and read whoever wrote them."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.errors import InvalidInput, NotFound
from labkit.image import archives, index, media
from labkit.image.images import Images
from labkit.image.progress import Progress
from labkit.image.references import parse
from labkit.storage import digests
from labkit.storage.store import Store
from tests.layouts import image, layer, tar


@pytest.fixture
def other(tmp_path: Path) -> Images:
    """The store of another machine."""
    return Images(Store(str(tmp_path / "other")))


@pytest.fixture
def filled(images: Images, store: Store) -> Images:
    """Two images that share a layer, with three names; one has none."""
    shared = layer(store, {"d/": b"", "d/shared": b"1"}, media.OCI_LAYER_GZIP)
    first = images.add(image(store, shared, layer(store, {"a": b"1"}, media.OCI_LAYER_ZSTD), Cmd=("sh",)), parse("web"))
    images.tag(first, parse("web:2"))
    images.add(image(store, shared, layer(store, {"a": b"2"})), parse("me/app:v1"))
    images.add(image(store, layer(store, {"nameless": b""}), created="2027-01-01T00:00:00Z"))
    return images


def saved(images: Images, *names: str) -> bytes:
    out = io.BytesIO()
    archives.save(images, names, out)
    return out.getvalue()


def contents(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return {member.name: file.read() for member in opened if (file := opened.extractfile(member))}


def load(images: Images, archive: bytes) -> tuple[str, ...]:
    return archives.load(images, io.BytesIO(archive))


def test_what_is_saved_is_loaded_with_the_same_names_digests_and_files(filled: Images, other: Images, tmp_path: Path) -> None:
    assert load(other, saved(filled, "web:latest", "me/app:v1")) == ("Loaded image: web:latest", "Loaded image: me/app:v1")
    for name in "web", "me/app:v1":
        assert other.get(name).descriptor == filled.get(name).descriptor
    assert {image.id for image in other.list()} == {filled.get(name).id for name in ("me/app:v1", "web")}
    (tmp_path / "mnt").mkdir()
    with other.store.snapshots.mounted(other.ensure_unpacked(other.get("web")) or "", str(tmp_path / "mnt")):
        assert (tmp_path / "mnt/d/shared").read_bytes() == b"1"


def test_the_same_images_give_the_same_bytes(filled: Images, other: Images) -> None:
    archive = saved(filled, "web", "me/app:v1")
    load(other, archive)
    assert saved(other, "web", "me/app:v1") == archive
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        assert {(member.mtime, member.uid, member.uname) for member in opened} == {(0, 0, "")}


def test_a_name_without_tag_stands_for_all_tags_of_the_repository(filled: Images, other: Images) -> None:
    assert load(other, saved(filled, "web")) == ("Loaded image: web:2", "Loaded image: web:latest")


def test_an_id_stands_for_the_image_without_a_name(filled: Images, other: Images) -> None:
    whole = filled.get("web").id
    for text in whole, whole[7:], whole[7:19]:
        assert load(other, saved(filled, text)) == (f"Loaded image ID: {whole}",)
    assert [image.names for image in other.list()] == [()]


def test_nothing_is_written_if_an_image_is_missing(filled: Images) -> None:
    out = io.BytesIO()
    with pytest.raises(NotFound, match=r"^No such image: nosuch:latest$"):
        archives.save(filled, ["web", "nosuch"], out)
    filled.store.blobs.remove(filled.get("web").manifest.layers[0].digest)
    with pytest.raises(NotFound, match="blob sha256:"):
        archives.save(filled, ["web"], out)
    assert out.getvalue() == b""


def test_what_docker_and_skopeo_look_for_is_in_the_archive(filled: Images) -> None:
    archive = saved(filled, "web:2")
    files = contents(archive)
    read = {name: json.loads(files[name]) for name in ("index.json", "manifest.json", "oci-layout")}
    (item,) = read["manifest.json"]
    assert item["RepoTags"] == ["web:2"]
    assert {item["Config"], *item["Layers"]} < set(files)
    (entry,) = read["index.json"]["manifests"]
    assert entry["annotations"] == {index.CONTAINERD_NAME: "docker.io/library/web:2", index.REF_NAME: "2"}
    assert read["oci-layout"] == {"imageLayoutVersion": "1.0.0"}


def test_a_compressed_archive_is_loaded(filled: Images, other: Images) -> None:
    assert load(other, gzip.compress(saved(filled, "web:2"))) == ("Loaded image: web:2",)


def test_a_name_that_is_taken_moves_and_that_is_said(filled: Images, other: Images) -> None:
    before = other.add(image(other.store, layer(other.store, {"x": b""})), parse("web:2"))
    said = load(other, saved(filled, "web:2"))
    assert said == (
        f"The image web:2 already exists, renaming the old one with ID {before.id} to empty string",
        "Loaded image: web:2",
    )
    assert other.get(before.id).names == ()


def test_progress_is_told_in_the_words_of_docker_load(filled: Images, other: Images) -> None:
    said: list[Progress] = []
    archives.load(other, io.BytesIO(saved(filled, "web:2")), said.append)
    assert {each.status for each in said} == {"Loading layer"}
    assert {each.id for each in said} == {digests.short(each.digest) for each in filled.get("web:2").manifest.layers}


# Archives of other tools


def archive_of(files: Mapping[str, bytes], links: Mapping[str, str] = {}) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for name, target in links.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return out.getvalue()


LOW, HIGH = tar({"d/": b"", "d/a": b"1"}), tar({"b": b"2"})


def config(*layers: bytes) -> bytes:
    diff_ids = [digests.of(each) for each in layers]
    return json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()


def listed(**fields: object) -> bytes:
    return json.dumps([{"Config": "c.json", "RepoTags": ["web:v1"], "Layers": ["x/layer.tar", "y/layer.tar"], **fields}]).encode()


def classic(**fields: object) -> dict[str, bytes]:
    """As docker 20.10 writes one."""
    return {
        "x/VERSION": b"1.0", "x/json": b"{}", "x/layer.tar": LOW, "y/VERSION": b"1.0", "y/json": b"{}", "y/layer.tar": HIGH,
        "c.json": config(LOW, HIGH), "repositories": b"{}", "manifest.json": listed(**fields),
    }  # fmt: skip


def test_an_archive_of_docker_20_is_loaded(images: Images) -> None:
    assert load(images, archive_of(classic())) == ("Loaded image: web:v1",)
    loaded = images.get("web:v1")
    assert loaded.id == digests.of(config(LOW, HIGH))
    assert loaded.layer_sizes == (1, 1)
    assert set(images.store.blobs.list()) == images.keep()[0], "what docker has for itself is not kept"


def test_links_among_the_files_of_an_archive_are_followed(images: Images) -> None:
    files = classic(Layers=["x/layer.tar", "z/layer.tar"])
    files["HIGH.tar"] = files.pop("y/layer.tar")
    assert load(images, archive_of(files, {"z/layer.tar": "../y/layer.tar", "y/layer.tar": "../HIGH.tar"})) == ("Loaded image: web:v1",)


def test_layers_of_the_old_form_may_be_compressed(images: Images) -> None:
    files = classic() | {"x/layer.tar": gzip.compress(LOW)}
    load(images, archive_of(files))
    assert [each.mediaType for each in images.get("web:v1").manifest.layers] == [media.OCI_LAYER_GZIP, media.OCI_LAYER]


def test_docker_25_wrote_manifests_without_layers_and_its_own_list_counts_then(images: Images) -> None:
    described = {"mediaType": media.OCI_CONFIG, "size": len(config(LOW, HIGH)), "digest": digests.of(config(LOW, HIGH))}
    empty = json.dumps({"schemaVersion": 2, "mediaType": media.OCI_MANIFEST, "config": described, "layers": []}).encode()
    entry = {"mediaType": media.OCI_MANIFEST, "size": len(empty), "digest": digests.of(empty)}
    blobs = {f"blobs/sha256/{digests.of(each)[7:]}": each for each in (empty, config(LOW, HIGH), LOW, HIGH)}
    paths = {name: f"blobs/sha256/{digests.of(each)[7:]}" for name, each in (("c", config(LOW, HIGH)), ("l", LOW), ("h", HIGH))}
    files = {
        **blobs,
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode(),
        "manifest.json": listed(Config=paths["c"], Layers=[paths["l"], paths["h"]]),
    }
    assert load(images, archive_of(files)) == ("Loaded image: web:v1",)
    assert len(images.get("web:v1").manifest.layers) == 2


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"etc/passwd": b"root"}, "neither index.json nor manifest.json"),
        ({"manifest.json": b"{"}, "manifest.json is not JSON"),
        ({"manifest.json": b"{}"}, "must be an array"),
        ({"manifest.json": b'[{"Layers": []}]'}, r"manifest\.json\[0\]\.Config: is missing"),
        (classic(Layers=["x/layer.tar"]), "there are 1, but the config"),
        (classic(Layers=["x/layer.tar", "../../../etc/passwd"]), "names 'etc/passwd', which is not in the archive"),
        (classic(Layers=["y/layer.tar", "x/layer.tar"]), "but the config says"),
        (classic(RepoTags=["BAD"]), "must be lowercase"),
        ({"index.json": b'{"schemaVersion": 2, "manifests": [{}]}'}, r"index\.manifests\[0\]\.mediaType: is missing"),
        ({f"blobs/sha256/{1:064}": b"not what its name says"}, f"blob sha256:{1:064}"),
    ],
)
def test_an_archive_that_is_none_leaves_the_store_as_it_was(files: dict[str, bytes], complaint: str, images: Images) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        load(images, archive_of(files))
    assert images.list() == ()
    assert images.store.blobs.list() == ()


def test_links_that_lead_round_in_a_circle_are_refused(images: Images) -> None:
    files = {name: data for name, data in classic().items() if name != "x/layer.tar"}
    with pytest.raises(InvalidInput, match="in a circle"):
        load(images, archive_of(files, {"x/layer.tar": "../z", "z": "x/layer.tar"}))


def test_an_archive_that_breaks_off_leaves_the_store_as_it_was(filled: Images, other: Images) -> None:
    whole = saved(filled, "web")
    for length in (100, 512, len(whole) // 2, len(whole) - 1500):
        with pytest.raises(InvalidInput, match=r"^load: "):
            load(other, whole[:length])
        assert other.list() == ()
        assert other.store.blobs.list() == ()


def test_a_hole_in_the_archive_is_noticed(filled: Images, other: Images) -> None:
    archive = saved(filled, "web:2")
    gone = f"blobs/{filled.get('web').manifest.layers[1].digest.replace(':', '/')}"
    kept = {name: data for name, data in contents(archive).items() if name != gone}
    del kept["manifest.json"]
    with pytest.raises(InvalidInput, match="is not in the archive"):
        load(other, archive_of(kept))


def test_a_byte_that_is_wrong_is_noticed_or_does_no_harm(filled: Images, tmp_path: Path) -> None:
    whole = saved(filled, "web:2")

    @given(st.integers(0, len(whole) - 1), st.integers(1, 255))
    @settings(max_examples=40, deadline=None)
    def damaged(place: int, change: int) -> None:
        with tempfile.TemporaryDirectory(dir=tmp_path) as directory:
            images = Images(Store(directory))
            try:
                load(images, whole[:place] + bytes([whole[place] ^ change]) + whole[place + 1 :])
            except InvalidInput:
                assert images.list() == ()
                assert images.store.blobs.list() == ()
            else:
                assert [each.id for each in images.list()] == [filled.get("web").id]

    damaged()
