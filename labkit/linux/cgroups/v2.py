"""Version 2: one tree, and the files of each controller in it (``Documentation/admin-guide/cgroup-v2.rst``)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from labkit.errors import InvalidInput, Unsupported
from labkit.linux.cgroups.limits import Limits, shares_to_weight

Line = tuple[str, str, str]  # file, value, why


def memory(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    if limits.memory is not None:
        yield "memory.max", _max(limits.memory), "RAM beyond which the OOM killer comes"
    if limits.memory_swap is not None:
        if limits.memory_swap >= 0 and (limits.memory is None or limits.memory < 0):
            raise InvalidInput("memory_swap: it counts RAM and swap together, so it needs memory too")
        swap = limits.memory_swap if limits.memory_swap < 0 else limits.memory_swap - (limits.memory or 0)
        yield "memory.swap.max", _max(swap), "swap alone: v2 counts it apart from RAM"
    if limits.memory_reservation is not None:
        yield "memory.low", _max(limits.memory_reservation), "left to it as long as others have something to give"
    if limits.swappiness is not None:
        raise Unsupported("swappiness: version 2 has no swappiness per group")
    if limits.oom_kill_disable:
        raise Unsupported("oom_kill_disable: version 2 cannot switch the OOM killer off")


def cpu(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    if limits.cpu_shares is not None:
        yield "cpu.weight", str(shares_to_weight(limits.cpu_shares)), "its share of a busy CPU against its siblings"
    elif limits.cpu_weight is not None:
        yield "cpu.weight", str(limits.cpu_weight), "its share of a busy CPU against its siblings"
    if limits.cpu_quota is not None or limits.cpu_period is not None:
        quota = _max(limits.cpu_quota if limits.cpu_quota is not None else -1)
        value = quota if limits.cpu_period is None else f"{quota} {limits.cpu_period}"
        yield "cpu.max", value, "µs of CPU time, and the µs of a period; then it is throttled"
    if limits.cpu_burst is not None:
        yield "cpu.max.burst", str(limits.cpu_burst), "µs of unused quota that it may save up"


def cpuset(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    if limits.cpus is not None:
        yield "cpuset.cpus", limits.cpus, "the CPUs it may run on"
    if limits.mems is not None:
        yield "cpuset.mems", limits.mems, "the memory nodes it may use"


def pids(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    if limits.pids is not None:
        yield "pids.max", str(limits.pids) if limits.pids > 0 else "max", "processes and threads; fork fails beyond"


def io(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    for device in limits.io:
        asked = {"rbps": device.read_bps, "wbps": device.write_bps, "riops": device.read_iops, "wiops": device.write_iops}
        words = " ".join(f"{word}={_max(value)}" for word, value in asked.items() if value is not None)
        yield "io.max", f"{device.major}:{device.minor} {words}", "bytes and operations per second"
    if limits.io_weight is not None:
        if "io.bfq.weight" in files:
            yield "io.bfq.weight", str(limits.io_weight), "its share of a busy disk against its siblings"
        else:  # 10–1000 onto 1–10 000, as runc does
            yield "io.weight", str(1 + (limits.io_weight - 10) * 9999 // 990), "its share of a busy disk against its siblings"


def hugetlb(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    for size, limit in limits.hugepages.items():
        yield f"hugetlb.{size}.max", _max(limit), f"bytes in huge pages of {size}"


def _max(value: int) -> str:
    return str(value) if value >= 0 else "max"


LINES: dict[str, Callable[[Limits, Collection[str]], Iterator[Line]]] = {
    "cpuset": cpuset, "memory": memory, "cpu": cpu, "pids": pids, "io": io, "hugetlb": hugetlb,
}  # fmt: skip
