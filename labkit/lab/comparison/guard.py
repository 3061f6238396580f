"""Nothing of a comparison outlives the process that makes it: containers do outlive an engine, so somebody must watch.

    python -m labkit.lab.comparison.guard PID START_TIME CGROUP DATA RUN      started by ``bench``

It waits for the end of that process, kills what is in the control group, and then takes the containers' networks and files away as their
engine would have. When the comparison ends as it should, there is nothing left to do, and the guard is sent away. Virtual machines need
none: see ``labkit.vm.qemu``.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from contextlib import suppress

from labkit.errors import LabError, NotFound
from labkit.linux import cgroups, processes

_PATIENCE = 5.0


def main(pid: int, start_time: int, group: str, data: str, run: str) -> None:
    """Wait, and clean up."""
    try:
        processes.wait(processes.pidfd(pid, start_time))
    except NotFound:
        pass  # it has ended before we could look
    kill(group)
    if os.path.isdir(data):
        with suppress(LabError):
            _take_over(group, data, run)
    clear(group, data, run)


def kill(group: str) -> None:
    """Kill all that is in the group, and remove it."""
    found = cgroups.Cgroup(group)
    deadline = time.monotonic() + _PATIENCE
    while found.exists() and time.monotonic() < deadline:
        found.kill()  # again, for a container may have been about to be born
        found.delete()


def clear(group: str, data: str, run: str) -> None:
    """Remove the group and the directories of a comparison, and those around them if they are empty."""
    kill(group)
    deadline = time.monotonic() + _PATIENCE
    for directory in (data, run):
        while os.path.isdir(directory) and time.monotonic() < deadline:
            shutil.rmtree(directory, ignore_errors=True)  # again, for a monitor writes down how its container ended
    for directory in (*map(os.path.dirname, (data, run)), *cgroups.directories(os.path.dirname(group), cgroups.detect())):
        with suppress(OSError):  # somebody else compares, too
            os.rmdir(directory)


def _take_over(group: str, data: str, run: str) -> None:
    """Be the engine once more, to remove the containers, and the bridge they were on."""
    from labkit.engine.engine import Engine

    with Engine(data, run, cgroup_parent=group) as engine:
        for container in engine.containers.list(all=True):
            container.remove(force=True)
        networks = engine.networks
        networks.fabric.raise_up(networks.subnet(networks.get("bridge")))  # what it has raised, it lowers when it is closed


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:6])
