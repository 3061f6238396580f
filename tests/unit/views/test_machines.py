"""The comparison as text, widget and figure, and what its button does."""

import threading

import pytest

from labkit.errors import LabError
from labkit.lab.comparison.experiment import Step
from labkit.lab.comparison.results import Result, Row, Series
from labkit.views.machines import Comparison

START = Row("start", "first output", "s", Series((0.01, 0.02, 0.03)), Series((2.0, 2.0, 2.0)), note="a <note>")
FIT = Row("density", "fit into this memory", "", Series((8000.0,)), Series((80.0,)), True, extrapolated=True)
RESULT = Result("busybox", 3, False, "emulated (TCG), there is no /dev/kvm", {}, (), (START, FIT))


def refused(_report):
    raise LabError("no kernel: `make setup`")


@pytest.fixture
def shown():
    return Comparison(lambda _report: RESULT, RESULT)


def test_nothing_is_measured_until_somebody_asks():
    view = Comparison(refused)
    assert str(view) == "nothing is measured yet"
    assert "nothing is measured yet" in view.html()
    view.figure()


def test_the_text_is_the_table_with_ratios_and_says_how_the_machine_ran(shown):
    lines = str(shown).splitlines()
    assert lines[1].startswith("first output")
    assert lines[1].endswith("× 100")
    assert lines[2].endswith("÷ 100 *")
    assert lines[-1] == "The virtual machine: emulated (TCG), there is no /dev/kvm."


def test_the_widget_tells_by_words_and_signs_what_it_tells_by_bars(shown):
    page = shown.html()
    assert "<span>20 ms</span><span>2 s</span>" in page
    assert "× 100" in page
    assert "÷ 100" in page
    assert "fit into this memory (worked out)" in page
    assert "a &lt;note&gt;" in page


def test_bars_go_from_the_middle_to_either_side(shown):
    page = shown.html()
    assert "left:50.0%;width:33.3%" in page
    assert "left:16.7%;width:33.3%" in page


def test_the_figure_says_that_it_was_emulated(shown):
    axes = shown.figure().axes[0]
    assert "EMULATED" in axes.get_title()
    assert {"first output", "20 ms  →  2 s  × 100"} <= {text.get_text() for text in axes.texts}


def test_measuring_shows_how_far_it_is():
    seen = []

    def experiment(report):
        report(Step(2, 9, "container 1 of 1"))
        seen.append(str(view).splitlines()[0])
        return RESULT

    view = Comparison(experiment)
    view.widget()
    assert view.measure() == RESULT
    assert seen == ["measuring, step 3 of 9: container 1 of 1 …"]
    assert "measuring" not in str(view)


def test_a_failure_is_shown_and_the_last_result_kept(shown):
    shown._experiment = refused
    assert shown.measure() == RESULT
    assert str(shown).splitlines()[0] == "no kernel: `make setup`"


def test_the_button_measures_beside_the_notebook_and_only_once_at_a_time():
    begun, go_on, calls = threading.Event(), threading.Event(), []

    def experiment(_report):
        calls.append(1)
        begun.set()
        assert go_on.wait(5)
        return RESULT

    view = Comparison(experiment)
    (measure,) = view.controls()
    measure.click()
    assert begun.wait(5)
    measure.click()
    assert view.measure() is None
    go_on.set()
    for thread in threading.enumerate():
        if thread.name == "comparison":
            thread.join(5)
    assert (calls, view.result) == ([1], RESULT)
