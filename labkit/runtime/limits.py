"""From the words of ``config.json`` to those of ``labkit.linux``: resources, scheduling, I/O priority.

>>> from labkit.runtime.limits import limits
>>> limits(spec.linux.resources).memory
67108864
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.errors import Unsupported
from labkit.linux.cgroups import IoLimit, Limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labkit.runtime.spec import IOPriority, Scheduler
    from labkit.runtime.spec_linux import Resources
    from labkit.runtime.spec_resources import BlockIO


def limits(resources: Resources) -> Limits:
    """``linux.resources`` as the limits of a control group; 0 means "not said", as the tools that write bundles mean it."""
    found: dict[str, object] = {"unified": dict(resources.unified)}
    if memory := resources.memory:
        if (memory.kernel or 0) > 0 or (memory.kernelTCP or 0) > 0:
            raise Unsupported("linux.resources.memory.kernel: Linux 5.4 took kernel memory limits back; use memory.limit")
        found |= {
            "memory": memory.limit or None,
            "memory_swap": memory.swap or None,
            "memory_reservation": memory.reservation or None,
            "swappiness": memory.swappiness,
            "oom_kill_disable": memory.disableOOMKiller or None,
        }
    if cpu := resources.cpu:
        found |= {
            "cpu_shares": cpu.shares or None,
            "cpu_quota": cpu.quota or None,
            "cpu_period": cpu.period or None,
            "cpu_burst": cpu.burst,
            "cpu_idle": cpu.idle,
            "cpu_rt_runtime": cpu.realtimeRuntime or None,
            "cpu_rt_period": cpu.realtimePeriod or None,
            "cpus": cpu.cpus or None,
            "mems": cpu.mems or None,
        }
    if resources.pids and resources.pids.limit:
        found["pids"] = resources.pids.limit
    if resources.blockIO:
        found |= {"io": _io(resources.blockIO), "io_weight": resources.blockIO.weight or None}
    if resources.hugepageLimits:
        found["hugepages"] = {each.pageSize: each.limit for each in resources.hugepageLimits}
    if resources.network:
        found |= {
            "net_class": resources.network.classID or None,
            "net_priorities": {each.name: each.priority for each in resources.network.priorities},
        }
    if resources.rdma:
        found["rdma"] = {name: _rdma(each.hcaHandles, each.hcaObjects) for name, each in resources.rdma.items()}
    return Limits(**found)  # type: ignore[arg-type]


def _io(block: BlockIO) -> tuple[IoLimit, ...]:
    devices: dict[tuple[int, int], dict[str, int]] = {}
    for name, throttles in (
        ("read_bps", block.throttleReadBpsDevice),
        ("write_bps", block.throttleWriteBpsDevice),
        ("read_iops", block.throttleReadIOPSDevice),
        ("write_iops", block.throttleWriteIOPSDevice),
    ):
        for throttle in throttles:
            devices.setdefault((throttle.major, throttle.minor), {})[name] = throttle.rate
    for share in block.weightDevice:
        if share.weight:
            devices.setdefault((share.major, share.minor), {})["weight"] = share.weight
    return tuple(IoLimit(major, minor, **values) for (major, minor), values in devices.items())


def _rdma(handles: int | None, objects: int | None) -> str:
    values = {"hca_handle": handles, "hca_object": objects}
    return " ".join(f"{name}={value}" for name, value in values.items() if value is not None)


_POLICIES: Mapping[str, int] = {
    "SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_ISO": 4, "SCHED_IDLE": 5, "SCHED_DEADLINE": 6,
}  # fmt: skip
_SCHEDULER_FLAGS: Mapping[str, int] = {
    "SCHED_FLAG_RESET_ON_FORK": 1, "SCHED_FLAG_RECLAIM": 2, "SCHED_FLAG_DL_OVERRUN": 4, "SCHED_FLAG_KEEP_POLICY": 8,
    "SCHED_FLAG_KEEP_PARAMS": 16, "SCHED_FLAG_UTIL_CLAMP_MIN": 32, "SCHED_FLAG_UTIL_CLAMP_MAX": 64,
}  # fmt: skip


def scheduling_attributes(scheduler: Scheduler) -> tuple[int, int, int, int, int, int, int]:
    """Policy, flags, nice, priority, runtime, deadline and period, as ``sched_setattr(2)`` takes them."""
    flags = sum(_SCHEDULER_FLAGS[name] for name in set(scheduler.flags))
    numbers = (scheduler.runtime, scheduler.deadline, scheduler.period)
    return (_POLICIES[scheduler.policy], flags, scheduler.nice, scheduler.priority, *numbers)


def io_priority(priority: IOPriority) -> tuple[int, int]:
    """Class and level, as ``ioprio_set(2)`` takes them."""
    return {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}[priority.class_], priority.priority
