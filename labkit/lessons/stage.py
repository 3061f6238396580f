"""What a notebook may touch, and how it is put back.

    >>> lesson = lessons.begin("02-cgroups")
    >>> lesson
    02-cgroups: the stage is set and empty.
    >>> lesson.end()
    ✔ Nothing of lesson 02 is left: no process, no mount, no control group, no file.

Lesson 02 owns the control groups below ``labkit/02``, the directories ``/run/labkit/lessons/02`` (mount points) and
``/var/lib/labkit/lessons/02`` (data), the containers of the bundles in there, and the boxes that its kernel started.
``begin`` clears them of what an interrupted run left behind, so a notebook runs from any state. One kernel at a time holds
a lesson, by a lock that dies with it. ``labkit reset`` knows the same places.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from glob import glob

from labkit.errors import Conflict, LabError, NotFound, Unsupported
from labkit.lessons.evidence import boxes
from labkit.lessons.rootfs import busybox_root
from labkit.lessons.verdict import Verdict, failed, passed
from labkit.linux import cgroups, mounts, processes
from labkit.runtime import container, defaults, state, stepping
from labkit.runtime.spec import Spec

RUN = state.LESSONS
DATA = "/var/lib/labkit/lessons"
HOST_NAME = f"{RUN}/hostname"

_locks: dict[str, int] = {}
_endings: dict[str, list[Callable[[], None]]] = {}


class Lesson:
    """One notebook's place on the machine: ``run`` and ``data`` are its directories, ``groups`` its control group."""

    def __init__(self, notebook: str) -> None:
        self.notebook = notebook
        self.number = notebook[:2]
        self.run = f"{RUN}/{self.number}"
        self.data = f"{DATA}/{self.number}"
        self.groups = f"labkit/{self.number}"

    def __repr__(self) -> str:
        return f"{self.notebook}: the stage is set and empty."

    def fresh(self, name: str, *inside: str) -> tuple[str, ...]:
        """Empty directories ``inside`` the directory ``name`` of the lesson's data, whatever was there before, mounted or not."""
        place = f"{self.data}/{name}"
        _unmount_below(f"{place}/")
        shutil.rmtree(place, ignore_errors=True)
        made = tuple(f"{place}/{each}" for each in inside)
        for directory in made:
            os.makedirs(directory)
        return made

    def bundle(self, name: str, config: Spec) -> str:
        """A bundle, ``config.json`` and a busybox as ``rootfs``; the containers of a former one of that name are deleted."""
        place = f"{self.data}/{name}"
        self._delete_containers(place)
        (rootfs,) = self.fresh(name, "rootfs")
        busybox_root(rootfs)
        with open(f"{place}/config.json", "w") as file:
            file.write(defaults.text(config))
        return place

    def containers(self, bundle: str = "") -> tuple[str, ...]:
        """The ids of the containers that were made from this bundle, or from any of the lesson's."""
        return tuple(id for id in state.ids(RUN) if _is_below(state.load(RUN, id).bundle, bundle or self.data))

    def _delete_containers(self, bundle: str = "") -> None:
        for session in stepping.sessions():
            if _is_below(session.plan.container.bundle, bundle or self.data):
                session.abandon()
        for id in self.containers(bundle):
            container.delete(RUN, id, force=True)

    def at_end(self, action: Callable[[], None]) -> None:
        """Do this first when the lesson ends, or begins again in this process: what wants to be ended in an order of its own.

        It may fail, and need not come to be done at all: whatever is marked as the lesson's is found without it.
        """
        _endings.setdefault(self.number, []).append(action)

    def end(self) -> Verdict:
        """Take down all that the lesson made, and say what is left: nothing, or the name of what resists."""
        self._clear()
        left = self.remains()
        if left:
            return failed(f"Still there after the clean-up: {', '.join(left)}.", "`labkit reset` in a terminal.")
        _unlock(self.number)
        return passed(f"Nothing of lesson {self.number} is left: no process, no mount, no control group, no file.")

    def remains(self) -> tuple[str, ...]:
        """The names of what exists of this lesson: containers, processes, mounts, control groups, directories."""
        alive = [f"container {id}" for id in self.containers()]
        processes = [f"process {pid}" for pid in boxes()]
        mounted = [f"mount {target}" for target in _mounts_below(f"{self.run}/", f"{self.data}/")]
        groups = [f"control group {self.groups}"] if cgroups.Cgroup(self.groups).exists() else []
        files = [path for path in (self.run, self.data) if os.path.exists(path)]
        return (*alive, *processes, *mounted, *groups, *files)

    def _clear(self) -> None:
        """From the inside out: processes hold mounts and groups, mounts hold directories."""
        while _endings.get(self.number):
            with suppress(LabError):
                _endings[self.number].pop()()
        self._delete_containers()
        group = cgroups.Cgroup(self.groups)
        if group.exists():
            group.kill()  # first, for it can kill the frozen too
        for pid in boxes():
            with suppress(NotFound):
                _end(pid)
        group.delete()
        _unmount_below(f"{self.run}/", f"{self.data}/")
        for directory in (self.run, self.data):
            shutil.rmtree(directory, ignore_errors=True)


def begin(notebook: str) -> Lesson:
    """Take the lesson's place on this machine, cleared; ``Unsupported`` without root, ``Conflict`` if another kernel has it."""
    if os.geteuid() != 0:
        raise Unsupported("this notebook makes namespaces and mounts, which takes root: start the lab with `sudo make lab`")
    lesson = Lesson(notebook)
    _lock(lesson)
    lesson._clear()
    os.makedirs(lesson.run)
    os.makedirs(lesson.data)
    _remember_host_name()
    _find_our_commands()
    return lesson


def _lock(lesson: Lesson) -> None:
    """Hold the lesson until its end or that of this process; who holds it already may begin it anew."""
    file = f"{RUN}/{lesson.number}.lock"
    if lesson.number in _locks:
        if os.path.exists(file):
            return
        os.close(_locks.pop(lesson.number))  # `labkit reset` has taken the file away, and the lock with it
    os.makedirs(RUN, exist_ok=True)
    fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise Conflict(f"{lesson.notebook} runs in another kernel already: shut that one down first (Kernel → Shut Down Kernel)") from None
    _locks[lesson.number] = fd


def _unlock(number: str) -> None:
    """Let go of the lesson. The last to leave takes along what the lessons share: their directories, and labkit's empty group."""
    fd = _locks.pop(number, None)
    if fd is None:
        return
    with suppress(FileNotFoundError):
        os.unlink(f"{RUN}/{number}.lock")
    os.close(fd)
    if glob(f"{RUN}/*.lock") or state.ids(RUN) or _mounts_below(f"{RUN}/", f"{DATA}/"):
        return
    shutil.rmtree(RUN, ignore_errors=True)
    shutil.rmtree(DATA, ignore_errors=True)
    for directory in cgroups.directories("labkit", cgroups.detect()):
        with suppress(OSError):  # gone already, or in use
            os.rmdir(directory)


def _is_below(path: str, place: str) -> bool:
    return f"{path}/".startswith(f"{place}/")


def _mounts_below(*places: str) -> list[str]:
    """Where something is mounted in these directories, the last that was mounted first."""
    return [mount.target for mount in reversed(mounts.table()) if f"{mount.target}/".startswith(places)]


def _unmount_below(*places: str) -> None:
    for target in _mounts_below(*places):
        mounts.unmount(target, lazy=True)


def _end(pid: int) -> None:
    fd = processes.pidfd(pid)
    try:
        processes.send(pid, signal.SIGKILL)
        processes.wait(fd, 10)
    finally:
        os.close(fd)


def _remember_host_name() -> None:
    """An exercise of notebook 01 renames the machine if it is done wrong; this is how its check knows the true name."""
    name = os.uname().nodename
    if name != "student-7":
        with open(HOST_NAME, "w") as file:
            file.write(name)


def _find_our_commands() -> None:
    """Put this installation's ``labkit`` on the PATH of what a cell starts (``!labkit doctor``)."""
    ours = os.path.join(sys.prefix, "bin")
    path = os.environ.get("PATH", os.defpath).split(os.pathsep)
    if ours not in path:
        os.environ["PATH"] = os.pathsep.join([ours, *path])
