"""The checks of notebook 08: the starter fails, the solution passes, a plausible wrong answer fails; and both sides come and go."""

import os

import pytest

from labkit import lessons
from labkit.lessons import check, machines
from labkit.linux import cgroups, processes


@pytest.fixture
def lesson():
    begun = lessons.begin("08-vm-or-container")
    yield begun
    machines.close()
    assert begun.end(), begun.remains()


@pytest.fixture
def both(lesson):
    return machines.start(lesson)


def test_without_the_two_sides_every_check_says_how_to_get_them(lesson):
    for name in machines.CHECKS:
        verdict = check(f"machines.{name}")
        assert not verdict
        assert "run the first cell again" in verdict.next


def test_a_module_goes_into_a_kernel_of_ones_own(both):
    assert not check("machines.module")
    assert both.container.run("insmod", "/dummy.ko").code != 0  # the wrong answer
    assert not check("machines.module")
    assert both.machine.run("insmod", "/dummy.ko").code == 0
    assert check("machines.module")


def test_the_whole_machine_is_one_process_and_not_the_containers(both):
    assert "no process" in check("machines.leash").seen
    with cgroups.create(machines.LEASH) as leash:
        leash.add(both.container.pid)
        assert "first process of the container" in check("machines.leash").seen
        leash.add(both.machine.pid)
        assert check("machines.leash")


def test_another_process_on_the_leash_is_none_of_these(both):
    pid = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "100")
    try:
        with cgroups.create(machines.LEASH) as leash:
            leash.add(pid)
            assert "not the virtual machine" in check("machines.leash").seen
            leash.kill()
    finally:
        os.waitpid(pid, 0)


def test_so_many_containers_as_fit_and_neither_two_nor_hundreds(both):
    assert not check("machines.density")
    both.more(2)
    assert "room for more" in check("machines.density").seen
    both.more(10)
    assert check("machines.density")
    both.more(0)
    assert not check("machines.density")


def test_what_is_started_again_takes_the_place_of_what_was(lesson, both):
    before = [both.container.pid, both.machine.pid]
    again = machines.start(lesson)
    assert not any(map(processes.alive, before))
    assert again.container.run("true").code == 0


def test_the_lesson_can_be_begun_anew_while_both_run(lesson):
    pid = machines.start(lesson).machine.pid
    machines.close()
    lessons.begin("08-vm-or-container")
    assert not processes.alive(pid)
    assert os.listdir(lesson.data) == []
