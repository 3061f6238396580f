"""What a stored notebook must be like, so that nbval compares it and people can read it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
IGNORED = ("nbval-ignore-output", "nbval-skip")


@dataclass(frozen=True)
class Cell:
    """A code cell that holds something."""

    number: int
    source: str
    execution_count: int | None
    tags: tuple[str, ...]
    failed: bool

    @property
    def is_ignored(self) -> bool:
        marked = any(line.strip().lstrip("# ").lower().replace("_", "-") in IGNORED for line in self.source.splitlines())
        return marked or bool(set(self.tags) & set(IGNORED))


def code_cells(notebook: Path) -> list[Cell]:
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    return [
        Cell(
            number,
            "".join(cell["source"]),
            cell["execution_count"],
            tuple(cell["metadata"].get("tags", ())),
            any(output["output_type"] == "error" for output in cell["outputs"]),
        )
        for number, cell in enumerate(cells)
        if "".join(cell["source"]).strip()
    ]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def cells(request: pytest.FixtureRequest) -> list[Cell]:
    return code_cells(request.param)


def test_each_code_cell_is_stored_with_its_run_for_nbval_compares_no_other(cells: list[Cell]) -> None:
    assert [cell.number for cell in cells if cell.execution_count is None] == []


def test_the_stored_run_went_from_top_to_bottom(cells: list[Cell]) -> None:
    counts = [cell.execution_count for cell in cells if cell.execution_count is not None]
    assert counts == sorted(counts)


def test_fewer_than_one_code_cell_in_five_is_ignored(cells: list[Cell]) -> None:
    assert 5 * sum(cell.is_ignored for cell in cells) < max(len(cells), 1)


def test_no_code_cell_has_more_than_ten_lines(cells: list[Cell]) -> None:
    assert {cell.number: lines for cell in cells if (lines := len(cell.source.strip().splitlines())) > 10} == {}


def test_a_stored_failure_is_marked_as_meant(cells: list[Cell]) -> None:
    assert [cell.number for cell in cells if cell.failed and "raises-exception" not in cell.tags] == []
