"""``--filter``: which images, and which of their names, are left; and what is said of a filter that is wrong."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.engine import image_filters
from labkit.errors import InvalidInput, NotFound
from labkit.image import references
from labkit.image.container_config import ContainerConfig
from labkit.image.documents import Descriptor, ImageConfig, Manifest, RootFS
from labkit.image.images import Image, Images


def image(number: int, day: int, names: tuple[str, ...] = (), labels: dict[str, str] | None = None) -> Image:
    """One made on a day of November 2026."""
    digest = f"sha256:{number:064x}"
    config = ImageConfig("amd64", "linux", RootFS("layers", ()), created=f"2026-11-{day:02d}T00:00:00Z")
    config = replace(config, config=ContainerConfig(Labels=labels or {}))
    descriptor = Descriptor("application/vnd.oci.image.manifest.v1+json", 1, digest)
    return Image(digest, descriptor, Manifest(2, "", descriptor, ()), config, tuple(map(references.parse, names)), ())


OLD = image(1, 1, ("nginx:1", "127.0.0.1:5000/me/web:v1"), {"course": "containers", "empty": ""})
NEW = image(2, 20, ("nginx:2", f"nginx@sha256:{2:064x}"))
DANGLING = image(3, 10)


class Fake:
    def list(self) -> tuple[Image, ...]:
        return (NEW, DANGLING, OLD)

    def get(self, text: str) -> Image:
        if text != "middle":
            raise NotFound(f"No such image: {text}:latest")
        return DANGLING


IMAGES = cast(Images, Fake())


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        ([], [NEW, DANGLING, OLD]),
        (["dangling=true"], [DANGLING]),
        (["dangling=0"], [NEW, OLD]),
        (["label=course"], [OLD]),
        (["label=course=containers"], [OLD]),
        (["label=course=x"], []),
        (["label=empty="], [OLD]),
        (["label=course", "label=nope"], []),
        (["before=middle"], [OLD]),
        (["since=middle"], [NEW]),
        (["until=2026-11-15"], [DANGLING, OLD]),
        (["until=2026-11-10T00:00:01Z"], [DANGLING, OLD]),
        (["until=1793491200"], []),
        (["reference=nginx"], [NEW, OLD]),
        (["reference=nginx", "reference=*/me/*"], [NEW, OLD]),
        (["reference=nginx:2", "dangling=true"], []),
    ],
)
def test_images_that_all_filters_let_through_are_left(filters: list[str], left: list[Image]) -> None:
    assert [listed.image for listed in image_filters.apply(IMAGES, filters)] == left


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("nginx", ["nginx:1"]),
        ("nginx:1", ["nginx:1"]),
        ("ngi*", ["nginx:1"]),
        ("*:1", ["nginx:1"]),
        ("docker.io/library/nginx", ["nginx:1"]),
        ("n?in[w-y]", ["nginx:1"]),
        ("*", ["nginx:1"]),
        ("*/*/*", ["127.0.0.1:5000/me/web:v1"]),
        ("127.0.0.1:5000/me/web", ["127.0.0.1:5000/me/web:v1"]),
        ("[^n]*/me/web:v?", ["127.0.0.1:5000/me/web:v1"]),
        (r"nginx\:1", ["nginx:1"]),
        ("web", []),
        ("ngin", []),
        ("NGINX", []),
    ],
)
def test_a_reference_is_a_pattern_in_which_stars_stop_at_slashes(pattern: str, names: list[str]) -> None:
    listed = [each for each in image_filters.apply(IMAGES, [f"reference={pattern}"]) if each.image is OLD]
    assert [name.familiar for each in listed for name in each.names] == names


def test_a_span_of_time_counts_back_from_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1795132800.0)  # 2026-11-20
    assert [each.image for each in image_filters.apply(IMAGES, ["until=240h0m1s"])] == [OLD]
    assert [each.image for each in image_filters.apply(IMAGES, ["until=239h59m"])] == [DANGLING, OLD]


@pytest.mark.parametrize(
    ("filters", "complaint"),
    [
        (["nope"], "bad format of filter"),
        (["nope=1"], "invalid filter 'nope': there are before, dangling"),
        (["dangling=perhaps"], "must be true or false"),
        (["until=soon"], "no time span"),
        (["reference=["], "syntax error in pattern"),
        (["reference="], "syntax error in pattern"),
        (["reference=[z-a]"], "syntax error in pattern"),
    ],
)
def test_a_filter_that_is_wrong_is_named(filters: list[str], complaint: str) -> None:
    with pytest.raises(InvalidInput, match="filter") as caught:
        image_filters.apply(IMAGES, filters)
    assert complaint in str(caught.value)


def test_an_image_to_compare_with_must_be_there() -> None:
    with pytest.raises(NotFound, match="No such image: nosuch"):
        image_filters.apply(IMAGES, ["before=nosuch"])


@pytest.mark.parametrize(
    ("filters", "every", "left"),
    [
        ([], False, [DANGLING]),
        ([], True, [NEW, DANGLING, OLD]),
        (["dangling=false"], False, [NEW, DANGLING, OLD]),
        (["label!=course"], True, [NEW, DANGLING]),
        (["label=course"], False, []),
        (["until=2026-11-05"], True, [OLD]),
    ],
)
def test_a_prune_takes_what_has_no_tag_or_all_that_the_filters_let_through(filters: list[str], every: bool, left: list[Image]) -> None:
    assert [*image_filters.prunable(IMAGES, filters, every=every)] == left


@given(st.text(alphabet="[]^-\\*?a/|&~", max_size=12))
def test_any_pattern_either_works_or_is_told_to_be_wrong(pattern: str) -> None:
    try:
        image_filters.apply(IMAGES, [f"reference={pattern}"])
    except InvalidInput as error:
        assert "syntax error in pattern" in str(error)
