"""What a control group may be told: ``Limits``, in units and names that do not depend on the version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from labkit.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class IoLimit:
    """What a group may read and write on the block device ``major:minor``: bytes and operations per second."""

    major: int
    minor: int
    read_bps: int | None = None
    write_bps: int | None = None
    read_iops: int | None = None
    write_iops: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a group. ``None`` leaves a limit as it is, -1 lifts it.

    memory              bytes of RAM; beyond it the OOM killer comes
    memory_swap         bytes of RAM and swap together, never less than ``memory``
    memory_reservation  bytes that are left to the group as long as possible
    swappiness          0–100, how readily its memory is swapped (v1)
    oom_kill_disable    True: wait for memory in place of being killed (v1)
    cpu_quota           µs of CPU time in each period, of all CPUs together
    cpu_period          µs, 100 000 unless set
    cpu_burst           µs of unused quota that may be saved up
    cpu_weight          1–10 000: the share of a busy CPU against other groups (100 unless set)
    cpu_shares          2–262 144: the same in v1's and Docker's unit (1024 unless set); not both
    cpus, mems          CPUs and memory nodes it may use, as lists: "0-1,3"
    pids                processes and threads
    io, io_weight       block devices; weight 10–1000
    hugepages           bytes by page size: {"2MB": …}
    unified             further files of version 2, as they are: {"memory.high": "1G"}
    """

    memory: int | None = None
    memory_swap: int | None = None
    memory_reservation: int | None = None
    swappiness: int | None = None
    oom_kill_disable: bool | None = None
    cpu_quota: int | None = None
    cpu_period: int | None = None
    cpu_burst: int | None = None
    cpu_weight: int | None = None
    cpu_shares: int | None = None
    cpus: str | None = None
    mems: str | None = None
    pids: int | None = None
    io: tuple[IoLimit, ...] = ()
    io_weight: int | None = None
    hugepages: Mapping[str, int] = field(default_factory=dict)
    unified: Mapping[str, str] = field(default_factory=dict)


def shares_to_weight(shares: int) -> int:
    """v1's ``cpu.shares`` (2–262 144) as v2's ``cpu.weight`` (1–10 000), on the straight line that runc and Kubernetes use."""
    if not 2 <= shares <= 262144:
        raise InvalidInput(f"cpu shares: {shares} is not within 2 and 262144")
    return 1 + (shares - 2) * 9999 // 262142


def weight_to_shares(weight: int) -> int:
    """The way back; twice the weight is twice the shares, to the rounding."""
    if not 1 <= weight <= 10000:
        raise InvalidInput(f"cpu weight: {weight} is not within 1 and 10000")
    return 2 + (weight - 1) * 262142 // 9999
