"""The exercises of a notebook, read from the notebook: what a test, or a teacher, wants to have as data.

    >>> for exercise in exercises.read("notebooks/01-namespaces.ipynb"):
    ...     print(exercise.number, exercise.title, exercise.check)
    1.1 A host name of its own namespaces.own-hostname

An exercise is four cells in a row, and this is all the form there is:

    markdown   > **Exercise 1.1 · A host name of its own** (5 min)     then the task, and a line "> *Predict:* …"
    code       the starter: it has one blank, and does no harm as it stands
    code       check("namespaces.own-hostname")
    markdown   <details>, folded: two or three hints; then the solution, and "*What it showed:* …"

The notebook's first code cell sets the stage; a starter or a solution needs that one and nothing else.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from labkit.errors import InvalidInput

_TITLE = re.compile(r"\*\*Exercise (\d+\.\d+) · (.+?)\*\*")
_CHECK = re.compile(r"check\(\"([a-z]+\.[a-z-]+)\"\)")
_DETAILS = re.compile(r"<details>\s*<summary>(.*?)</summary>(.*?)</details>", re.DOTALL)
_CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Exercise:
    """One exercise; ``starter`` and ``solution`` are Python, ``check`` is the name that ``lessons.check`` takes."""

    number: str
    title: str
    prediction: str
    starter: str
    check: str
    hints: tuple[str, ...]
    solution: str
    showed: str


@dataclass(frozen=True)
class _Cell:
    kind: str
    source: str


def read(notebook: str) -> tuple[Exercise, ...]:
    """All exercises of the notebook file, in order; ``InvalidInput`` names the part that one of them lacks."""
    cells = _cells(notebook)
    return tuple(_exercise(cells[at : at + 4]) for at, cell in enumerate(cells) if cell.kind == "markdown" and _TITLE.search(cell.source))


def stage(notebook: str) -> str:
    """The source of the first code cell: the imports, and ``lessons.begin``."""
    return next(cell.source for cell in _cells(notebook) if cell.kind == "code")


def _cells(notebook: str) -> list[_Cell]:
    with open(notebook, encoding="utf-8") as file:
        return [_Cell(cell["cell_type"], "".join(cell["source"])) for cell in json.load(file)["cells"]]


def _exercise(cells: list[_Cell]) -> Exercise:
    number, title = _TITLE.findall(cells[0].source)[0]
    where = f"exercise {number}"
    if [cell.kind for cell in cells] != ["markdown", "code", "code", "markdown"]:
        raise InvalidInput(f"{where}: must be four cells: the task, a starter, a check, the hints")
    task, starter, check, after = (cell.source for cell in cells)
    folded = _DETAILS.findall(after)
    solution = "".join(text for summary, text in folded if summary.startswith("Solution"))
    return Exercise(
        number,
        title,
        _part(r"\*Predict:\*\s*(.+)", task, f"{where}: a line '*Predict:* …'"),
        starter,
        _part(_CHECK.pattern, check, f"{where}: a cell check(\"topic.name\")"),
        tuple(text.strip() for summary, text in folded if summary.startswith("Hint")),
        _part(_CODE.pattern, solution, f"{where}: a folded solution in Python"),
        _part(r"\*What it showed:\*\s*(.+)", solution, f"{where}: a line '*What it showed:* …'"),
    )


def _part(pattern: str, text: str, missing: str) -> str:
    found = re.search(pattern, text, re.DOTALL)
    if not found:
        raise InvalidInput(f"{missing} is missing")
    return found[1].strip()
