"""Images of a store: found by name and ID, named, kept."""

from __future__ import annotations

import json

import pytest

from labkit.errors import InvalidInput, NotFound
from labkit.image import documents, index, media, platforms, references
from labkit.image.documents import Descriptor, Index
from labkit.image.images import Images
from labkit.image.references import parse
from labkit.storage.store import Store
from tests.layouts import image, layer, put


@pytest.fixture
def manifests(store: Store) -> list[Descriptor]:
    """Two images that share their lower layer; the second is newer."""
    shared = layer(store, {"shared": b"1"})
    first = image(store, shared, layer(store, {"a": b"first"}), Cmd=("a",))
    return [first, image(store, shared, layer(store, {"a": b"second"}), created="2026-02-01T00:00:00Z", Cmd=("b",))]


def names(images: Images) -> list[list[str]]:
    return [[name.familiar for name in each.names] for each in images.list()]


def test_an_image_is_found_by_every_name_and_by_the_beginning_of_its_id(images: Images, manifests: list[Descriptor]) -> None:
    digest = parse("web").with_digest(manifests[0].digest)
    added = images.add(manifests[0], parse("web:v1"), digest_name=digest)
    images.add(manifests[1], parse("other"))
    hexadecimal = added.id.removeprefix("sha256:")
    for text in (
        "web:v1", "docker.io/library/web:v1", digest.familiar, f"web:whatever@{manifests[0].digest}",
        added.id, hexadecimal, hexadecimal[:12], f"sha256:{hexadecimal[:12]}", manifests[0].digest,
    ):  # fmt: skip
        assert images.get(text) == added
    assert added.tags == (parse("web:v1"),)
    assert added.digests == (digest,)


def test_a_digest_finds_an_image_under_its_repository_alone(images: Images, manifests: list[Descriptor]) -> None:
    images.add(manifests[0], parse("web:v1"))
    assert images.get(f"web@{manifests[0].digest}").tags == (parse("web:v1"),)
    with pytest.raises(NotFound):
        images.get(f"other@{manifests[0].digest}")


@pytest.mark.parametrize(
    ("text", "named"),
    [("nosuch", "nosuch:latest"), ("me/web:v2", "me/web:v2"), ("abcdef", "abcdef:latest"), ("ab" * 32, "ab" * 32)],
)
def test_what_is_not_there_is_named_in_dockers_words(text: str, named: str, images: Images) -> None:
    with pytest.raises(NotFound, match=f"^No such image: {named}$"):
        images.get(text)


def test_a_text_that_is_neither_name_nor_id_is_refused(images: Images) -> None:
    with pytest.raises(InvalidInput, match="must be lowercase"):
        images.get("WEB")


def test_a_name_wins_over_the_beginning_of_an_id(images: Images, manifests: list[Descriptor]) -> None:
    first, second = images.add(manifests[0]), images.add(manifests[1])
    images.tag(second, parse(first.id[7:17]))
    assert images.get(first.id[7:17]).id == second.id


def test_a_beginning_that_several_ids_have_is_ambiguous(images: Images, store: Store) -> None:
    added = [images.add(image(store, layer(store, {"f": bytes([number])}))).id for number in range(17)]
    with pytest.raises(InvalidInput, match="is ambiguous"):
        images.get(next(digit for digit in "0123456789abcdef" if sum(each[7] == digit for each in added) > 1))


def test_the_newest_image_is_listed_first(images: Images, manifests: list[Descriptor]) -> None:
    images.add(manifests[0], parse("old"))
    images.add(manifests[1], parse("new"))
    images.tag(images.get("old"), parse("old:2"))
    assert names(images) == [["new:latest"], ["old:2", "old:latest"]]


def test_a_name_moves_and_leaves_the_other_image_without_one(images: Images, manifests: list[Descriptor]) -> None:
    first = images.add(manifests[0], parse("web"))
    images.add(manifests[1], parse("web"))
    assert names(images) == [["web:latest"], []]
    assert images.get(first.id).tags == ()
    images.add(manifests[0], parse("again"))
    assert names(images) == [["web:latest"], ["again:latest"]]
    assert len(index.read(store_directory(images))) == 2


def store_directory(images: Images) -> str:
    return images.store.blobs.directory


def test_adding_twice_changes_nothing(images: Images, manifests: list[Descriptor]) -> None:
    for _ in range(2):
        images.add(manifests[0])
    assert len(index.read(store_directory(images))) == 1
    for _ in range(2):
        images.add(manifests[0], parse("web"), digest_name=parse("web").with_digest(manifests[0].digest))
    images.add(manifests[0])
    assert len(index.read(store_directory(images))) == 2


def test_an_image_with_another_manifest_is_the_same_image(images: Images, manifests: list[Descriptor], store: Store) -> None:
    """Pulled with gzip here and built without there: one ID, one line in the list; each name keeps its own manifest."""
    first = images.add(manifests[0], parse("built"))
    data = documents.encode(documents.Manifest(2, media.DOCKER_MANIFEST, first.manifest.config, first.manifest.layers))
    other = put(store, data, media.DOCKER_MANIFEST)
    images.add(other, parse("pulled"))
    assert names(images) == [["built:latest", "pulled:latest"]]
    assert images.get("pulled").descriptor == other
    assert images.get("built").descriptor == first.descriptor


def test_tag_refuses_a_digest(images: Images, manifests: list[Descriptor]) -> None:
    with pytest.raises(InvalidInput, match="refusing to create a tag with a digest reference"):
        images.tag(images.add(manifests[0]), parse("web").with_digest(manifests[0].digest))


def test_an_image_that_loses_its_last_name_is_still_there(images: Images, manifests: list[Descriptor]) -> None:
    added = images.add(manifests[0], parse("web"))
    images.tag(added, parse("web:2"))
    images.untag(parse("web"))
    assert names(images) == [["web:2"]]
    images.untag(parse("web:2"))
    images.untag(parse("web:2"))
    assert images.get(added.id).names == ()


def test_an_image_whose_parts_are_missing_is_not_entered(images: Images, manifests: list[Descriptor], store: Store) -> None:
    absent = Descriptor(media.OCI_MANIFEST, 5, f"sha256:{1:064}")
    with pytest.raises(NotFound):
        images.add(absent, parse("web"))
    with pytest.raises(InvalidInput, match=r"^blob sha256:.*: has [0-9]+ bytes, but what points at it says 1"):
        images.add(Descriptor(media.OCI_MANIFEST, 1, manifests[0].digest), parse("web"))
    assert images.list() == ()


def test_a_damaged_image_does_not_hide_the_others_and_can_be_removed(images: Images, manifests: list[Descriptor], store: Store) -> None:
    images.add(manifests[0], parse("good"))
    images.add(manifests[1], parse("bad"))
    store.blobs.remove(images.get("bad").id)
    fresh = Images(store)
    assert names(fresh) == [["good:latest"]]
    with pytest.raises(NotFound, match="blob sha256:"):
        fresh.get("bad")
    assert [str(line) for line in fresh.remove("bad")] == ["Untagged: bad:latest"]
    assert len(index.read(store.blobs.directory)) == 1


def test_another_tools_index_of_platforms_is_the_image_for_this_machine(images: Images, store: Store) -> None:
    mine = platforms.host()
    made = {name: image(store, layer(store, {"f": name.encode()}), architecture=name) for name in ("s390x", mine.architecture)}
    listed = tuple(
        Descriptor(each.mediaType, each.size, each.digest, platform=platforms.Platform(name, "linux")) for name, each in made.items()
    )
    whole = put(store, documents.encode(Index(2, media.OCI_INDEX, listed)), media.OCI_INDEX)
    index.write(store.blobs.directory, [index.Entry(whole, parse("web").tagged)])
    found = images.get("web")
    assert found.descriptor.digest == made[mine.architecture].digest
    assert found.config.architecture == mine.architecture
    kept, _ = images.keep()
    assert {whole.digest, *(each.digest for each in made.values())} <= kept


def test_an_index_within_itself_does_not_go_on_for_ever(images: Images, store: Store) -> None:
    inner = put(store, documents.encode(Index(2, media.OCI_INDEX, ())), media.OCI_INDEX)
    for _ in range(6):
        inner = put(store, documents.encode(Index(2, media.OCI_INDEX, (inner,))), media.OCI_INDEX)
    with pytest.raises(InvalidInput, match="indexes within each other"):
        images.add(inner, parse("web"))


def test_what_images_need_is_kept(images: Images, manifests: list[Descriptor], store: Store) -> None:
    first, second = (images.add(each) for each in manifests)
    rubbish = store.blobs.put(b"rubbish")
    blobs, chains = images.keep()
    assert blobs == set(store.blobs.list()) - {rubbish}
    assert chains == {*first.chain_ids, *second.chain_ids}
    assert first.chain_ids[0] == second.chain_ids[0] == first.config.rootfs.diff_ids[0]


def test_of_what_another_tool_keeps_here_no_part_is_collected(images: Images, store: Store) -> None:
    part = store.blobs.put(b"chart")
    config = {"mediaType": "application/vnd.cncf.helm.config.v1+json", "size": 5, "digest": part}
    chart = put(store, json.dumps({"schemaVersion": 2, "mediaType": media.OCI_MANIFEST, "config": config, "layers": []}).encode())
    index.write(store.blobs.directory, [index.Entry(chart, parse("chart").tagged)])
    assert images.list() == ()
    assert images.keep()[0] == {chart.digest, part}
    with pytest.raises(InvalidInput, match="another kind of artifact"):
        images.get("chart")


def test_history_tells_each_step_and_the_size_of_its_layer_the_last_first(images: Images, store: Store) -> None:
    low, high = layer(store, {"a": b"1"}), layer(store, {"b": b"2" * 20000})
    config = documents.ImageConfig(
        "amd64",
        "linux",
        documents.RootFS("layers", (low.diff_id, high.diff_id)),
        history=(
            documents.History("2026-01-01T00:00:00.123456789Z", "ADD rootfs"),
            documents.History(created_by='CMD ["sh"]', empty_layer=True),
            documents.History(created_by="RUN x", comment="c"),
        ),
    )
    described = put(store, documents.encode(config), media.OCI_CONFIG)
    whole = documents.Manifest(2, media.OCI_MANIFEST, described, (low.descriptor, high.descriptor))
    added = images.add(put(store, documents.encode(whole)), parse("web"))
    steps = [(step.id, step.created_by, step.size, step.comment, step.tags) for step in added.history]
    assert steps == [
        (added.id, "RUN x", high.descriptor.size, "c", ("web:latest",)),
        ("<missing>", 'CMD ["sh"]', 0, "", ()),
        ("<missing>", "ADD rootfs", low.descriptor.size, "", ()),
    ]
    assert added.history[2].created and added.history[2].created.year == 2026
    assert added.size == low.descriptor.size + high.descriptor.size


def test_layers_without_history_are_steps_without_words(images: Images, store: Store) -> None:
    only = layer(store, {"a": b"1"})
    config = documents.ImageConfig("amd64", "linux", documents.RootFS("layers", (only.diff_id,)), created="no time at all")
    described = put(store, documents.encode(config), media.OCI_CONFIG)
    added = images.add(put(store, documents.encode(documents.Manifest(2, media.OCI_MANIFEST, described, (only.descriptor,)))))
    assert [(step.created_by, step.size) for step in added.history] == [("", only.descriptor.size)]
    assert added.created is None


def test_names_are_by_reference_not_by_text(images: Images, manifests: list[Descriptor]) -> None:
    images.add(manifests[0], parse("index.docker.io/library/web:latest"))
    assert images.get("web").names == (references.parse("web:latest"),)
