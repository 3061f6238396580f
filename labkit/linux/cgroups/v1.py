"""Version 1: the files of each controller, one tree each (``Documentation/admin-guide/cgroup-v1`` in the kernel source)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from labkit.linux.cgroups.limits import Limits, weight_to_shares

Line = tuple[str, str, str]  # file, value, why


def memory(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    if limits.memory is not None:
        yield "memory.limit_in_bytes", str(limits.memory), "RAM beyond which the OOM killer comes"
    if limits.memory_swap is not None:  # after the memory limit, since it may not be below it
        yield "memory.memsw.limit_in_bytes", str(limits.memory_swap), "RAM and swap together"
    if limits.memory_reservation is not None:
        yield "memory.soft_limit_in_bytes", str(limits.memory_reservation), "taken back to this when the machine runs short"
    if limits.swappiness is not None:
        yield "memory.swappiness", str(limits.swappiness), "how readily its memory goes to swap"
    if limits.oom_kill_disable is not None:
        yield "memory.oom_control", str(int(limits.oom_kill_disable)), "1: wait for memory in place of being killed"


def cpu(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    if limits.cpu_shares is not None:
        yield "cpu.shares", str(limits.cpu_shares), "its share of a busy CPU against its siblings"
    elif limits.cpu_weight is not None:
        yield "cpu.shares", str(weight_to_shares(limits.cpu_weight)), "its share of a busy CPU against its siblings"
    if limits.cpu_period is not None:
        yield "cpu.cfs_period_us", str(limits.cpu_period), "µs after which the quota is filled again"
    if limits.cpu_quota is not None:
        yield "cpu.cfs_quota_us", str(limits.cpu_quota), "µs of CPU time in a period; then it is throttled"
    if limits.cpu_burst is not None:
        yield "cpu.cfs_burst_us", str(limits.cpu_burst), "µs of unused quota that it may save up"


def cpuset(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    yield "cpuset.cpus", limits.cpus or "", "the CPUs it may run on; a new group has none, and takes no process"
    yield "cpuset.mems", limits.mems or "", "the memory nodes it may use; a new group has none"


def pids(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    if limits.pids is not None:
        yield "pids.max", str(limits.pids) if limits.pids > 0 else "max", "processes and threads; fork fails beyond"


def io(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    for device in limits.io:
        for name in ("read_bps", "write_bps", "read_iops", "write_iops"):
            value = getattr(device, name)
            if value is not None:
                yield f"blkio.throttle.{name}_device", f"{device.major}:{device.minor} {max(value, 0)}", "per second; 0 is no limit"
    if limits.io_weight is not None:
        file = "blkio.weight" if "blkio.weight" in files else "blkio.bfq.weight"
        yield file, str(limits.io_weight), "its share of a busy disk against its siblings"


def hugetlb(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    for size, limit in limits.hugepages.items():
        yield f"hugetlb.{size}.limit_in_bytes", str(limit), f"bytes in huge pages of {size}"


LINES: dict[str, Callable[[Limits, Collection[str]], Iterator[Line]]] = {
    "cpuset": cpuset, "memory": memory, "cpu": cpu, "pids": pids, "io": io, "hugetlb": hugetlb,
}  # fmt: skip
