"""A lesson's place on the machine: taken, cleared of what an interrupted run left, and given back."""

import os
import signal
import subprocess
import sys

import pytest

from labkit import lessons
from labkit.errors import Conflict, Unsupported
from labkit.lessons import evidence, stage
from labkit.linux import cgroups, mounts, namespaces

NOTEBOOK = "98-test"

# A notebook's kernel in the middle of its work: a box in a group, frozen, and a mount; then it waits.
KERNEL = f"""
import sys
from labkit import lessons
from labkit.linux import cgroups, mounts, namespaces
lesson = lessons.begin({NOTEBOOK!r})
box = namespaces.new("pid", "mnt")
group = cgroups.create(lesson.groups + "/deep/down")
group.add(box.pid)
group.freeze()
mounts.mount("tmpfs", *lesson.fresh("place", "mounted"), "tmpfs")
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def lesson():
    lesson = lessons.begin(NOTEBOOK)
    yield lesson
    lesson.end()


@pytest.fixture
def other_kernel():
    kernel = subprocess.Popen([sys.executable, "-c", KERNEL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert kernel.stdout.readline() == "ready\n"
    yield kernel
    kernel.kill()
    kernel.wait()
    kernel.stdin.close()
    kernel.stdout.close()


def test_a_lesson_begins_with_empty_directories_of_its_own(lesson):
    assert os.listdir(lesson.run) == os.listdir(lesson.data) == []
    assert repr(lesson) == "98-test: the stage is set and empty."


def test_its_end_takes_down_processes_groups_mounts_and_files(lesson):
    with namespaces.new("uts") as box:
        group = cgroups.create(f"{lesson.groups}/a/b")
        group.add(box.pid)
        mounts.mount("tmpfs", *lesson.fresh("place", "mounted"), "tmpfs")
        assert len(lesson.remains()) == 5
        verdict = lesson.end()
    assert verdict and repr(verdict).startswith("✔ Nothing of lesson 98 is left")
    assert lesson.remains() == ()


def test_its_end_names_what_it_could_not_take_down(lesson, monkeypatch):
    monkeypatch.setattr(lesson, "_clear", lambda: None)
    verdict = lesson.end()
    assert not verdict and lesson.run in verdict.seen and "labkit reset" in verdict.next


def test_ending_twice_does_no_harm(lesson):
    assert lesson.end() and lesson.end()


def test_beginning_again_in_the_same_kernel_starts_from_an_empty_stage(lesson):
    mounts.mount("tmpfs", *lesson.fresh("place", "mounted"), "tmpfs")
    again = lessons.begin(NOTEBOOK)
    assert os.listdir(again.data) == []


def test_a_second_kernel_is_refused_while_the_first_one_runs(other_kernel):
    with pytest.raises(Conflict, match="runs in another kernel already"):
        lessons.begin(NOTEBOOK)
    other_kernel.send_signal(signal.SIGKILL)
    other_kernel.wait()
    lessons.begin(NOTEBOOK).end()


def test_a_kernel_that_was_killed_leaves_nothing_that_the_next_run_does_not_clear(other_kernel):
    other_kernel.send_signal(signal.SIGKILL)
    other_kernel.wait()
    lesson = lessons.begin(NOTEBOOK)
    assert not cgroups.Cgroup(lesson.groups).exists()
    assert not [mount for mount in mounts.table() if mount.target.startswith(lesson.data)]
    assert lesson.end()


def test_the_last_lesson_to_end_takes_the_shared_directories_along(lesson):
    other = lessons.begin("97-other")
    lessons.busybox_root()
    lesson.end()
    assert os.path.isdir(stage.DATA + "/busybox")
    other.end()
    assert not os.path.exists(stage.DATA) and not os.path.exists(stage.RUN)


def test_fresh_directories_are_empty_whatever_was_there(lesson):
    (place,) = lesson.fresh("place", "a/b")
    mounts.mount("tmpfs", place, "tmpfs")
    open(f"{place}/file", "w").close()
    assert lesson.fresh("place", "a/b", "c") == (place, f"{lesson.data}/place/c")
    assert os.listdir(place) == [] and mounts.at(place) is None


def test_without_root_it_says_how_to_start_the_lab(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Unsupported, match="make lab"):
        lessons.begin(NOTEBOOK)


def test_a_cell_finds_the_labkit_of_this_installation(lesson, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    lessons.begin(NOTEBOOK)
    found = subprocess.run("command -v labkit", shell=True, capture_output=True, text=True).stdout.strip()
    assert found == os.path.join(sys.prefix, "bin", "labkit")


def test_the_host_name_that_an_exercise_changes_is_remembered_from_before(lesson, monkeypatch):
    monkeypatch.setattr(os, "uname", lambda: type("uname", (), {"nodename": "student-7"}))
    lessons.begin(NOTEBOOK)
    with open(stage.HOST_NAME) as file:
        assert file.read() != "student-7"


def test_the_family_is_everything_that_was_started_here_however_deep():
    with subprocess.Popen(["sh", "-c", "sleep 1000 & echo $!; wait"], stdout=subprocess.PIPE, text=True) as shell:
        sleeper = int(shell.stdout.readline())
        family = evidence.family()
        assert shell.pid in family and sleeper in family and os.getpid() not in family
        os.kill(sleeper, signal.SIGKILL)


def test_boxes_are_those_of_the_family_with_a_namespace_of_their_own():
    with namespaces.new("uts") as box, subprocess.Popen(["cat"], stdin=subprocess.PIPE) as plain:
        assert box.pid in evidence.boxes() and box.pid in evidence.boxes("uts")
        assert box.pid not in evidence.boxes("net") and box.pid not in evidence.boxes("uts", "net")
        assert plain.pid not in evidence.boxes()
