"""What the project's own files promise each other."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RANGES = [Requirement(text) for text in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"])]
PINS = [Requirement(line) for line in (ROOT / "requirements.txt").read_text().splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("wanted", RANGES, ids=lambda wanted: wanted.name)
def test_each_range_is_pinned_within_its_bounds(wanted: Requirement) -> None:
    """Otherwise pyproject.toml was changed, and `make pins` was not run."""
    pinned = [pin for pin in PINS if canonicalize_name(pin.name) == canonicalize_name(wanted.name)]
    assert pinned
    assert [pin for pin in pinned if not wanted.specifier.contains(str(pin.specifier).removeprefix("=="))] == []


def test_every_pin_is_exact() -> None:
    assert [str(pin) for pin in PINS if not str(pin.specifier).startswith("==")] == []


def test_the_readme_names_only_targets_that_there_are() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z]+)", (ROOT / "README.md").read_text())) <= targets


def test_make_alone_lists_every_target() -> None:
    listed = subprocess.run(["make", "-C", str(ROOT)], capture_output=True, text=True, check=True).stdout
    phony = re.findall(r"^\.PHONY: (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split()
    assert [line.split()[1] for line in listed.splitlines() if line.startswith("  make")] == phony


def test_the_readme_links_to_files_that_there_are() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / "README.md").read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("script", ["scripts/provision", ".ci/run"])
def test_scripts_are_executable_and_well_formed(script: str) -> None:
    assert (ROOT / script).stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True)


def test_ci_runs_the_readme_s_own_command_and_then_the_check() -> None:
    lines = (ROOT / ".ci/run").read_text().splitlines()
    assert lines[-2:] == ["make test", "make check"]
