"""Layers of an image become snapshots that can be mounted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labkit.errors import InvalidInput, NotFound
from labkit.image import documents, media
from labkit.image.documents import ImageConfig, Manifest, RootFS
from labkit.image.images import Images
from labkit.image.inspect import inspect
from labkit.image.progress import Progress
from labkit.image.references import parse
from labkit.storage import digests
from labkit.storage.store import Store
from tests.layouts import image, layer, put


def seen(store: Store, snapshot: str | None, target: Path) -> dict[str, bytes]:
    """The files that a container of this snapshot would see."""
    assert snapshot
    target.mkdir()
    with store.snapshots.mounted(snapshot, str(target)):
        return {str(path.relative_to(target)): path.read_bytes() for path in sorted(target.rglob("*")) if path.is_file()}


def test_layers_of_every_compression_are_stacked_in_order(images: Images, store: Store, tmp_path: Path) -> None:
    low = layer(store, {"d/": b"", "d/a": b"low", "d/b": b"low", "c": b"low"}, media.OCI_LAYER_GZIP)
    middle = layer(store, {"d/a": b"middle", "d/.wh.b": b"", "e": b"middle"}, media.OCI_LAYER_ZSTD)
    high = layer(store, {"e": b"high", ".wh.c": b""}, media.OCI_LAYER)
    added = images.add(image(store, low, middle, high), parse("web"))
    name = images.ensure_unpacked(added)
    assert seen(store, name, tmp_path / "mnt") == {"d/a": b"middle", "e": b"high"}
    assert [snapshot.parent is None for snapshot in store.snapshots.stack(name or "")] == [False, False, True]


def test_a_layer_that_two_images_share_is_unpacked_once(images: Images, store: Store) -> None:
    shared = layer(store, {"shared": b"1" * 1000})
    first = images.add(image(store, shared, layer(store, {"a": b"1"})), parse("first"))
    second = images.add(image(store, shared, layer(store, {"a": b"2"})), parse("second"))
    images.ensure_unpacked(first)
    said: list[Progress] = []
    images.ensure_unpacked(second, said.append)
    assert {each.id for each in said} == {digests.short(second.manifest.layers[1].digest)}
    assert [each.status for each in said] == ["Extracting", "Pull complete"]
    assert len(store.snapshots.list()) == 3
    said.clear()
    images.ensure_unpacked(second, said.append)
    assert said == []


def test_sizes_are_those_of_the_files_once_they_are_unpacked(images: Images, store: Store) -> None:
    added = images.add(image(store, layer(store, {"d/": b"", "d/a": b"1" * 5000, "b": b"2" * 7}, media.OCI_LAYER_GZIP)), parse("web"))
    assert added.layer_sizes == (added.manifest.layers[0].size,)
    images.ensure_unpacked(added)
    assert [images.get("web").layer_sizes for _ in range(2)] == [(5007,), (5007,)]
    assert images.get("web").size == images.get("web").history[0].size == 5007


def test_an_image_without_layers_has_nothing_to_unpack(images: Images, store: Store) -> None:
    added = images.add(image(store, Cmd=("x",)), parse("empty"))
    assert images.ensure_unpacked(added) is None
    assert added.chain_ids == ()


def test_content_that_is_not_what_the_config_says_is_refused_and_nothing_stays(images: Images, store: Store) -> None:
    good, forged = layer(store, {"a": b"1"}), layer(store, {"a": b"forged"})
    config = put(store, documents.encode(ImageConfig("amd64", "linux", RootFS("layers", (good.diff_id, good.diff_id)))), media.OCI_CONFIG)
    whole = documents.encode(Manifest(2, media.OCI_MANIFEST, config, (good.descriptor, forged.descriptor)))
    added = images.add(put(store, whole), parse("web"))
    with pytest.raises(InvalidInput, match=rf"^unpack layer {forged.descriptor.digest} .* has the digest {forged.diff_id}, but"):
        images.ensure_unpacked(added)
    assert [snapshot.name for snapshot in store.snapshots.list() if not snapshot.committed] == []
    assert not store.layers.has(added.chain_ids[1])


def test_a_layer_whose_blob_is_gone_is_named(images: Images, store: Store) -> None:
    low, gone = layer(store, {"a": b"1"}), layer(store, {"a": b"2"})
    added = images.add(image(store, low, gone), parse("web"))
    store.blobs.remove(gone.descriptor.digest)
    with pytest.raises(NotFound, match=rf"^unpack layer {gone.descriptor.digest}: its blob is not in"):
        images.ensure_unpacked(added)
    assert all(snapshot.committed for snapshot in store.snapshots.list())


def test_a_layer_larger_than_the_limit_is_refused(images: Images, store: Store) -> None:
    bomb = layer(store, {"zeros": bytes(10 << 20)}, media.OCI_LAYER_GZIP)
    assert bomb.descriptor.size < 20000
    added = images.add(image(store, bomb), parse("bomb"))
    with pytest.raises(InvalidInput, match="1048576"):
        images.ensure_unpacked(added, limit=1 << 20)
    assert store.snapshots.list() == ()
    assert images.ensure_unpacked(added, limit=11 << 20)


def test_collect_deletes_what_no_image_needs(images: Images, store: Store) -> None:
    shared = layer(store, {"shared": b"1"})
    for name in "first", "second":
        images.ensure_unpacked(images.add(image(store, shared, layer(store, {"a": name.encode()})), parse(name)))
    first = images.get("first")
    images.remove("first")
    collected = images.collect()
    assert set(collected.blobs) == {first.id, first.descriptor.digest, first.manifest.layers[1].digest}
    assert not store.layers.has(first.chain_ids[1])
    assert store.layers.has(first.chain_ids[0])
    assert images.ensure_unpacked(images.get("second"))
    assert images.collect().blobs == ()


def test_collect_leaves_what_it_is_told_to_keep(images: Images, store: Store) -> None:
    added = images.add(image(store, layer(store, {"a": b"1"})), parse("web"))
    images.ensure_unpacked(added)
    kept = store.blobs.put(b"of a build's cache")
    images.remove("web")
    images.collect([kept], added.chain_ids)
    assert store.blobs.list() == (kept,)
    assert store.layers.has(added.chain_ids[0])


def test_the_layout_says_nothing_of_how_it_is_unpacked(images: Images, store: Store) -> None:
    """Whoever reads the index finds names and manifests, and no more."""
    images.ensure_unpacked(images.add(image(store, layer(store, {"a": b"1"})), parse("web")))
    index = json.loads(Path(store.blobs.directory, "index.json").read_text())
    assert [set(entry) for entry in index["manifests"]] == [{"mediaType", "size", "digest", "annotations"}]


def test_inspect_tells_where_the_layers_lie(images: Images, store: Store) -> None:
    added = images.add(image(store, layer(store, {"a": b"1"}), layer(store, {"b": b"2"})), parse("web"))
    images.ensure_unpacked(added)
    driver = inspect(added, store)["GraphDriver"]
    assert isinstance(driver, dict)
    assert Path(driver["Data"]["UpperDir"], "b").read_bytes() == b"2"
    assert Path(driver["Data"]["LowerDir"], "a").read_bytes() == b"1"
