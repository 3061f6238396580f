"""What a container uses: ``docker stats``.

    >>> from labkit.engine import statistics
    >>> statistics.once(web)["pids_stats"]
    {'current': 3, 'limit': 20}
    >>> for each in statistics.stream(web): ...                   # one a second, each with the one before as precpu_stats

    control group ──┐
    /proc/PID/net ──┼──▶ sample ──┐
    /proc/stat ─────┘             ├──▶ told: Docker's JSON         CPU % = Δ total_usage / Δ system_cpu_usage × online_cpus × 100
    the sample a second before ───┘

The names of what memory and disks tell are those of the control groups' version: ``total_inactive_file`` and ``Read`` in version 1,
``inactive_file`` and ``read`` in version 2. A container that does not run uses nothing. Source: Docker Engine API v1.47,
``/containers/{id}/stats``; moby's ``daemon/stats_unix.go``. Shown in notebook 06.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import field
from typing import TYPE_CHECKING

from labkit.engine import times
from labkit.errors import LabError, NotFound
from labkit.linux.cgroups.files import flat, limit, nested, number
from labkit.records import record

if TYPE_CHECKING:
    from labkit.engine.container import Container
    from labkit.linux.cgroups import Cgroup

Json = dict[str, object]
_SECONDS = 1.0
_BLKIO = {
    "io_service_bytes_recursive": "io_service_bytes_recursive", "io_serviced_recursive": "io_serviced_recursive", "io_queue_recursive": "",
    "io_service_time_recursive": "", "io_wait_time_recursive": "", "io_merged_recursive": "", "io_time_recursive": "",
    "sectors_recursive": "",
}  # fmt: skip


@record
class Sample:
    """What a container had used at one moment, in nanoseconds since 1970; all empty for one that did not run."""

    read: int = 0
    cpu: Json = field(default_factory=dict)
    memory: Json = field(default_factory=dict)
    pids: Json = field(default_factory=dict)
    blkio: Json = field(default_factory=dict)
    networks: Json = field(default_factory=dict)


def once(container: Container, one_shot: bool = False) -> Json:
    """Docker's JSON of what it uses now; takes a second, to tell the share of a CPU, unless it is ``one_shot`` or does not run."""
    before = Sample() if one_shot else sample(container)
    if before.read:
        time.sleep(_SECONDS)
    return told(container, sample(container), before)


def stream(container: Container) -> Iterator[Json]:
    """The same each second, until the container is removed or the iterator is closed."""
    before = Sample()
    while not container.is_removed:
        now = sample(container)
        yield told(container, now, before)
        before = now
        time.sleep(_SECONDS)


def sample(container: Container) -> Sample:
    """What it has used until now."""
    if not container.state.alive:
        return Sample()
    group = container.cgroup
    try:
        return Sample(times.now(), _cpu(group), _memory(group), _pids(group), _blkio(group), _networks(container))
    except (LabError, OSError):
        if group.exists() and container.state.alive:
            raise
        return Sample()  # it has ended meanwhile


def told(container: Container, now: Sample, before: Sample) -> Json:
    """Docker's JSON of a sample and the one before it."""
    none = {"cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0}, "throttling_data": dict(_throttled({}))}
    found: Json = {
        "read": times.text(now.read) if now.read else times.NEVER,
        "preread": times.text(before.read) if before.read else times.NEVER,
        "pids_stats": now.pids,
        "blkio_stats": now.blkio or dict.fromkeys(_BLKIO),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": now.cpu or none,
        "precpu_stats": before.cpu or none,
        "memory_stats": now.memory,
        "name": f"/{container.name}",
        "id": container.id,
    }
    if now.networks:
        found["networks"] = now.networks
    return found


def _version(group: Cgroup, controller: str) -> int:
    found = group.layout.controllers.get(controller)
    return found.version if found else 0


def _cpu(group: Cgroup) -> Json:
    if _version(group, "cpuacct") == 1:
        usage: Json = {"total_usage": number(group.read("cpuacct.usage")) or 0}
        if percpu := group.read("cpuacct.usage_percpu"):
            usage["percpu_usage"] = [int(each) for each in percpu.split()]
        ticks = flat(group.read("cpuacct.stat"))
        tick = 10**9 // os.sysconf("SC_CLK_TCK")
        usage["usage_in_kernelmode"] = ticks.get("system", 0) * tick
        usage["usage_in_usermode"] = ticks.get("user", 0) * tick
    else:
        stat = flat(group.read("cpu.stat"))
        names = {"total_usage": "usage_usec", "usage_in_kernelmode": "system_usec", "usage_in_usermode": "user_usec"}
        usage = {name: stat.get(key, 0) * 1000 for name, key in names.items()}
    total, online = _host()
    throttled = dict(_throttled(flat(group.read("cpu.stat"))))
    return {"cpu_usage": usage, "system_cpu_usage": total, "online_cpus": online, "throttling_data": throttled}


def _throttled(stat: dict[str, int]) -> Iterator[tuple[str, int]]:
    yield "periods", stat.get("nr_periods", 0)
    yield "throttled_periods", stat.get("nr_throttled", 0)
    yield "throttled_time", stat.get("throttled_time", stat.get("throttled_usec", 0) * 1000)


def _host() -> tuple[int, int]:
    """Nanoseconds that all CPUs of the machine have been used or idle, and how many of them there are."""
    with open("/proc/stat", encoding="ascii") as file:
        ticks = file.readline().split()[1:8]
    return sum(map(int, ticks)) * (10**9 // os.sysconf("SC_CLK_TCK")), len(os.sched_getaffinity(0))


def _memory(group: Cgroup) -> Json:
    version = _version(group, "memory")
    stat = flat(group.read("memory.stat"))
    if version == 1:
        found: Json = {
            "usage": number(group.read("memory.usage_in_bytes")) or 0,
            "max_usage": number(group.read("memory.max_usage_in_bytes")) or 0,
            "failcnt": number(group.read("memory.failcnt")) or 0,
        }
        most = limit(group.read("memory.limit_in_bytes"))
    elif version == 2:
        found = {"usage": number(group.read("memory.current")) or 0}
        most = limit(group.read("memory.max"))
    else:
        return {}
    return {**found, "stats": stat, "limit": min(most or _ram(), _ram())}


def _ram() -> int:
    """Bytes of RAM of the machine: what a container without a limit may use."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _pids(group: Cgroup) -> Json:
    found: Json = {}
    current, most = number(group.read("pids.current")), limit(group.read("pids.max"))
    if current is not None:
        found["current"] = current
    if most is not None:
        found["limit"] = most
    return found


def _blkio(group: Cgroup) -> Json:
    """By device and operation: what was read and written, and how often."""
    found: Json = dict.fromkeys(_BLKIO)
    if _version(group, "io") == 2:
        lines = nested(group.read("io.stat"))
        for name, keys in {"io_service_bytes_recursive": ("rbytes", "wbytes"), "io_serviced_recursive": ("rios", "wios")}.items():
            found[name] = [
                _operation(device, operation, int(counts.get(key, 0)))
                for device, counts in lines.items()
                for operation, key in zip(("read", "write"), keys, strict=True)
            ]
        return found
    for name, file in _BLKIO.items():
        counts = flat(group.read(f"blkio.throttle.{file}")) if file else {}
        found[name] = [_operation(*key.partition(" ")[::2], count) for key, count in counts.items() if " " in key]
    return found


def _operation(device: str, operation: str, value: int) -> Json:
    major, _, minor = device.partition(":")
    return {"major": int(major), "minor": int(minor), "op": operation, "value": value}


def _networks(container: Container) -> Json:
    """By link, of a container that has links of its own."""
    if container.record.HostConfig.NetworkMode == "host":
        return {}
    try:
        with open(f"/proc/{container.state.Init.Pid}/net/dev", encoding="ascii") as file:
            _, _, *lines = file  # two lines of heading
    except OSError:
        raise NotFound(f"container {container.id} has ended") from None
    found: Json = {}
    for line in lines:
        link, _, numbers = line.partition(":")
        if link.strip() == "lo":
            continue
        counts = [int(each) for each in numbers.split()]
        names = ("bytes", "packets", "errors", "dropped")
        found[link.strip()] = {
            **{f"rx_{name}": count for name, count in zip(names, counts, strict=False)},
            **{f"tx_{name}": count for name, count in zip(names, counts[8:], strict=False)},
        }
    return found
