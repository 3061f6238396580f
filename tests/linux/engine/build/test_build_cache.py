"""The build cache: what was done before is not done again, and what has changed is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from labkit.engine.build.cache import Cache
from labkit.image.image import Image

if TYPE_CHECKING:
    from conftest import Lab

TEXT = "FROM base\nCOPY a /a\nARG V=1\nRUN echo $V > /v\nENV X=1\n"


def done(lab: Lab) -> list[str]:
    """The instructions of the last build that were not found in the cache, FROM left out."""
    steps = lab.text.split("Step ")[1:]
    return [step.split(" : ")[1].split()[0] for step in steps if "Using cache" not in step and " : FROM" not in step]


def test_the_same_build_again_does_nothing_and_gives_the_same_image(lab: Lab, base: Image) -> None:
    lab.files({"a": "A"})
    first = lab.build(TEXT)
    assert done(lab) == ["COPY", "ARG", "RUN", "ENV"]
    second = lab.build(TEXT)
    assert done(lab) == [] and lab.text.count(" ---> Using cache\n") == 4
    assert (second.id, second.descriptor) == (first.id, first.descriptor)


def test_neither_times_nor_places_nor_what_is_ignored_count(lab: Lab, base: Image) -> None:
    lab.files({"dir/a": "A", "dir/x.log": "1", ".dockerignore": "**/*.log\n"})
    lab.build("FROM base\nCOPY dir /d")
    os.utime(lab.context / "dir/a", (1, 1))
    lab.files({"dir/x.log": "2", "other": "2"})
    lab.build("FROM base\nCOPY dir /d")
    assert done(lab) == []


@pytest.mark.parametrize("change", ["content", "mode", "name", "link", "new file"])
def test_whatever_else_changes_in_the_files_is_copied_again(lab: Lab, base: Image, change: str) -> None:
    lab.files({"dir/a": "A", "dir/b": "A"})
    (lab.context / "dir/l").symlink_to("a")
    lab.build("FROM base\nCOPY dir /d\nRUN true")
    match change:
        case "content":
            lab.files({"dir/a": "B"})
        case "mode":
            (lab.context / "dir/a").chmod(0o600)
        case "name":
            (lab.context / "dir/b").rename(lab.context / "dir/c")
        case "link":
            (lab.context / "dir/l").unlink()
            (lab.context / "dir/l").symlink_to("b")
        case "new file":
            lab.files({"dir/z": ""})
    lab.build("FROM base\nCOPY dir /d\nRUN true")
    assert done(lab) == ["COPY", "RUN"]


def test_the_name_that_a_copy_gets_counts(lab: Lab, base: Image) -> None:
    lab.files({"1/a": "A"})
    (lab.context / "2").mkdir()
    (lab.context / "2/b").symlink_to("../1/a")
    lab.build("FROM base\nCOPY 1/a /x/")
    with lab.root(lab.build("FROM base\nCOPY 2/b /x/")) as root:
        assert os.listdir(root / "x") == ["b"]


def test_arguments_count_for_what_runs_after_them(lab: Lab, base: Image) -> None:
    lab.files({"a": "A"})
    lab.build(TEXT)
    lab.build(TEXT, args={"V": "2"})
    assert done(lab) == ["RUN", "ENV"]
    lab.build(TEXT, args={"V": "1", "http_proxy": "http://p"})
    assert done(lab) == []


def test_without_the_cache_all_is_done_again(lab: Lab, base: Image) -> None:
    lab.files({"a": "A"})
    lab.build(TEXT)
    lab.build(TEXT, no_cache=True)
    assert done(lab) == ["COPY", "ARG", "RUN", "ENV"]


def test_a_stage_that_changed_is_copied_from_again_only_if_the_file_changed(lab: Lab, base: Image) -> None:
    text = "FROM base AS one\nARG V\nRUN echo $V > /v; echo same > /s\nFROM base\nCOPY --from=one /s /s\nCOPY --from=one /v /v\n"
    lab.build(text, args={"V": "1"})
    lab.build(text, args={"V": "2"})
    assert done(lab) == ["RUN", "COPY"]


def test_another_dockerfile_shares_the_steps_that_it_begins_with(lab: Lab, base: Image) -> None:
    lab.build("FROM base\nRUN echo 1 > /1\nRUN echo 2 > /2", "one")
    lab.build("FROM base\nRUN echo 1 > /1\nRUN echo 3 > /3", "two")
    assert done(lab) == ["RUN"]


def test_the_cache_keeps_its_layers_and_is_of_no_harm_without_them(lab: Lab, base: Image) -> None:
    text = "FROM base AS one\nRUN echo 1 > /1\nFROM base\nCOPY --from=one /1 /2\n"
    cache = Cache(lab.images.store)
    lab.build(text)
    lab.images.remove("built", force=True)
    lab.images.collect(*cache.keep())
    lab.build(text)
    assert done(lab) == []
    lab.images.remove("built", force=True)
    lab.images.collect()
    image = lab.build(text)
    assert done(lab) == ["RUN", "COPY"]
    with lab.root(image) as root:
        assert (root / "2").read_text() == "1\n"


def test_a_pruned_cache_is_empty(lab: Lab, base: Image) -> None:
    cache = Cache(lab.images.store)
    text = "FROM base\nENV A=1\nENV B=1"
    lab.build(text)
    assert cache.prune() == 4  # two of them are the base's
    assert cache.keep() == (frozenset(), frozenset())
    lab.build(text)
    assert done(lab) == ["ENV", "ENV"]


def test_a_blob_that_is_gone_is_made_again(lab: Lab, base: Image) -> None:
    text = "FROM base\nRUN echo 1 > /1"
    first = lab.build(text)
    lab.images.store.blobs.remove(first.manifest.layers[-1].digest)
    second = lab.build(text)
    assert done(lab) == [] and second.descriptor == first.descriptor
    assert lab.images.store.blobs.has(second.manifest.layers[-1].digest)


def test_a_damaged_entry_is_done_again(lab: Lab, base: Image) -> None:
    lab.build("FROM base\nENV A=1")
    for entry in (lab.place / "store/build/steps").iterdir():
        entry.write_bytes(b"{")
    lab.build("FROM base\nENV A=1")
    assert done(lab) == ["ENV"]
