"""What the notebooks need beside labkit itself: a stage, exercises with checks, words, a small root file system.

    >>> from labkit import lessons
    >>> from labkit.lessons import check
    >>> lesson = lessons.begin("01-namespaces")      # the notebook's place on this machine, cleared
    >>> check("namespaces.own-hostname")             # after an exercise: reads the kernel, not the answer
    >>> lesson.end()                                 # takes down whatever the notebook made

A check lives here and not in a cell, so that nobody deletes it. It looks for its evidence in procfs, mountinfo and
cgroupfs, below this notebook's own kernel: how a student got there, with labkit or with a shell, is all the same to it.
"""

from __future__ import annotations

from importlib import import_module

from labkit.errors import NotFound
from labkit.lessons.bundles import config
from labkit.lessons.rootfs import busybox_root
from labkit.lessons.stage import Lesson, begin
from labkit.lessons.verdict import Verdict

__all__ = ["Lesson", "Verdict", "begin", "busybox_root", "check", "checks", "config"]

# One file each, beside this one.
_TOPICS = ("start", "namespaces", "cgroups", "unions", "containers", "images", "machines", "commands", "networks", "nginx")


def check(name: str) -> Verdict:
    """Look at the machine and say whether the exercise ``name`` ("namespaces.own-hostname") is done."""
    topic, _, exercise = name.partition(".")
    if topic in _TOPICS:
        found = import_module(f"labkit.lessons.{topic}").CHECKS.get(exercise)
        if found is not None:
            verdict: Verdict = found()
            return verdict
    raise NotFound(f"no check {name!r}; there are {', '.join(checks())}")


def checks() -> tuple[str, ...]:
    """The names of all checks."""
    return tuple(f"{topic}.{name}" for topic in _TOPICS for name in import_module(f"labkit.lessons.{topic}").CHECKS)
