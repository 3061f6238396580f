"""labkit and systemd on one tree of control groups: labkit has a group of its own beside the slices, and neither touches the other's."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.linux import cgroups
from labkit.linux.cgroups import Cgroup, Limits

pytestmark = pytest.mark.skipif(not os.path.isdir("/run/systemd/system"), reason="systemd is not this machine's init")
MIB = 1 << 20
LIMITS = Limits(memory=64 * MIB, memory_swap=64 * MIB, pids=20, cpu_quota=20_000, cpu_period=100_000, cpus="0")


@pytest.fixture
def group() -> Iterator[Cgroup]:
    with cgroups.create(f"labkit/test-{os.getpid()}-systemd/c1", LIMITS) as made:
        yield made
    cgroups.open(f"labkit/test-{os.getpid()}-systemd").delete()


def systemd(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, stdin=subprocess.DEVNULL)


def test_limits_and_processes_of_ours_outlast_what_systemd_does_with_its_own(group: Cgroup) -> None:
    pid = os.fork()
    if pid == 0:
        signal.pause()
    group.add(pid)
    before = group.limits_in_force()
    systemd("systemctl", "daemon-reload")  # it works out anew which controllers its units need, and switches the others off
    systemd("systemd-run", "--quiet", "--wait", "-p", "CPUQuota=50%", "-p", "MemoryMax=64M", "true")
    systemd("systemctl", "daemon-reload")
    assert group.limits_in_force() == before
    assert (before.memory, before.pids, before.cpu_quota, before.cpus) == (64 * MIB, 20, 20_000, "0")
    assert group.processes() == (pid,)
    group.kill()
    os.waitpid(pid, 0)


def test_a_group_of_ours_changes_no_slice_of_systemds(group: Cgroup) -> None:
    files = [file for root in tops() for slice in root.glob("*.slice") for name in ("max", "low") for file in slice.glob(f"memory.{name}")]
    limits = {file: file.read_text() for file in files}
    unit = f"labkit-test-{os.getpid()}.service"
    systemd("systemd-run", "--quiet", f"--unit={unit}", "-p", "TasksMax=33", "sleep", "infinity")
    try:
        group.limit(Limits(pids=7, memory=32 * MIB, memory_swap=32 * MIB))
        shown = subprocess.run(["systemctl", "show", "-P", "TasksMax", unit], check=True, capture_output=True, text=True).stdout
        (counted,) = {file.read_text() for root in tops() for file in root.glob(f"system.slice/{unit}/pids.max")}
        assert (shown.strip(), counted.strip()) == ("33", "33")
        assert {file: file.read_text() for file in files} == limits
    finally:
        systemd("systemctl", "stop", unit)


def tops() -> list[Path]:
    return [Path(top) for top in dict.fromkeys(each.mountpoint for each in cgroups.detect().controllers.values())]
