"""A plan stepped for real: what is reached stays reached, and who begins again gives up what was begun before."""

from dataclasses import replace

import pytest

from labkit import runtime
from labkit.errors import Conflict, InvalidInput, LabError
from labkit.lessons import busybox_root
from labkit.linux import cgroups, processes
from labkit.runtime import defaults, stepping
from labkit.runtime.steps.birth import Clone, JoinNamespaces
from labkit.runtime.steps.execution import Exec
from labkit.runtime.steps.filesystem import PivotRoot
from labkit.runtime.steps.identity import DropBounding
from labkit.runtime.steps.machine import SetHostname


@pytest.fixture
def plan(tmp_path):
    """``plan("sleep", "1000")``: a plan named labkit-test-step with its state in this test's directory."""
    busybox_root(str(tmp_path / "rootfs"))

    def make(*args):
        base = defaults.spec()
        process = replace(base.process, args=args, terminal=False)
        (tmp_path / "config.json").write_text(defaults.text(replace(base, process=process, hostname="stepped")))
        return runtime.plan(str(tmp_path), "labkit-test-step", root=str(tmp_path / "state"))

    yield make
    for session in stepping.sessions():
        session.abandon()
    assert runtime.containers(str(tmp_path / "state")) == []


def test_reach_applies_all_up_to_the_step_and_not_one_more(plan):
    made = plan("sleep", "1000")
    done = made.reach(SetHostname)
    assert isinstance(done.step, SetHostname)
    assert done.changes == ("host name is now stepped",)
    assert made.history[-1] is done
    assert made.next is made.steps[len(made.history)]


def test_what_is_reached_is_not_applied_again(plan):
    made = plan("sleep", "1000")
    done = made.reach(PivotRoot)
    assert made.reach(PivotRoot) is done
    assert isinstance(made.reach(Clone).step, Clone)
    assert made.history[-1] is done


def test_a_step_that_the_plan_does_not_have_cannot_be_reached(plan):
    made = plan("true")
    with pytest.raises(InvalidInput, match="no step JoinNamespaces"):
        made.reach(JoinNamespaces)
    assert made.history == ()


def test_at_birth_the_namespaces_are_another_and_the_host_keeps_its_own(plan):
    changes = plan("true").reach(Clone).changes
    kinds = [change.split()[1] for change in changes if change.startswith("another ")]
    assert sorted(kinds) == ["ipc", "mnt", "net", "pid", "uts"]
    assert "network is now lo (down)" in changes


def test_pivot_root_takes_every_mount_of_the_host_out_of_the_table(plan):
    done = plan("true").reach(PivotRoot)
    assert "− every mount of the host" in done.changes
    assert "/" in [target for target, _ in done.after.mounts.values()]
    assert all(target.startswith(("/proc", "/dev", "/sys")) or target == "/" for target, _ in done.after.mounts.values())


def test_the_bounding_set_shrinks(plan):
    assert plan("true").reach(DropBounding).changes == ("bounding set is now AUDIT_WRITE, KILL, NET_BIND_SERVICE",)


def test_the_last_step_is_the_program_and_then_there_is_none(plan):
    made = plan("sleep", "1000")
    assert made.reach(Exec).changes == ("program is now sleep",)
    assert made.next is None
    with pytest.raises(Conflict, match="applied to its end"):
        made.step()


def test_finish_applies_the_rest_and_the_plan_is_as_new(plan):
    made = plan("hostname")
    made.reach(PivotRoot)
    assert made.finish().stdout == "stepped\n"
    assert made.history == ()
    assert made.finish().stdout == "stepped\n"


def test_what_is_abandoned_half_way_leaves_nothing(plan):
    made = plan("sleep", "1000")
    pid = made.reach(PivotRoot).after.pid
    made.abandon()
    assert not processes.alive(pid)
    assert not cgroups.Cgroup("labkit/labkit-test-step").exists()
    assert made.history == ()


def test_a_second_plan_of_the_same_id_gives_up_what_the_first_has_begun(plan):
    first, second = plan("sleep", "1000"), plan("sleep", "1000")
    pid = first.reach(PivotRoot).after.pid
    second.reach(Clone)
    assert not processes.alive(pid)
    assert first.history == ()


def test_if_init_is_killed_the_next_step_says_so_and_nothing_is_left(plan):
    made = plan("sleep", "1000")
    processes.send(made.reach(PivotRoot).after.pid, 9)
    with pytest.raises(LabError, match="was killed"):
        made.step()
    assert made.history == ()
    assert not cgroups.Cgroup("labkit/labkit-test-step").exists()
