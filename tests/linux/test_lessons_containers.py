"""Containers of a lesson: made from its bundles, and gone with it."""

import os

import pytest

from labkit import lessons, runtime
from labkit.errors import NotFound
from labkit.lessons import config
from labkit.linux import processes
from labkit.runtime import stepping
from labkit.runtime.steps.filesystem import PivotRoot


@pytest.fixture
def lesson():
    begun = lessons.begin("04-a-container-from-parts")
    yield begun
    assert begun.end(), begun.remains()


def test_a_bundle_runs(lesson):
    assert runtime.run(lesson.bundle("hello", config("hostname", hostname="hello"))).stdout == "hello\n"


def test_a_bundle_of_the_same_name_takes_the_place_of_the_former_and_of_its_containers(lesson):
    first = runtime.create(lesson.bundle("one", config("sleep", "infinity")), "lk-one")
    other = runtime.create(lesson.bundle("two", config("sleep", "infinity")), "lk-two")
    pid = first.pid
    open(f"{lesson.data}/one/rootfs/old", "w").close()
    lesson.bundle("one", config("sleep", "infinity"))
    assert not processes.alive(pid)
    assert lesson.containers() == ("lk-two",)
    assert not os.path.exists(f"{lesson.data}/one/rootfs/old")
    assert other.status == "created"


def test_a_birth_that_was_stopped_half_way_is_given_up_with_its_bundle_alone(lesson):
    here = runtime.plan(lesson.bundle("here", config("sleep", "infinity")), "lk-here")
    there = runtime.plan(lesson.bundle("there", config("sleep", "infinity")), "lk-there")
    for plan in here, there:
        plan.reach(PivotRoot)
    lesson.bundle("here", config("sleep", "infinity"))
    assert here.history == ()
    assert isinstance(there.history[-1].step, PivotRoot)


def test_the_end_of_a_lesson_is_the_end_of_its_containers(lesson):
    box = runtime.create(lesson.bundle("box", config("sleep", "infinity")), "lk-box")
    box.start()
    half = runtime.plan(lesson.bundle("half", config("sleep", "infinity")), "lk-half")
    pids = [box.pid, half.reach(PivotRoot).after.pid]
    assert [each for each in lesson.remains() if each.startswith("container")] == ["container lk-box", "container lk-half"]
    assert lesson.end()
    assert not any(map(processes.alive, pids))
    assert stepping.sessions() == ()
    with pytest.raises(NotFound):
        runtime.find("lk-box")


def test_a_lesson_that_begins_again_finds_an_empty_stage(lesson):
    runtime.create(lesson.bundle("box", config("sleep", "infinity")), "lk-box")
    lessons.begin("04-a-container-from-parts")
    assert lesson.containers() == ()
    assert os.listdir(lesson.data) == []


def test_the_state_of_a_container_from_elsewhere_is_kept_when_the_last_lesson_ends(lesson, tmp_path):
    lessons.busybox_root(str(tmp_path / "rootfs"))
    config_text = open(f"{lesson.bundle('box', config('sleep', 'infinity'))}/config.json").read()
    (tmp_path / "config.json").write_text(config_text)
    with runtime.create(str(tmp_path), "lk-other"):
        assert lesson.end()
        assert [each.id for each in runtime.containers()] == ["lk-other"]
