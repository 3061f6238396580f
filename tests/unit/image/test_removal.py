"""Removal by Docker's rules."""

from __future__ import annotations

import pytest

from labkit.errors import Conflict, NotFound
from labkit.image.documents import Descriptor
from labkit.image.images import Images
from labkit.image.references import parse
from labkit.storage.store import Store
from tests.layouts import image, layer


@pytest.fixture
def manifest(store: Store) -> Descriptor:
    return image(store, layer(store, {"a": b"1"}), layer(store, {"b": b"2"}))


def lines(images: Images, text: str, force: bool = False) -> list[str]:
    return [str(line) for line in images.remove(text, force)]


def test_the_last_name_takes_the_image_with_it(images: Images, manifest: Descriptor) -> None:
    added = images.add(manifest, parse("web"))
    low, high = added.chain_ids
    assert lines(images, "web") == ["Untagged: web:latest", f"Deleted: {added.id}", f"Deleted: {high}", f"Deleted: {low}"]
    assert images.list() == ()


def test_a_name_that_is_not_the_last_goes_alone(images: Images, manifest: Descriptor) -> None:
    added = images.add(manifest, parse("web"))
    images.tag(added, parse("web:2"))
    images.tag(added, parse("other"))
    assert lines(images, "web") == ["Untagged: web:latest"]
    assert lines(images, "other") == ["Untagged: other:latest"]
    assert [name.familiar for name in images.get("web:2").names] == ["web:2"]


def test_with_the_last_tag_of_a_repository_its_digests_go(images: Images, manifest: Descriptor) -> None:
    digest = parse("web").with_digest(manifest.digest)
    added = images.add(manifest, parse("web"), digest_name=digest)
    images.tag(added, parse("me/web"))
    assert lines(images, "web") == ["Untagged: web:latest", f"Untagged: {digest.familiar}"]
    assert lines(images, "me/web")[:2] == ["Untagged: me/web:latest", f"Deleted: {added.id}"]


def test_a_digest_goes_alone_as_long_as_there_is_a_tag(images: Images, manifest: Descriptor) -> None:
    digest = parse("web").with_digest(manifest.digest)
    images.add(manifest, parse("web"), digest_name=digest)
    assert lines(images, digest.familiar) == [f"Untagged: {digest.familiar}"]
    assert [name.familiar for name in images.get("web").names] == ["web:latest"]


def test_an_id_takes_all_names_of_one_repository_with_one_tag(images: Images, manifest: Descriptor) -> None:
    digest = parse("web").with_digest(manifest.digest)
    added = images.add(manifest, parse("web"), digest_name=digest)
    assert lines(images, added.id[7:19])[:3] == ["Untagged: web:latest", f"Untagged: {digest.familiar}", f"Deleted: {added.id}"]


@pytest.mark.parametrize("second", ["web:2", "me/web"])
def test_an_id_with_several_names_is_a_conflict_unless_forced(second: str, images: Images, manifest: Descriptor) -> None:
    added = images.add(manifest, parse("web"))
    images.tag(added, parse(second))
    with pytest.raises(Conflict) as refused:
        images.remove(added.id)
    assert str(refused.value) == (
        f"conflict: unable to delete {added.id[7:19]} (must be forced) - image is referenced in multiple repositories"
    )
    assert len(images.get(added.id).names) == 2
    assert lines(images, added.id, force=True)[-3] == f"Deleted: {added.id}"


def test_an_image_without_a_name_is_removed_by_its_id(images: Images, manifest: Descriptor) -> None:
    added = images.add(manifest)
    assert lines(images, added.id[7:])[0] == f"Deleted: {added.id}"


def test_layers_that_another_image_has_are_not_said_to_be_deleted(images: Images, store: Store) -> None:
    shared = layer(store, {"shared": b"1"})
    first = images.add(image(store, shared, layer(store, {"a": b"1"})), parse("first"))
    second = images.add(image(store, shared, layer(store, {"a": b"2"})), parse("second"))
    assert lines(images, "first") == ["Untagged: first:latest", f"Deleted: {first.id}", f"Deleted: {first.chain_ids[1]}"]
    assert lines(images, "second")[-1] == f"Deleted: {second.chain_ids[0]}"


def test_what_is_not_there_cannot_be_removed(images: Images) -> None:
    with pytest.raises(NotFound, match=r"^No such image: web:latest$"):
        images.remove("web")


def test_prune_takes_the_images_without_a_tag(images: Images, store: Store) -> None:
    tagged = images.add(image(store, layer(store, {"a": b"1"})), parse("tagged"))
    nameless = images.add(image(store, layer(store, {"a": b"2"})))
    by_digest = image(store, layer(store, {"a": b"3"}))
    digest = parse("gone").with_digest(by_digest.digest)
    images.add(by_digest, digest_name=digest)
    pruned = [str(line) for line in images.prune()]
    assert {f"Deleted: {nameless.id}", f"Untagged: {digest.familiar}"} <= set(pruned)
    assert [each.id for each in images.list()] == [tagged.id]
    assert [str(line) for line in images.prune(all=True)][:2] == ["Untagged: tagged:latest", f"Deleted: {tagged.id}"]
    assert images.list() == ()
