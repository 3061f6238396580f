"""``linux.resources``: what a limit becomes in the files of the container's control group, in version 1 or 2."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import pytest

from labkit.linux import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from conftest import Container, Runtime

MB = 1 << 20
with open("/proc/partitions") as table:
    DISK = ":".join(table.read().split("\n")[2].split()[:2])
MAJOR, MINOR = map(int, DISK.split(":"))
THROTTLE = [{"major": MAJOR, "minor": MINOR, "rate": MB}]

# A part of linux.resources, and the file and value of it in version 1, and in version 2.
LIMITS = [
    ({"memory": {"limit": 64 * MB}}, ("memory.limit_in_bytes", f"{64 * MB}"), ("memory.max", f"{64 * MB}")),
    ({"memory": {"limit": -1}}, ("memory.limit_in_bytes", "9223372036854771712"), ("memory.max", "max")),
    ({"memory": {"reservation": 32 * MB}}, ("memory.soft_limit_in_bytes", f"{32 * MB}"), ("memory.low", f"{32 * MB}")),
    ({"memory": {"limit": 64 * MB, "swap": 96 * MB}}, ("memory.memsw.limit_in_bytes", f"{96 * MB}"), ("memory.swap.max", f"{32 * MB}")),
    ({"pids": {"limit": 42}}, ("pids.max", "42"), ("pids.max", "42")),
    ({"pids": {"limit": -1}}, ("pids.max", "max"), ("pids.max", "max")),
    ({"cpu": {"quota": 50000, "period": 200000}}, ("cpu.cfs_quota_us", "50000"), ("cpu.max", "50000 200000")),
    ({"cpu": {"quota": 50000, "period": 200000}}, ("cpu.cfs_period_us", "200000"), ("cpu.max", "50000 200000")),
    ({"cpu": {"quota": -1, "period": 200000}}, ("cpu.cfs_quota_us", "-1"), ("cpu.max", "max 200000")),
    ({"cpu": {"shares": 512}}, ("cpu.shares", "512"), ("cpu.weight", "20")),
    ({"cpu": {"cpus": "0", "mems": "0"}}, ("cpuset.cpus", "0"), ("cpuset.cpus", "0")),
    ({"cpu": {"cpus": "0", "mems": "0"}}, ("cpuset.mems", "0"), ("cpuset.mems", "0")),
    (
        {"blockIO": {"throttleReadBpsDevice": THROTTLE}},
        ("blkio.throttle.read_bps_device", f"{DISK} {MB}"),
        ("io.max", f"{DISK} rbps={MB} wbps=max riops=max wiops=max"),
    ),
    (
        {"blockIO": {"throttleWriteIOPSDevice": THROTTLE}},
        ("blkio.throttle.write_iops_device", f"{DISK} {MB}"),
        ("io.max", f"{DISK} rbps=max wbps=max riops=max wiops={MB}"),
    ),
]


@pytest.mark.parametrize(("resources", "one", "two"), LIMITS, ids=[f"{limit} {one[0]}" for limit, one, _ in LIMITS])
def test_a_limit_is_in_force(
    container: Callable[..., Container], resources: Mapping[str, object], one: tuple[str, str], two: tuple[str, str]
) -> None:
    box = container({f"linux.resources.{name}": value for name, value in resources.items()}).created()
    first = any(os.path.exists(f"{directory}/{one[0]}") for directory in box.cgroups())
    name, value = one if first else two
    assert box.cgroup_file(name) == value


def test_the_process_and_what_it_starts_are_in_the_group(container: Callable[..., Container]) -> None:
    box = container({}, "sh", "-c", "sleep infinity & echo; wait").started()
    box.line()
    for directory in box.cgroups():
        with open(f"{directory}/cgroup.procs") as members:
            assert str(box.pid) in (found := members.read().split()) and len(found) == 2
    assert len(box.cgroups()) > 0


def test_the_container_sees_its_own_group_mounted(container: Callable[..., Container], runtime: Runtime) -> None:
    kinds = ["pid", "network", "ipc", "uts", "mount"]
    if runtime.name == "runc" and cgroups.detect().mode == "v2":
        kinds.append("cgroup")  # without it runc mounts all of a version 2 tree
    box = container({"linux.resources.pids": {"limit": 42}, "linux.namespaces": [{"type": kind} for kind in kinds]}).started()
    assert box.inside("cat /sys/fs/cgroup/pids/pids.max 2> /dev/null || cat /sys/fs/cgroup/pids.max") == "42"


def test_without_a_path_the_group_is_named_after_the_container(container: Callable[..., Container]) -> None:
    box = container({"linux.cgroupsPath": ""}, "cat", "/proc/self/cgroup")
    assert all(line.endswith((f"/{box.id}", ":/")) for line in box.run().out.split())
