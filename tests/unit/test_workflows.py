"""``.github/workflows``: actions are pinned by commit, nothing may do more than it has to, and what is run is in the Makefile."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.stem)
def text(request: pytest.FixtureRequest) -> str:
    return request.param.read_text()  # type: ignore[no-any-return]


def test_there_are_workflows() -> None:
    assert [path.stem for path in WORKFLOWS] == ["release", "test"]


def test_every_action_is_pinned_by_its_commit_and_says_its_version(text: str) -> None:
    used = re.findall(r"uses: (.*)", text)
    assert used and [each for each in used if not re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)] == []


def test_a_workflow_may_read_and_a_job_ends_in_time(text: str) -> None:
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert all(0 < job["timeout-minutes"] <= 120 and set(job.get("permissions", {})) <= {"contents"} for job in workflow["jobs"].values())


def test_what_comes_from_outside_reaches_a_script_as_a_variable_and_not_as_its_text(text: str) -> None:
    steps = [step for job in yaml.safe_load(text)["jobs"].values() for step in job["steps"]]
    assert [step["run"] for step in steps if "${{" in step.get("run", "")] == []


def test_its_targets_are_in_the_makefile(text: str) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"run: make ([a-z-]+)", text)) <= set(targets)
