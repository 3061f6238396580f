"""A tar of a file system becomes an image."""

from __future__ import annotations

import gzip
import io

import pytest

from labkit.errors import InvalidInput
from labkit.image import archives, platforms
from labkit.image.documents import ContainerConfig
from labkit.image.images import Images
from labkit.image.references import parse
from labkit.storage import digests
from tests.layouts import tar

FILES = tar({"bin/": b"", "bin/sh": b"#!"})
CREATED = "2026-01-01T00:00:00Z"


@pytest.mark.parametrize("data", [FILES, gzip.compress(FILES)], ids=["plain", "gzip"])
def test_a_file_system_becomes_an_image_of_one_layer(data: bytes, images: Images) -> None:
    config = ContainerConfig(Cmd=("sh",))
    made = archives.import_(images, io.BytesIO(data), parse("base:1"), config=config, created=CREATED)
    assert made == images.get("base:1")
    assert made.config.config.Cmd == ("sh",)
    assert made.config.rootfs.diff_ids == (digests.of(FILES),)
    assert made.config.architecture == platforms.host().architecture
    assert [(step.comment, step.size) for step in made.history] == [("Imported from -", 2)]
    assert images.store.layers.has(made.chain_ids[0])


def test_the_same_file_system_is_the_same_image(images: Images) -> None:
    made = [archives.import_(images, io.BytesIO(FILES), parse(name), created=CREATED) for name in ("a", "b")]
    assert made[0].descriptor == made[1].descriptor
    assert [name.familiar for name in images.get("a").names] == ["a:latest", "b:latest"]


def test_an_image_may_be_made_for_another_machine_and_without_a_name(images: Images) -> None:
    made = archives.import_(images, io.BytesIO(FILES), platform=platforms.parse("linux/arm/v6"), message="from afar")
    assert (made.config.architecture, made.config.variant, made.names) == ("arm", "v6", ())
    assert made.history[0].comment == "from afar"
    assert made.created is not None


@pytest.mark.parametrize("data", [b"not a tar at all" * 100, FILES[:1500], gzip.compress(FILES)[:-9], b"\x1f\x8b damaged"])
def test_what_is_no_file_system_leaves_the_store_as_it_was(data: bytes, images: Images) -> None:
    with pytest.raises(InvalidInput):
        archives.import_(images, io.BytesIO(data), parse("base"))
    assert images.list() == ()
    assert images.store.blobs.list() == ()
    assert images.store.snapshots.list() == ()
