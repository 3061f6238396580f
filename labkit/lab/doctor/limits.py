"""Control groups: which version serves each controller, and which limits this machine enforces, each set for real."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

from labkit.errors import LabError, Unsupported
from labkit.lab.doctor import Row, State, tried
from labkit.linux import cgroups, mounts
from labkit.linux.cgroups import IoLimit, Limits

GROUP = "labkit/doctor"
MIB = 1 << 20


def rows() -> Iterator[Row]:
    layout = cgroups.detect()
    yield _mode(layout)
    alone = not any(map(os.path.isdir, cgroups.directories("labkit", layout)))
    for name, controller, limits, needed in _limits():
        yield tried(name, lambda c=controller, wanted=limits: _set(layout, c, wanted), _remedy(controller, layout), needed)  # type: ignore[misc]
    yield tried("freezing", lambda: _freeze(layout), _remedy("freezer", layout))
    if alone and os.geteuid() == 0:
        cgroups.Cgroup("labkit").delete()


def _mode(layout: cgroups.Layout) -> Row:
    if not layout.controllers:
        return Row("cgroups", State.LACKING, "no hierarchy is mounted", "mount -t cgroup2 cgroup2 /sys/fs/cgroup")
    what = {"v1": "a tree for each controller", "v2": "one tree for all controllers", "hybrid": "trees of v1, and one of v2 beside them"}
    return Row("cgroups", State.FINE, f"{layout.mode}: {what[layout.mode]}")


def _limits() -> Iterator[tuple[str, str, Limits, bool]]:
    """What is set: the row's name, the controller, the limits, and whether the lab needs it."""
    cpu = str(min(os.sched_getaffinity(0)))
    yield "memory limit", "memory", Limits(memory=64 * MIB), True
    yield "swap limit", "memory", Limits(memory=64 * MIB, memory_swap=64 * MIB), False
    yield "cpu quota", "cpu", Limits(cpu_quota=50_000, cpu_period=100_000), True
    yield "cpu burst", "cpu", Limits(cpu_quota=50_000, cpu_period=100_000, cpu_burst=10_000), False
    yield "cpu weight", "cpu", Limits(cpu_weight=50), True
    yield "cpuset", "cpuset", Limits(cpus=cpu, mems="0"), True
    yield "process count", "pids", Limits(pids=20), True
    major, minor = _disk()
    yield "io limit", "io", Limits(io=(IoLimit(major, minor, read_bps=MIB),)), False
    yield "io weight", "io", Limits(io_weight=50), False


def _set(layout: cgroups.Layout, controller: str, limits: Limits) -> str:
    if controller not in layout.controllers:
        raise Unsupported(f"no hierarchy has the controller {controller}")
    group = cgroups.create(GROUP, limits, layout)
    group.delete()
    return _where(layout, controller)


def _freeze(layout: cgroups.Layout) -> str:
    group = cgroups.create(GROUP, layout=layout)
    try:
        child = os.fork()
        if child == 0:
            while True:
                signal.pause()
        group.add(child)
        group.freeze()
        if not group.frozen:
            raise LabError("the group was told to freeze, and did not")
        group.thaw()
    finally:
        group.kill()
        group.delete()
    return _where(layout, "freezer")


def _where(layout: cgroups.Layout, controller: str) -> str:
    found = layout.controllers[controller]
    return f"v{found.version} at {found.mountpoint}"


def _remedy(controller: str, layout: cgroups.Layout) -> str:
    if layout.mode == "v2":
        return f"boot without cgroup_disable={controller}" + (", and with swapaccount=1" if controller == "memory" else "")
    return f"mount -t cgroup -o {'blkio' if controller == 'io' else controller} …, or boot with version 2 (systemd does)"


def _disk() -> tuple[int, int]:
    """The numbers of the whole disk that holds /var/lib; limits are for disks, not for partitions."""
    device = mounts.holding("/var/lib").device
    path = os.path.realpath(f"/sys/dev/block/{device}")
    if os.path.exists(f"{path}/partition"):
        with open(f"{os.path.dirname(path)}/dev") as file:
            device = file.read().strip()
    major, _, minor = device.partition(":")
    return int(major), int(minor)
