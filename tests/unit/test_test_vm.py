"""``scripts/test-vm``: its parts are tests that there are, and what a part is made of is known before a machine is started."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import shlex
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("test_vm_script", str(ROOT / "scripts" / "test-vm"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))  # type: ignore[arg-type]
    sys.modules[loader.name] = module  # dataclasses look there
    loader.exec_module(module)
    return module


def paths(step: object) -> list[str]:
    return [word for word in shlex.split(step.command) if word.startswith(("tests/", "notebooks/")) and not word.endswith(".cfg")]  # type: ignore[attr-defined]


def test_every_part_names_tests_and_notebooks_that_there_are(script: ModuleType) -> None:
    for name, steps in script.GROUPS.items():
        assert steps, name
        assert [path for step in steps for path in paths(step) if not (ROOT / path).exists()] == []


def test_all_is_every_test_outside_the_unit_tests_which_make_check_runs(script: ModuleType) -> None:
    named = {path for step in script.GROUPS["all"] for path in paths(step)}
    found = {path.relative_to(ROOT) for place in ("tests", "notebooks") for path in (ROOT / place).rglob("*") if is_run(path)}
    assert [path for path in found if named.isdisjoint({str(path), *map(str, path.parents)})] == []


def is_run(path: Path) -> bool:
    test = path.name.startswith("test_") and path.suffix == ".py" and not path.is_relative_to(ROOT / "tests" / "unit")
    return (test or path.suffix == ".ipynb") and "checkpoint" not in str(path)


def test_the_part_for_each_change_has_the_kernel_the_runtime_the_engine_and_a_notebook(script: ModuleType) -> None:
    named = " ".join(path for step in script.GROUPS["ci"] for path in paths(step))
    assert all(place in named for place in ("tests/linux/test_cgroups.py", "tests/linux/runtime/", "tests/linux/engine/", "notebooks/"))


def test_a_box_that_is_missing_is_told_with_what_makes_it(script: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(script.LabError, match="make box"):
        script.kernel(tmp_path)
