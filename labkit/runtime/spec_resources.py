"""The limits of a container's control group in ``config.json``: OCI runtime-spec 1.1, config-linux.md, Control groups.

    >>> from labkit.runtime.spec_resources import CPU, Memory
    >>> Memory(limit=64 << 20), CPU(quota=50_000, period=100_000)

The words are those of version 1 control groups, for they came first; ``labkit.linux.cgroups`` knows what each becomes in
version 2. Memory is in bytes, CPU time in microseconds, -1 stands for no limit, and None leaves the kernel's default.
"""

from __future__ import annotations

from labkit.records import record


@record
class Memory:
    """``swap`` is memory and swap together."""

    limit: int | None = None
    reservation: int | None = None
    swap: int | None = None
    kernel: int | None = None
    kernelTCP: int | None = None
    swappiness: int | None = None
    disableOOMKiller: bool = False
    useHierarchy: bool | None = None
    checkBeforeUpdate: bool | None = None


@record
class CPU:
    """``quota`` of each ``period``; ``shares`` weigh against the neighbours' (1024 is one share); ``idle`` 1 is SCHED_IDLE."""

    shares: int | None = None
    quota: int | None = None
    burst: int | None = None
    period: int | None = None
    realtimeRuntime: int | None = None
    realtimePeriod: int | None = None
    cpus: str = ""
    mems: str = ""
    idle: int | None = None


@record
class Pids:
    """How many tasks the group may hold; 0 and less mean no limit."""

    limit: int


@record
class WeightDevice:
    """The share of one block device's time, 10 to 1000."""

    major: int
    minor: int
    weight: int | None = None
    leafWeight: int | None = None


@record
class ThrottleDevice:
    """The most that one block device may be used, in bytes or operations a second."""

    major: int
    minor: int
    rate: int


@record
class BlockIO:
    """``weight`` from 10 to 1000."""

    weight: int | None = None
    leafWeight: int | None = None
    weightDevice: tuple[WeightDevice, ...] = ()
    throttleReadBpsDevice: tuple[ThrottleDevice, ...] = ()
    throttleWriteBpsDevice: tuple[ThrottleDevice, ...] = ()
    throttleReadIOPSDevice: tuple[ThrottleDevice, ...] = ()
    throttleWriteIOPSDevice: tuple[ThrottleDevice, ...] = ()


@record
class HugepageLimit:
    """``pageSize`` as the kernel writes it in its file names, 2MB; ``limit`` in bytes."""

    pageSize: str
    limit: int


@record
class InterfacePriority:
    """The priority of what leaves through the interface ``name``."""

    name: str
    priority: int


@record
class Network:
    """The group's mark on network packets, for ``tc``; version 1 alone (net_cls, net_prio)."""

    classID: int | None = None
    priorities: tuple[InterfacePriority, ...] = ()


@record
class Rdma:
    """Handles and objects of one RDMA adapter."""

    hcaHandles: int | None = None
    hcaObjects: int | None = None
