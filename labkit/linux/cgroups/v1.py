"""Version 1: a tree for each controller, and the files in it (``Documentation/admin-guide/cgroup-v1/`` of the kernel).

First what to write for a limit: (file, value, why) in the kernel's order. Then what the files tell, under the names of
``Usage``, ``Events`` and ``Limits``. ``v2.py`` does the same for version 2; side by side they are the difference.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

from labkit.errors import Conflict
from labkit.linux.cgroups.files import flat, limit, number, read, write
from labkit.linux.cgroups.limits import IoLimit, Limits, shares_to_weight, weight_to_shares

Line = tuple[str, str, str]
Reader = Callable[[str], str]  # the text of a file, empty if there is none


def cpuset(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    yield "cpuset.cpus", limits.cpus or "", "the CPUs it may run on: a new v1 group has none, and takes no process"
    yield "cpuset.mems", limits.mems or "", "the memory nodes it may use: a new v1 group has none"


def memory(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    if limits.memory is not None:
        yield "memory.limit_in_bytes", str(limits.memory), "bytes of RAM, beyond which the OOM killer comes"
    if limits.memory_swap is not None:  # after the limit of RAM, since it may never be the lower one
        yield "memory.memsw.limit_in_bytes", str(limits.memory_swap), "bytes of RAM and swap together"
    if limits.memory_reservation is not None:
        yield "memory.soft_limit_in_bytes", str(limits.memory_reservation), "bytes it keeps when the machine runs short"
    if limits.swappiness is not None:
        yield "memory.swappiness", str(limits.swappiness), "0 to 100, how readily it is swapped out"
    if limits.oom_kill_disable is not None:
        yield "memory.oom_control", str(int(limits.oom_kill_disable)), "1: out of memory it waits, and is not killed"


def cpu(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    if limits.cpu_idle == 0:  # before the weight, which it resets
        yield "cpu.idle", "0", "it takes its share again"
    if limits.cpu_shares is not None:
        yield "cpu.shares", str(limits.cpu_shares), "its share of a busy CPU, against its siblings'"
    if limits.cpu_weight is not None:
        yield "cpu.shares", str(weight_to_shares(limits.cpu_weight)), "its share of a busy CPU, against its siblings'"
    if limits.cpu_idle:  # after the weight, which it forbids to change
        yield "cpu.idle", "1", "it runs when nobody else wants the CPU"
    if limits.cpu_period is not None:
        yield "cpu.cfs_period_us", str(limits.cpu_period), "µs after which the quota is filled up again"
    if limits.cpu_quota is not None:
        yield "cpu.cfs_quota_us", str(limits.cpu_quota), "µs of CPU time in a period; whoever has used it up is throttled"
    if limits.cpu_burst is not None:
        yield "cpu.cfs_burst_us", str(limits.cpu_burst), "µs of unused quota that it may save up"
    if limits.cpu_rt_period is not None:
        yield "cpu.rt_period_us", str(limits.cpu_rt_period), "µs of a period of real-time scheduling"
    if limits.cpu_rt_runtime is not None:
        yield "cpu.rt_runtime_us", str(limits.cpu_rt_runtime), "µs of real-time scheduling in a period"


def pids(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    if limits.pids is not None:
        yield "pids.max", str(limits.pids) if limits.pids > 0 else "max", "processes and threads, beyond which fork fails"


def io(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    weight = "blkio.weight" if "blkio.weight" in files else "blkio.bfq.weight"
    if limits.io_weight is not None:
        yield weight, str(limits.io_weight), "10 to 1000, its share of a busy disk"
    for device in limits.io:
        name = f"{device.major}:{device.minor}"
        if device.weight is not None:
            yield f"{weight}_device", f"{name} {device.weight}", "10 to 1000, its share of this disk"
        for what in ("read_bps", "write_bps", "read_iops", "write_iops"):
            rate: int | None = getattr(device, what)
            if rate is not None:  # 0 lifts it
                yield f"blkio.throttle.{what}_device", f"{name} {max(rate, 0)}", "bytes or operations per second"


def hugetlb(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    for size, most in limits.hugepages.items():
        yield f"hugetlb.{size}.limit_in_bytes", str(most), f"bytes in huge pages of {size}"


def rdma(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    for adapter, most in limits.rdma.items():
        yield "rdma.max", f"{adapter} {most}", "handles and objects of an RDMA adapter"


def net_cls(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    if limits.net_class is not None:
        yield "net_cls.classid", str(limits.net_class), "the mark on its packets, which tc sorts by"


def net_prio(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    for interface, priority in limits.net_priorities.items():
        yield "net_prio.ifpriomap", f"{interface} {priority}", "the priority of its packets"


SETTINGS: dict[str, Callable[[Limits, Collection[str]], Iterator[Line]]] = {
    "cpuset": cpuset, "memory": memory, "cpu": cpu, "pids": pids, "io": io, "hugetlb": hugetlb, "rdma": rdma,
    "net_cls": net_cls, "net_prio": net_prio,
}  # fmt: skip


def memory_usage(text: Reader) -> dict[str, int | None]:
    ram, both = number(text("memory.usage_in_bytes")), number(text("memory.memsw.usage_in_bytes"))
    swap = None if ram is None or both is None else max(both - ram, 0)
    return {"memory": ram, "memory_peak": number(text("memory.max_usage_in_bytes")), "swap": swap}


def cpu_usage(text: Reader) -> dict[str, int | None]:
    nanoseconds = number(text("cpuacct.usage"))
    return {"cpu_usec": None if nanoseconds is None else nanoseconds // 1000}


def pids_usage(text: Reader) -> dict[str, int | None]:
    return {"pids": number(text("pids.current"))}


def io_usage(text: Reader) -> dict[str, int | None]:
    counts = flat(text("blkio.throttle.io_service_bytes_recursive"))  # "8:0 Read", "8:0 Write", …, "Total"
    if not counts:
        return {}
    return {
        "io_read": sum(count for key, count in counts.items() if key.endswith(" Read")),
        "io_write": sum(count for key, count in counts.items() if key.endswith(" Write")),
    }


USAGE = {"memory": memory_usage, "cpuacct": cpu_usage, "pids": pids_usage, "io": io_usage}


def memory_events(text: Reader) -> dict[str, int | None]:
    ram, both = number(text("memory.failcnt")), number(text("memory.memsw.failcnt"))
    hits = None if ram is None else ram + (both or 0)
    return {"memory_max_hit": hits, "oom_kill": flat(text("memory.oom_control")).get("oom_kill")}


def cpu_events(text: Reader) -> dict[str, int | None]:
    stat = flat(text("cpu.stat"))
    nanoseconds = stat.get("throttled_time")
    return {
        "periods": stat.get("nr_periods"),
        "throttled_periods": stat.get("nr_throttled"),
        "throttled_usec": None if nanoseconds is None else nanoseconds // 1000,
    }


def pids_events(text: Reader) -> dict[str, int | None]:
    return {"pids_max_hit": flat(text("pids.events")).get("max")}


EVENTS = {"memory": memory_events, "cpu": cpu_events, "pids": pids_events}


def cpuset_in_force(found: Limits, text: Reader) -> Limits:
    return replace(found, cpus=text("cpuset.effective_cpus"), mems=text("cpuset.effective_mems"))


def memory_in_force(found: Limits, text: Reader) -> Limits:
    return replace(
        found,
        memory=limit(text("memory.limit_in_bytes")),
        memory_swap=limit(text("memory.memsw.limit_in_bytes")),
        memory_reservation=limit(text("memory.soft_limit_in_bytes")),
        swappiness=number(text("memory.swappiness")),
        oom_kill_disable=flat(text("memory.oom_control")).get("oom_kill_disable") == 1,
    )


def cpu_in_force(found: Limits, text: Reader) -> Limits:
    shares = number(text("cpu.shares"))
    return replace(
        found,
        cpu_quota=limit(text("cpu.cfs_quota_us")),
        cpu_period=number(text("cpu.cfs_period_us")),
        cpu_burst=number(text("cpu.cfs_burst_us")),
        cpu_weight=None if shares is None else shares_to_weight(shares),
        cpu_idle=number(text("cpu.idle")),
    )


def pids_in_force(found: Limits, text: Reader) -> Limits:
    return replace(found, pids=limit(text("pids.max")))


def io_in_force(found: Limits, text: Reader) -> Limits:
    devices: dict[str, dict[str, int]] = {}
    for what in ("read_bps", "write_bps", "read_iops", "write_iops"):
        for device, rate in flat(text(f"blkio.throttle.{what}_device")).items():
            devices.setdefault(device, {})[what] = rate
    return replace(found, io=tuple(IoLimit(*map(int, device.split(":")), **rates) for device, rates in devices.items()))


IN_FORCE = {
    "cpuset": cpuset_in_force, "memory": memory_in_force, "cpu": cpu_in_force, "pids": pids_in_force, "io": io_in_force,
}  # fmt: skip


def freeze(directory: str, patience: float) -> None:
    """The kernel tells nobody when it is done, so ask; to write again catches what has been forked meanwhile."""
    deadline = time.monotonic() + patience
    write(f"{directory}/freezer.state", "FROZEN")
    while not frozen(directory):
        if time.monotonic() > deadline:
            thaw(directory)
            raise Conflict(f"freeze {directory}: a process waits for a disk or a network, and does not stand still (state D in `ps`)")
        time.sleep(0.001)
        write(f"{directory}/freezer.state", "FROZEN")


def thaw(directory: str) -> None:
    write(f"{directory}/freezer.state", "THAWED")


def frozen(directory: str) -> bool:
    return read(f"{directory}/freezer.state") == "FROZEN"
