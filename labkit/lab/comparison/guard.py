"""Nothing of a comparison outlives the process that makes it: containers do outlive an engine, so somebody must watch.

    python -m labkit.lab.comparison.guard PID START_TIME CGROUP DIRECTORY…      started by ``bench``

It waits for the end of that process, kills what is in the control group, waits for the monitors to see it, and removes the directories.
When the comparison ends as it should, there is nothing left to do, and the guard is sent away. Virtual machines need none: see
``labkit.vm.qemu``.
"""

from __future__ import annotations

import os
import shutil
import sys
import time

from labkit.errors import NotFound
from labkit.linux import cgroups, processes

_PATIENCE = 5.0


def main(pid: int, start_time: int, group: str, directories: list[str]) -> None:
    """Wait, and clean up."""
    try:
        owner = processes.pidfd(pid, start_time)
        processes.wait(owner)
    except NotFound:
        pass  # it has ended before we could look
    clear(group, directories)


def clear(group: str, directories: list[str]) -> None:
    """Kill all that is in the group and remove it; remove the directories once nothing writes there any more."""
    found = cgroups.Cgroup(group)
    deadline = time.monotonic() + _PATIENCE
    while found.exists() and time.monotonic() < deadline:
        found.kill()  # again, for a container may have been about to be born
        found.delete()
    for directory in directories:
        while os.path.isdir(directory) and time.monotonic() < deadline + _PATIENCE:
            shutil.rmtree(directory, ignore_errors=True)  # again, for a monitor writes down how its container ended


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
