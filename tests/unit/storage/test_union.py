from __future__ import annotations

import os
from pathlib import Path

import pytest

from labkit.storage import union
from labkit.storage.union import Change


@pytest.fixture
def stack(tmp_path: Path) -> list[str]:
    """Three layers, topmost first; /d/f and /e are in all of them."""
    layers = [tmp_path / name for name in ("top", "middle", "bottom")]
    for layer in layers:
        (layer / "d").mkdir(parents=True)
        (layer / "d" / "f").touch()
        (layer / "e").touch()
    (layers[2] / "d" / "deep").touch()
    return [str(layer) for layer in layers]


def test_the_topmost_layer_that_has_a_path_provides_it(stack: list[str]) -> None:
    assert union.provider(stack, "/d/f") == 0
    os.unlink(f"{stack[0]}/d/f")
    assert union.provider(stack, "/d/f") == 1
    assert union.provider(stack, "/d/deep") == 2
    assert union.provider(stack, "") == 0
    assert union.provider(stack, "/none") is union.provider([], "/d") is None


def test_a_whiteout_hides_a_path_in_the_layers_below_and_not_above(stack: list[str]) -> None:
    os.setxattr(f"{stack[1]}/e", "user.overlay.whiteout", b"y")
    assert union.provider(stack, "/e") == 0
    os.unlink(f"{stack[0]}/e")
    assert union.provider(stack, "/e") is None


def test_an_opaque_directory_hides_what_those_below_have_in_it(stack: list[str]) -> None:
    os.setxattr(f"{stack[1]}/d", "user.overlay.opaque", b"y")
    assert union.provider(stack, "/d/deep") is None
    os.unlink(f"{stack[0]}/d/f")
    assert union.provider(stack, "/d/f") == 1
    os.unlink(f"{stack[1]}/d/f")
    assert union.provider(stack, "/d/f") is None


@pytest.mark.parametrize("become", ["file", "link"])
def test_a_file_or_a_link_hides_the_directories_below_it(stack: list[str], become: str) -> None:
    os.unlink(f"{stack[0]}/d/f")
    os.rmdir(f"{stack[0]}/d")
    if become == "file":
        Path(stack[0], "d").touch()
    else:
        os.symlink(f"{stack[1]}/d", f"{stack[0]}/d")
    assert union.provider(stack, "/d") == 0
    assert union.provider(stack, "/d/f") is union.provider(stack, "/d/deep") is None
    assert dict(union.walk(stack)) == {"/d": 0, "/e": 0}
    assert list(union.changes(stack[0], stack[1:])) == [Change("changed", "/d"), Change("changed", "/e")]


def test_walk_goes_through_the_union_once(stack: list[str]) -> None:
    assert list(union.walk(stack)) == [("/d", 0), ("/d/deep", 2), ("/d/f", 0), ("/e", 0)]


def test_changes_of_a_layer_alone_are_additions(stack: list[str]) -> None:
    assert [str(change) for change in union.changes(stack[0], [])] == ["added   /d", "added   /d/f", "added   /e"]
