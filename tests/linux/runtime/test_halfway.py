"""A container's birth cut short after each of its steps in turn: by the death of init, of the builder, of all who watch over it.

Each time the error can be understood, and nothing is left: no process, cgroup, mount, link or state. The fixtures look.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from labkit import runtime
from labkit.errors import LabError
from labkit.linux import cgroups, processes
from labkit.runtime import client, container, state
from labkit.runtime.client import Job
from labkit.runtime.plans import Plan
from labkit.runtime.spawner import Request
from labkit.runtime.steps.filesystem import MountRoot

Bundle = Callable[..., str]

IDS = [{"containerID": 0, "hostID": 100000, "size": 65536}]
EVERYTHING = {
    "linux.namespaces": [{"type": kind} for kind in ("cgroup", "ipc", "mount", "network", "pid", "user", "uts", "time")],
    "linux.uidMappings": IDS,
    "linux.gidMappings": IDS,
    "linux.timeOffsets": {"boottime": {"secs": 60}},
    "linux.sysctl": {"net.ipv4.ip_forward": "1"},
    "linux.seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]},
    "linux.resources.memory": {"limit": 1 << 26},
    "process.terminal": True,
    "process.oomScoreAdj": 500,
    "process.user": {"uid": 7, "gid": 8},
    "mounts+": {"destination": "/data", "source": "/usr", "options": ["rbind"]},
    "hooks": {moment: [{"path": "/bin/true"}] for moment in ("createRuntime", "createContainer", "startContainer")},
}
BUNDLES = {"default": {}, "everything": EVERYTHING}


@pytest.fixture(params=["default", "everything", "overlay"])
def plan(request: pytest.FixtureRequest, bundle: Bundle, root: str) -> Callable[[], Plan]:
    """``plan()``: a new plan of the same container, each time under a new id."""
    path = bundle(BUNDLES.get(request.param, {}), "sleep", "infinity")
    os.mkdir(f"{path}/rootfs/data")
    mounted: tuple[MountRoot, ...] = ()
    if request.param == "overlay":
        os.rename(f"{path}/rootfs", f"{path}/lower")
        for name in ("rootfs", "upper", "work"):
            os.mkdir(f"{path}/{name}")
        layers = (f"lowerdir={path}/lower", f"upperdir={path}/upper", f"workdir={path}/work")
        mounted = (MountRoot("overlay", "overlay", f"{path}/rootfs", layers),)
    return lambda: runtime.plan(path, root=root, rootfs=mounted)


def crew() -> tuple[int, int]:
    """The monitor and the builder that wait for the next request."""
    assert client._running is not None
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        waiting = [(monitor, processes.children(monitor)) for monitor in processes.children(client._running[2].pid)]
        if len(waiting) == 1 and len(waiting[0][1]) == 1:
            return waiting[0][0], waiting[0][1][0]
    raise AssertionError(f"no single monitor waits: {waiting}")


class Birth:
    """A plan that is applied up to some step, and those who do it."""

    def __init__(self, plan: Plan, steps: int) -> None:
        self.plan, self.steps = plan, steps
        self.monitor, self.builder = crew()
        self.job = Job(Request(plan, stepped=True, remove=True))
        self.job.hear("applied")
        for done in range(steps):
            self.job.say("step")
            self.job.hear("created" if done == len(plan) - 1 else "applied")
        self.init = self.job.pid

    @property
    def runs(self) -> bool:
        """Whether all steps are done, so that the program runs and the builder is gone."""
        return self.steps == len(self.plan)

    def kill(self, *pids: int) -> None:
        """Kill these at the same moment, and wait until they are dead."""
        pidfds = [os.pidfd_open(pid) for pid in pids]
        for pidfd in pidfds:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        for pidfd in pidfds:
            assert processes.wait(pidfd, 10)
            os.close(pidfd)

    def goes_on(self) -> int:
        """Take the rest of the steps, and wait for the end: the exit code."""
        if not self.runs:
            self.job.say("rest")
        return self.job.finish().code

    def ends(self, pid: int) -> None:
        """Wait for the end of one of them."""
        try:
            pidfd = processes.pidfd(pid)
        except LabError:
            return  # it has ended
        assert processes.wait(pidfd, 10)
        os.close(pidfd)

    def nothing_is_left(self) -> None:
        last = str(self.plan[self.steps - 1]) if self.steps else "nothing"
        assert state.ids(self.plan.root) == [], f"after {last}"
        assert not cgroups.Cgroup(self.plan.container.cgroup).exists(), f"after {last}"
        assert not self.init or not processes.alive(self.init), f"after {last}"


def births(plan: Callable[[], Plan]) -> Iterator[Birth]:
    """The birth stopped before the first step, after it, after the second, … and when the program runs."""
    for steps in range(len(plan()) + 1):
        birth = Birth(plan(), steps)
        yield birth
        birth.job.close()


def test_init_is_killed(plan: Callable[[], Plan]) -> None:
    for birth in births(plan):
        if not birth.init:
            birth.job.close()  # it is not born yet
        else:
            birth.kill(birth.init)
            if birth.runs:
                assert birth.goes_on() == 137
            else:
                with pytest.raises(LabError, match=f"container {birth.plan.id}: .*killed"):
                    birth.goes_on()
        birth.ends(birth.monitor)
        birth.nothing_is_left()


def test_whoever_asked_goes_away(plan: Callable[[], Plan]) -> None:
    for birth in births(plan):
        birth.job.close()
        if birth.runs:
            assert processes.alive(birth.init)  # the program goes on without us, until somebody ends it
            container.destroy_all(birth.plan.root)
        birth.ends(birth.monitor)
        birth.nothing_is_left()


def test_the_builder_is_killed(plan: Callable[[], Plan]) -> None:
    for birth in births(plan):
        if birth.runs:
            container.delete(birth.plan.root, birth.plan.id, force=True)  # the builder has done its work
        else:
            birth.kill(birth.builder)
            with pytest.raises((LabError, BrokenPipeError), match=r"killed|Broken pipe"):
                birth.goes_on()
        birth.ends(birth.monitor)
        birth.nothing_is_left()


def test_the_monitor_is_killed(plan: Callable[[], Plan]) -> None:
    for birth in births(plan):
        birth.kill(birth.monitor)
        if birth.runs:
            assert processes.alive(birth.init)  # the program goes on without its monitor, and whoever waits for it is told
            container.destroy_all(birth.plan.root)
        with pytest.raises(LabError, match="monitor was killed"):
            birth.goes_on()
        birth.ends(birth.builder)
        birth.nothing_is_left()


def test_the_monitor_and_the_builder_are_killed_and_another_cleans_up(plan: Callable[[], Plan]) -> None:
    for birth in births(plan):
        birth.kill(birth.monitor, *([] if birth.runs else [birth.builder]))
        container.destroy_all(birth.plan.root)
        birth.nothing_is_left()


def test_all_are_killed_and_the_next_run_of_the_same_name_copes(bundle: Bundle, root: str) -> None:
    """As when a notebook's kernel dies with its containers: what is there is told, deleted by force, and the name is free again."""
    path = bundle({}, "sleep", "infinity")
    for steps in range(len(runtime.plan(path)) + 1):
        birth = Birth(runtime.plan(path, "box", root=root), steps)
        birth.kill(birth.monitor, *([] if birth.runs else [birth.builder]), *([birth.init] if birth.init else []))
        birth.job.close()
        if "box" in state.ids(root):
            with pytest.raises(LabError, match="container box: there is one of that id"):
                runtime.create(path, "box", root=root)
        container.delete(root, "box", force=True)
        with runtime.create(path, "box", root=root) as box:
            box.start()
            assert box.status == "running"
