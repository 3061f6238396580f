"""The recipes of the lab's images, and what their digests notice."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from labkit.engine.build import dockerfile
from labkit.errors import Unsupported
from labkit.lab.seed import recipes
from labkit.lab.seed.recipes import RECIPES, Recipe


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A recipe of busybox whose files are a copy."""
    shutil.copytree(RECIPES[0].directory, tmp_path / "busybox")
    monkeypatch.setattr(recipes, "_HERE", str(tmp_path))
    return replace(RECIPES[0], program=str(tmp_path / "busybox/Dockerfile"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_each_recipe_is_a_dockerfile_on_its_base(recipe: Recipe) -> None:
    (stage,) = dockerfile.parse(Path(recipe.directory, "Dockerfile").read_text()).stages
    assert stage.base == (recipe.base or "scratch")


def test_a_base_comes_before_what_stands_on_it() -> None:
    names = [recipe.name for recipe in RECIPES]
    assert [recipe.name for recipe in RECIPES if recipe.base and names.index(recipe.base) > names.index(recipe.name)] == []


def test_the_digest_of_the_same_recipe_is_the_same(recipe: Recipe) -> None:
    assert replace(recipe).digest == recipe.digest


def test_the_digest_changes_with_a_file(recipe: Recipe) -> None:
    before = replace(recipe).digest
    path = Path(recipe.directory, "etc/group")
    path.write_text(path.read_text() + "staff:x:50:\n")
    assert recipe.digest != before


def test_the_digest_changes_with_the_name_of_a_file(recipe: Recipe) -> None:
    before = replace(recipe).digest
    Path(recipe.directory, "etc/group").rename(Path(recipe.directory, "etc/groups"))
    assert recipe.digest != before


def test_the_digest_changes_with_the_program(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "program").write_text("1")
    first = replace(recipe, program=str(tmp_path / "program")).digest
    (tmp_path / "program").write_text("2")
    assert replace(recipe, program=str(tmp_path / "program")).digest != first


def test_the_digest_changes_with_the_base(monkeypatch: pytest.MonkeyPatch) -> None:
    nginx = recipes.named("nginx")
    before = replace(nginx).digest
    monkeypatch.setattr(recipes, "RECIPES", (replace(recipes.named("debian"), tags=("other",)), nginx))
    assert replace(nginx).digest != before


def test_without_its_program_the_package_is_named(recipe: Recipe) -> None:
    with pytest.raises(Unsupported, match=r"/nowhere/busybox is missing, .*: apt-get install busybox-static"):
        _ = replace(recipe, program="/nowhere/busybox").digest


def test_where_no_registry_answers_all_are_missing() -> None:
    assert recipes.missing("http://127.0.0.1:9") == RECIPES
