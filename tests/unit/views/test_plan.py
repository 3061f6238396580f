"""The stepper: what is done, what is next, what changed; and what its buttons do."""

from dataclasses import dataclass, replace

import pytest

from labkit.errors import LabError
from labkit.linux import namespaces
from labkit.linux.namespaces import Namespace
from labkit.runtime.plans import Plan, Step
from labkit.runtime.state import State
from labkit.runtime.stepping import Observation, Progress
from labkit.views.plan import Stepper

HOST = {"uts": Namespace("uts", 1), "mnt": Namespace("mnt", 2)}
INIT = Observation(7, "python3", {**HOST, "uts": Namespace("uts", 3)}, mounts={1: ("/", "ext4 (rw)")}, hostname="lab", user="0")


@dataclass(frozen=True)
class Named(Step):
    name: str
    man = "step(2)"

    def __str__(self):
        return self.name

    @property
    def why(self):
        return f"because of {self.name}"


class Rehearsal(Plan):
    """A plan whose steps change the host name in the record, and nothing else."""

    def __init__(self, *steps):
        super().__init__(State("box", "/b", "/b/rootfs", "labkit/box"), "/run", steps)
        self.applied = []
        self.trouble = None

    @property
    def history(self):
        return tuple(self.applied)

    def step(self):
        if self.trouble:
            self.applied = []
            raise self.trouble
        before = self.applied[-1].after if self.applied else INIT
        after = replace(before, hostname=str(len(self.applied)))
        self.applied.append(Progress(len(self.applied) + 1, len(self), self.next, before, after))
        return self.applied[-1]

    def abandon(self):
        self.applied = []


@pytest.fixture(autouse=True)
def notebook(monkeypatch):
    monkeypatch.setattr(namespaces, "of", lambda pid: HOST)


@pytest.fixture
def plan():
    return Rehearsal(*(Named(f"step {number}") for number in range(20)))


def press(view, label):
    buttons, _ = view.widget().children
    (found,) = (each for each in buttons.children if each.description == label)
    found.click()


def test_at_first_nothing_is_done_and_the_first_step_is_next(plan):
    lines = str(Stepper(plan)).splitlines()
    assert lines[0] == "box: 0 of 20 steps are done"
    assert lines[1] == "  ▶ container  step 0   ← next"
    assert lines[2] == "  · container  step 1"
    assert lines[-1] == "  … 9 later"


def test_next_step_applies_one_and_marks_it_as_done(plan):
    view = Stepper(plan)
    press(view, "Next step")
    assert len(plan.applied) == 1
    lines = str(view).splitlines()
    assert lines[:3] == ["box: 1 of 20 steps are done", "  ✔ container  step 0", "  ▶ container  step 1   ← next"]
    assert lines[-2:] == ["The last step changed:", "  host name is now 0"]


def test_the_window_follows_the_next_step(plan):
    view = Stepper(plan)
    for _ in range(10):
        view.step()
    lines = str(view).splitlines()
    assert lines[1:3] == ["  … 6 earlier", "  ✔ container  step 6"]
    assert "  ▶ container  step 10   ← next" in lines
    assert "  … 3 later" in lines


def test_run_the_rest_goes_on_to_the_program(plan):
    view = Stepper(plan)
    press(view, "Run the rest")
    assert plan.next is None
    assert str(view).startswith("box: 20 of 20 steps are done · the program runs\n  … 9 earlier\n")
    assert "▶" not in str(view)


def test_abandon_takes_all_back(plan):
    view = Stepper(plan)
    view.run()
    press(view, "Abandon")
    assert plan.applied == []
    assert str(view).startswith("box: 0 of 20")


def test_look_again_shows_what_a_cell_has_stepped_meanwhile(plan):
    view = Stepper(plan)
    plan.step()
    assert str(view).startswith("box: 0 of 20")
    press(view, "Look again")
    assert str(view).startswith("box: 1 of 20")


def test_a_failure_is_shown_and_the_next_press_begins_anew(plan):
    view = Stepper(plan)
    view.step()
    plan.trouble = LabError("mount <proc>: EPERM")
    press(view, "Next step")
    assert str(view).endswith("It failed, and is undone: mount <proc>: EPERM")
    _, picture = view.widget().children
    assert "mount &lt;proc&gt;: EPERM" in picture.value
    plan.trouble = None
    press(view, "Next step")
    assert str(view).endswith("host name is now 0")


def test_a_press_when_the_program_runs_is_no_error_of_the_notebook(plan):
    view = Stepper(plan)
    view.run()
    plan.trouble = LabError("the plan is applied to its end")
    view.step()
    assert "applied to its end" in str(view)


def test_the_buttons_come_first_and_in_the_order_of_use(plan):
    buttons, picture = Stepper(plan).widget().children
    assert [each.description for each in buttons.children] == ["Next step", "Run the rest", "Abandon", "Look again"]
    assert picture.value.startswith("<div")


def test_the_next_step_is_marked_by_sign_and_role_and_tells_its_why(plan):
    html = Stepper(plan).html()
    assert html.count("aria-current='step'") == 1
    row = next(row for row in html.split("<li") if "aria-current" in row)
    assert "▶" in row and "title='next'" in row and "because of step 0" in row and "step(2)" in row
    assert "because of step 1" not in html


def test_before_and_after_stand_beside_each_other_where_they_differ(plan):
    view = Stepper(plan)
    view.step()
    row = next(row for row in view.html().split("<tr>") if ">host name<" in row)
    assert row.index("lab") < row.index("→ 0")
    same = next(row for row in view.html().split("<tr>") if ">user<" in row)
    assert "colspan='2'" in same and "→" not in same


def test_the_namespaces_that_are_not_the_notebooks_are_named(plan):
    view = Stepper(plan)
    view.step()
    row = next(row for row in view.html().split("<tr>") if "of its own" in row)
    assert ">uts<" in row


def test_a_process_that_has_ended_has_no_state(plan):
    view = Stepper(plan)
    view.step()
    plan.applied[-1] = replace(plan.applied[-1], after=Observation(7, "(ended)"))
    view.refresh()
    assert "→ ended" in view.html()


def test_the_long_path_of_the_root_is_called_root_and_a_long_step_is_cut():
    view = Stepper(Rehearsal(Named("bind /b/rootfs on itself"), Named("x" * 100)))
    lines = str(view).splitlines()
    assert "bind ROOT on itself" in lines[1]
    assert lines[2].endswith("…") and len(lines[2]) < 95


def test_a_step_that_changes_nothing_visible_says_so(plan):
    plan.step = lambda: plan.applied.append(Progress(1, 20, plan[0], INIT, INIT))
    view = Stepper(plan)
    view.step()
    assert str(view).endswith("nothing that is looked at here")


def test_names_are_escaped():
    assert "<script>" not in Stepper(Rehearsal(Named("<script>"))).html()


def test_a_notebook_gets_the_text_beside_the_widget(plan):
    bundle = Stepper(plan)._repr_mimebundle_()
    assert bundle["text/plain"].startswith("box: 0 of 20")
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_the_figure_has_a_row_for_each_step_that_is_shown_and_the_changes(plan):
    view = Stepper(plan)
    view.step()
    figure = view.figure()
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words[0] == "box: 1 of 20 steps are done"
    assert {"step 0", "step 1", "✔", "▶", "host name is now 0"} <= set(words)
    assert figure._repr_png_().startswith(b"\x89PNG")
