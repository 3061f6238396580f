"""Results of a comparison: figures in words, tables and JSON."""

from __future__ import annotations

import json

import pytest

from labkit.errors import NotFound
from labkit.lab.comparison.results import Result, Row, Series, times, told


def result(*rows: Row) -> Result:
    return Result("busybox", 3, False, "emulated (TCG)", {"kernel": "6.1"}, (("kernel", "6.18", "6.1"),), rows)


START = Row("start", "first output", "s", Series((0.03, 0.01, 0.02)), Series((2.0, 1.0, 9.0)))
FIT = Row("density", "fit", "", Series((800.0,)), Series((100.0,)), True, "a note", True)


def test_the_median_is_not_moved_by_one_bad_run() -> None:
    assert (START.container.median, START.machine.median, START.machine.range) == (0.02, 2.0, (1.0, 9.0))
    assert START.ratio == 100


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (1.5, "s", "1.5 s"), (0.0123, "s", "12.3 ms"), (7.05e-8, "s", "70.5 ns"), (0, "s", "0 s"), (214 << 20, "bytes", "214 MiB"),
        (0, "bytes", "0 B"), (812, "bytes", "812 B"), (2.5 * (1 << 30), "bytes/s", "2.5 GiB/s"), (7641.4, "", "7,641"), (12, "", "12"),
    ],
)  # fmt: skip
def test_values_are_told_with_three_digits_and_a_fitting_unit(value: float, unit: str, words: str) -> None:
    assert told(value, unit) == words


@pytest.mark.parametrize(
    ("ratio", "words"), [(130.4, "× 130"), (9.96, "× 10"), (5.83, "× 5.8"), (1, "× 1"), (0.1, "÷ 10"), (0, "÷ ∞"), (float("inf"), "× ∞")]
)
def test_ratios_are_told_with_two_digits_whichever_way_round(ratio: float, words: str) -> None:
    assert times(ratio) == words


def test_what_was_not_measured_is_marked_in_the_table() -> None:
    lines = result(START, FIT).table().splitlines()
    assert lines[1].split() == [
        "first",
        "output",
        "20",
        "ms",
        "(10",
        "ms",
        "…",
        "30",
        "ms)",
        "2",
        "s",
        "(1",
        "s",
        "…",
        "9",
        "s)",
        "×",
        "100",
    ]
    assert lines[2].endswith("÷ 8 *")
    assert "* worked out from few, not measured" in lines
    assert lines[-1] == "The virtual machine: emulated (TCG)."


def test_json_has_every_value_and_what_it_was_measured_with() -> None:
    data = json.loads(json.dumps(result(START, FIT).encoded()))
    assert data["rows"][0]["machine"] == {"median": 2.0, "min": 1.0, "max": 9.0, "values": [2.0, 1.0, 9.0]}
    assert (data["kvm"], data["rows"][1]["extrapolated"], data["host"]) == (False, True, {"kernel": "6.1"})
    assert {"what", "figure", "source"} == set(data["published"][0])


def test_a_ratio_to_nothing_is_none_in_json() -> None:
    nothing = Row("disk", "files", "bytes", Series((0.0,)), Series((5.0,)))
    assert nothing.ratio == float("inf")
    assert "Infinity" not in json.dumps(result(nothing).encoded())


def test_a_row_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(NotFound, match="there are start"):
        result(START).row("nosuch")
