"""Version 2: one tree, and the files of all controllers in it (``Documentation/admin-guide/cgroup-v2.rst`` of the kernel).

First what to write for a limit: (file, value, why). Then what the files tell, under the names of ``Usage``, ``Events`` and
``Limits``. ``v1.py`` does the same for version 1; side by side they are the difference.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

from labkit.errors import Conflict, Unsupported
from labkit.linux.cgroups.files import flat, limit, nested, number, read, write
from labkit.linux.cgroups.limits import IoLimit, Limits, shares_to_weight

Line = tuple[str, str, str]
Reader = Callable[[str], str]  # the text of a file, empty if there is none


def cpuset(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    if limits.cpus is not None:
        yield "cpuset.cpus", limits.cpus, "the CPUs it may run on"
    if limits.mems is not None:
        yield "cpuset.mems", limits.mems, "the memory nodes it may use"


def memory(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    if limits.memory is not None:
        yield "memory.max", _max(limits.memory), "bytes of RAM, beyond which the OOM killer comes"
    if limits.memory_swap is not None:
        swap = limits.memory_swap - (limits.memory or 0) if limits.memory_swap >= 0 else -1
        yield "memory.swap.max", _max(swap), "bytes of swap: version 2 counts them apart from RAM"
    if limits.memory_reservation is not None:
        yield "memory.low", _max(limits.memory_reservation), "bytes it keeps when the machine runs short"
    if limits.swappiness is not None:
        raise Unsupported("swappiness: version 2 control groups have none of their own")
    if limits.oom_kill_disable:
        raise Unsupported("oom_kill_disable: version 2 control groups cannot do without the OOM killer")


def cpu(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    if limits.cpu_idle == 0:  # before the weight, which it resets
        yield "cpu.idle", "0", "it takes its share again"
    if limits.cpu_shares is not None:
        yield "cpu.weight", str(shares_to_weight(limits.cpu_shares)), "its share of a busy CPU, against its siblings'"
    if limits.cpu_weight is not None:
        yield "cpu.weight", str(limits.cpu_weight), "its share of a busy CPU, against its siblings'"
    if limits.cpu_idle:  # after the weight, which it forbids to change
        yield "cpu.idle", "1", "it runs when nobody else wants the CPU"
    if limits.cpu_quota is not None or limits.cpu_period is not None:
        quota = "max" if limits.cpu_quota is None else _max(limits.cpu_quota)
        period = "" if limits.cpu_period is None else f" {limits.cpu_period}"
        yield "cpu.max", quota + period, "µs of CPU time, in a period of so many µs; whoever has used it up is throttled"
    if limits.cpu_burst is not None:
        yield "cpu.max.burst", str(limits.cpu_burst), "µs of unused quota that it may save up"
    if limits.cpu_rt_runtime is not None or limits.cpu_rt_period is not None:
        raise Unsupported("cpu_rt_runtime: version 2 control groups do not share out real-time scheduling")


def pids(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    if limits.pids is not None:
        yield "pids.max", str(limits.pids) if limits.pids > 0 else "max", "processes and threads, beyond which fork fails"


def io(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    if limits.io_weight is not None:
        yield *_io_weight("default", limits.io_weight, files), "its share of a busy disk"
    for device in limits.io:
        name = f"{device.major}:{device.minor}"
        if device.weight is not None:
            yield *_io_weight(name, device.weight, files), "its share of this disk"
        rates = {"rbps": device.read_bps, "wbps": device.write_bps, "riops": device.read_iops, "wiops": device.write_iops}
        words = [f"{word}={_max(rate)}" for word, rate in rates.items() if rate is not None]
        if words:
            yield "io.max", " ".join([name, *words]), "bytes and operations per second"


def _io_weight(device: str, weight: int, files: Collection[str]) -> tuple[str, str]:
    """The scheduler bfq takes 10–1000 as it is; io.weight runs from 1 to 10 000."""
    if "io.bfq.weight" in files:
        return "io.bfq.weight", f"{device} {weight}"
    return "io.weight", f"{device} {1 + (weight - 10) * 9999 // 990}"


def hugetlb(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    for size, most in limits.hugepages.items():
        yield f"hugetlb.{size}.max", _max(most), f"bytes in huge pages of {size}"


def rdma(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    for adapter, most in limits.rdma.items():
        yield "rdma.max", f"{adapter} {most}", "handles and objects of an RDMA adapter"


def net_cls(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    if limits.net_class is not None:
        raise Unsupported("net_class: only version 1 control groups mark packets, and net_cls is not mounted as one")
    yield from ()


def net_prio(limits: Limits, files: Collection[str]) -> Iterator[Line]:
    if limits.net_priorities:
        raise Unsupported("net_priorities: only version 1 control groups have them, and net_prio is not mounted as one")
    yield from ()


def _max(value: int) -> str:
    return str(value) if value >= 0 else "max"


SETTINGS: dict[str, Callable[[Limits, Collection[str]], Iterator[Line]]] = {
    "cpuset": cpuset, "memory": memory, "cpu": cpu, "pids": pids, "io": io, "hugetlb": hugetlb, "rdma": rdma,
    "net_cls": net_cls, "net_prio": net_prio,
}  # fmt: skip


def memory_usage(text: Reader) -> dict[str, int | None]:
    return {
        "memory": number(text("memory.current")),
        "memory_peak": number(text("memory.peak")),
        "swap": number(text("memory.swap.current")),
    }


def cpu_usage(text: Reader) -> dict[str, int | None]:
    return {"cpu_usec": flat(text("cpu.stat")).get("usage_usec")}


def pids_usage(text: Reader) -> dict[str, int | None]:
    return {"pids": number(text("pids.current"))}


def io_usage(text: Reader) -> dict[str, int | None]:
    devices = nested(text("io.stat")).values()
    return {
        "io_read": sum(int(device.get("rbytes", 0)) for device in devices),
        "io_write": sum(int(device.get("wbytes", 0)) for device in devices),
    }


USAGE = {"memory": memory_usage, "cpuacct": cpu_usage, "pids": pids_usage, "io": io_usage}


def memory_events(text: Reader) -> dict[str, int | None]:
    events = flat(text("memory.events"))
    return {"memory_max_hit": events.get("max"), "oom": events.get("oom"), "oom_kill": events.get("oom_kill")}


def cpu_events(text: Reader) -> dict[str, int | None]:
    stat = flat(text("cpu.stat"))
    return {
        "periods": stat.get("nr_periods"),
        "throttled_periods": stat.get("nr_throttled"),
        "throttled_usec": stat.get("throttled_usec"),
    }


def pids_events(text: Reader) -> dict[str, int | None]:
    return {"pids_max_hit": flat(text("pids.events")).get("max")}


EVENTS = {"memory": memory_events, "cpu": cpu_events, "pids": pids_events}


def cpuset_in_force(found: Limits, text: Reader) -> Limits:
    return replace(found, cpus=text("cpuset.cpus.effective"), mems=text("cpuset.mems.effective"))


def memory_in_force(found: Limits, text: Reader) -> Limits:
    ram, swap = limit(text("memory.max")), limit(text("memory.swap.max"))
    return replace(
        found,
        memory=ram,
        memory_swap=None if ram is None or swap is None else ram + swap,
        memory_reservation=limit(text("memory.low")),
    )


def cpu_in_force(found: Limits, text: Reader) -> Limits:
    quota, _, period = text("cpu.max").partition(" ")
    return replace(
        found,
        cpu_quota=limit(quota),
        cpu_period=number(period),
        cpu_burst=number(text("cpu.max.burst")),
        cpu_weight=number(text("cpu.weight")),
        cpu_idle=number(text("cpu.idle")),
    )


def pids_in_force(found: Limits, text: Reader) -> Limits:
    return replace(found, pids=limit(text("pids.max")))


def io_in_force(found: Limits, text: Reader) -> Limits:
    names = ("rbps", "wbps", "riops", "wiops")
    return replace(
        found,
        io=tuple(
            IoLimit(*map(int, device.split(":")), *(limit(rates.get(name, "max")) for name in names))
            for device, rates in nested(text("io.max")).items()
        ),
    )


IN_FORCE = {
    "cpuset": cpuset_in_force, "memory": memory_in_force, "cpu": cpu_in_force, "pids": pids_in_force, "io": io_in_force,
}  # fmt: skip


def freeze(directory: str, patience: float) -> None:
    """The kernel wakes whoever polls ``cgroup.events`` when the last process stands still."""
    events = os.open(f"{directory}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
    try:
        poll = select.poll()
        poll.register(events, select.POLLPRI)
        write(f"{directory}/cgroup.freeze", "1")
        while flat(os.pread(events, 4096, 0).decode())["frozen"] == 0:
            if not poll.poll(patience * 1000):
                thaw(directory)
                raise Conflict(f"freeze {directory}: a process waits for a disk or a network, and does not stand still (state D in `ps`)")
    finally:
        os.close(events)


def thaw(directory: str) -> None:
    write(f"{directory}/cgroup.freeze", "0")


def frozen(directory: str) -> bool:
    return flat(read(f"{directory}/cgroup.events")).get("frozen") == 1
