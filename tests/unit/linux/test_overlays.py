from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.linux import mounts, overlays


def test_options_list_the_topmost_layer_first() -> None:
    assert overlays.options(["/top", "/bottom"], "/u", "/w") == ("lowerdir=/top:/bottom", "upperdir=/u", "workdir=/w")


def test_without_upper_the_union_is_read_only() -> None:
    assert overlays.options(["/top", "/bottom"]) == ("lowerdir=/top:/bottom",)


def test_commas_colons_and_backslashes_of_a_path_are_escaped() -> None:
    assert overlays.escape("/sha256:1,2\\3") == "/sha256\\:1\\,2\\\\3"
    assert overlays.options(["/a:b"], "/c,d", "/e\\f") == ("lowerdir=/a\\:b", "upperdir=/c\\,d", "workdir=/e\\\\f")


PATHS = st.text("/ab:,\\\\ =", min_size=1)


@given(st.lists(PATHS, min_size=1), st.none() | st.tuples(PATHS, PATHS), st.lists(st.sampled_from(["ro", "nosuid", "redirect_dir=on"])))
def test_what_options_were_made_of_can_be_read_back(lower: list[str], changes: tuple[str, str] | None, others: list[str]) -> None:
    upper, work = changes or (None, None)
    assert overlays.parse([*overlays.options(lower, upper, work), *others]) == (lower, upper, work, others)


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    for name in "lower", "upper", "work", "target":
        (tmp_path / name).mkdir()
    return tmp_path


def explain(
    layer: Path, code: int = errno.EINVAL, lower: tuple[str, ...] = ("lower",), upper: str | None = "upper", work: str = "work"
) -> str:
    def place(name: str) -> str:
        return str(layer / name)

    return overlays.explain(code, [*map(place, lower)], upper and place(upper), place(work), place("target"))


def test_explain_names_the_directory_that_is_missing(layer: Path) -> None:
    assert explain(layer, upper="no") == f"upperdir {layer}/no is not a directory: make it first"
    assert explain(layer, work="no").startswith("workdir ")
    assert explain(layer, lower=("lower", "no")).startswith("lowerdir ")
    (layer / "target").rmdir()
    assert explain(layer).startswith("target ")


def test_explain_tells_upper_within_work_and_the_reverse(layer: Path) -> None:
    (layer / "upper" / "in").mkdir()
    for upper, work in ("upper", "upper/in"), ("upper/in", "upper"), ("upper", "upper"):
        assert explain(layer, upper=upper, work=work) == "upperdir and workdir must not lie within each other"


def test_explain_counts_the_layers(layer: Path) -> None:
    assert "at most 500" in explain(layer, lower=("lower",) * 501)
    assert "two lower directories" in explain(layer, upper=None)


def test_explain_tells_upper_and_work_on_two_mounts(layer: Path) -> None:
    here = mounts.holding(str(layer)).target
    assert explain(layer, work="/proc") == f"upperdir is on the mount {here}, workdir on /proc: both must be on one"


def test_explain_knows_busy_and_overlapping_directories(layer: Path) -> None:
    assert "in use by another overlay" in explain(layer, errno.EBUSY)
    assert "within each other" in explain(layer, errno.ELOOP)
    assert "takes root" in explain(layer, errno.EPERM)


def test_a_directory_is_opaque_by_its_attribute(layer: Path) -> None:
    assert not overlays.is_opaque(str(layer / "upper"))
    os.setxattr(layer / "upper", "user.overlay.opaque", b"y")
    assert overlays.is_opaque(str(layer / "upper"))
    os.setxattr(layer / "upper", "user.overlay.opaque", b"x")  # "look for whiteouts in here" is no "y"
    assert not overlays.is_opaque(str(layer / "upper"))


def test_an_empty_file_with_the_attribute_is_a_whiteout_and_others_are_not(layer: Path) -> None:
    for name, content, marked, expected in [("a", "", True, True), ("b", "", False, False), ("c", "data", True, False)]:
        file = layer / name
        file.write_text(content)
        if marked:
            os.setxattr(file, "user.overlay.whiteout", b"y")
        assert overlays.is_whiteout(str(file)) == expected, name
    assert not overlays.is_whiteout(str(layer / "upper"))
    assert not overlays.is_whiteout("/dev/null")
