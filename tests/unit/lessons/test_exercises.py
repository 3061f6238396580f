"""Exercises are read from the notebooks, and every one of them has all its parts."""

import ast
import builtins
import json
from pathlib import Path

import pytest

from labkit import lessons
from labkit.errors import InvalidInput, NotFound
from labkit.lessons import exercises

NOTEBOOKS = sorted((Path(__file__).parents[3] / "notebooks").glob("*.ipynb"))
ALL = [(notebook, exercise) for notebook in NOTEBOOKS for exercise in exercises.read(str(notebook))]

TASK = "> **Exercise 9.1 · A thing** (5 min)\n>\n> Do it.\n>\n> *Predict:* what happens?"
AFTER = """<details><summary>Hint 1</summary>

look</details>
<details><summary>Hint 2</summary>

closer</details>
<details><summary>Solution</summary>

```python
kind = "uts"
```

*What it showed:* a lot.
</details>"""


def _notebook(path, *cells):
    path.write_text(json.dumps({"cells": [{"cell_type": kind, "source": source.splitlines(True)} for kind, source in cells]}))
    return str(path)


def test_an_exercise_is_read_with_all_its_parts(tmp_path):
    name = _notebook(tmp_path / "n.ipynb", ("code", "set = 1"), ("markdown", TASK), ("code", "kind = None"),
                     ("code", 'check("topic.a-thing")'), ("markdown", AFTER))  # fmt: skip
    assert exercises.stage(name) == "set = 1"
    (exercise,) = exercises.read(name)
    assert exercise == exercises.Exercise(
        "9.1", "A thing", "what happens?", "kind = None", "topic.a-thing", ("look", "closer"), 'kind = "uts"', "a lot."
    )


@pytest.mark.parametrize(
    ("broken", "missing"),
    [
        ((TASK.replace("Predict", "Guess"), 'check("t.x")', AFTER), "Predict"),
        ((TASK, "print()", AFTER), "check"),
        ((TASK, 'check("t.x")', AFTER.replace("Solution", "Answer")), "solution"),
        ((TASK, 'check("t.x")', AFTER.replace("showed", "said")), "showed"),
    ],
)
def test_a_missing_part_is_named(tmp_path, broken, missing):
    task, check, after = broken
    name = _notebook(tmp_path / "n.ipynb", ("markdown", task), ("code", ""), ("code", check), ("markdown", after))
    with pytest.raises(InvalidInput, match=rf"exercise 9\.1: .*{missing}"):
        exercises.read(name)


def test_cells_out_of_order_are_refused(tmp_path):
    name = _notebook(tmp_path / "n.ipynb", ("markdown", TASK), ("markdown", AFTER))
    with pytest.raises(InvalidInput, match="four cells"):
        exercises.read(name)


def test_each_check_belongs_to_one_exercise_and_each_exercise_to_a_check():
    assert sorted(exercise.check for _, exercise in ALL) == sorted(lessons.checks())


def test_an_unknown_check_names_those_that_exist():
    with pytest.raises(NotFound, match=r"namespaces\.own-hostname"):
        lessons.check("namespaces.no-such-check")


@pytest.mark.parametrize(("notebook", "exercise"), ALL, ids=[exercise.check for _, exercise in ALL])
def test_an_exercise_has_two_or_three_hints_and_one_blank(notebook, exercise):
    assert 2 <= len(exercise.hints) <= 3
    assert exercise.starter.count("←") == 1
    assert len(exercise.starter.splitlines()) <= 10


@pytest.mark.parametrize(("notebook", "exercise"), ALL, ids=[exercise.check for _, exercise in ALL])
def test_an_exercise_needs_the_stage_and_nothing_else(notebook, exercise):
    for source in (exercise.starter, exercise.solution):
        names = _names(exercises.stage(str(notebook)), ast.Store) | _names(source, ast.Store) | set(dir(builtins))
        assert _names(source, ast.Load) <= names


def _names(source, context):
    nodes = list(ast.walk(ast.parse(source)))
    found = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, context)}
    if context is ast.Store:
        found |= {alias.asname or alias.name for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names}
    return found
