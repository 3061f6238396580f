"""A diligent student: every exercise solved, every cell run twice in a row, and all checks say ✔."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

from labkit.lessons import exercises

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_with_all_solutions_and_every_cell_run_twice_no_cell_fails_and_all_checks_pass(path):
    solved = {exercise.starter: exercise.solution for exercise in exercises.read(str(path))}
    notebook = nbformat.read(path, 4)
    sources = [solved.get(cell.source.strip(), cell.source) for cell in notebook.cells if cell.cell_type == "code"]
    notebook.cells = [new_code_cell(source) for source in sources for _ in range(2)]
    NotebookClient(notebook, timeout=100, resources={"metadata": {"path": str(path.parent)}}).execute()
    verdicts = {
        cell.source: [output["data"]["text/plain"] for output in cell.outputs if "data" in output]
        for cell in notebook.cells
        if cell.source.startswith("check(")
    }
    assert len(verdicts) == len(solved)
    assert not {source: texts for source, texts in verdicts.items() if not texts[-1].startswith("✔")}
    assert notebook.cells[-1].outputs[0]["data"]["text/plain"].startswith("✔ Nothing")
