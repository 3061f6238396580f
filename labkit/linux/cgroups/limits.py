"""What a control group may be told: ``Limits``, in names and units that do not depend on the version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from labkit.errors import InvalidInput
from labkit.records import record


@record
class IoLimit:
    """What a group may read and write on the block device ``major:minor``, in bytes and operations per second.

    ``weight`` (10–1000) is its share of this very device.
    """

    major: int
    minor: int
    read_bps: int | None = None
    write_bps: int | None = None
    read_iops: int | None = None
    write_iops: int | None = None
    weight: int | None = None


@record
class Limits:
    """The limits of a group. ``None`` leaves one as it is, -1 lifts it.

    ==================  =======================================================================
    memory              bytes of RAM; beyond them the OOM killer comes
    memory_swap         bytes of RAM and swap together
    memory_reservation  bytes that the group keeps when the machine runs short
    swappiness          0–100, how readily its memory is swapped out (v1 alone)
    oom_kill_disable    wait for memory in place of being killed (v1 alone)
    cpu_quota           µs of CPU time in each period, on all CPUs together
    cpu_period          µs; 100 000 unless set
    cpu_burst           µs of unused quota that may be saved up
    cpu_weight          1–10 000, the share of a busy CPU against other groups
    cpu_shares          2–262 144, the same in v1's and Docker's unit; not both
    cpu_idle            1: runs when nobody else wants the CPU
    cpu_rt_runtime      µs of real-time scheduling in each ``cpu_rt_period`` (v1 alone)
    cpus, mems          the CPUs and memory nodes it may use, as a list: "0-1,3"
    pids                processes and threads
    io, io_weight       limits of single block devices; 10–1000, the share of all of them
    hugepages           bytes by page size: {"2MB": 4 << 20}
    rdma                by adapter: {"mlx5_0": "hca_handle=2 hca_object=max"}
    net_class           mark on packets, for tc; priorities by interface (both v1 alone)
    unified             further files of version 2, as they are: {"memory.high": "1G"}
    ==================  =======================================================================
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
    cpu_idle: int | None = None
    cpu_rt_runtime: int | None = None
    cpu_rt_period: int | None = None
    cpus: str | None = None
    mems: str | None = None
    pids: int | None = None
    io: tuple[IoLimit, ...] = ()
    io_weight: int | None = None
    hugepages: Mapping[str, int] = field(default_factory=dict)
    rdma: Mapping[str, str] = field(default_factory=dict)
    net_class: int | None = None
    net_priorities: Mapping[str, int] = field(default_factory=dict)
    unified: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what cannot be right on any machine."""
        if self.cpu_shares is not None and self.cpu_weight is not None:
            raise InvalidInput("cpu_weight: cpu_shares says the same in another unit; give one of them")
        if self.memory_swap is not None and self.memory_swap >= 0:
            if self.memory is None or self.memory < 0:
                raise InvalidInput("memory_swap: it counts RAM and swap together, so it needs a limit of memory too")
            if self.memory_swap < self.memory:
                raise InvalidInput(f"memory_swap: {self.memory_swap} is less than memory, which it contains ({self.memory})")


def shares_to_weight(shares: int) -> int:
    """v1's ``cpu.shares`` (2–262 144) as v2's ``cpu.weight`` (1–10 000), on the straight line that runc draws.

    The defaults do not meet: 1024 shares are a weight of 39, while a group that is told nothing has 100.
    """
    if not 2 <= shares <= 262144:
        raise InvalidInput(f"cpu_shares: {shares} is not between 2 and 262144")
    return 1 + (shares - 2) * 9999 // 262142


def weight_to_shares(weight: int) -> int:
    """The way back, rounded up, so that ``shares_to_weight`` gives ``weight`` again."""
    if not 1 <= weight <= 10000:
        raise InvalidInput(f"cpu_weight: {weight} is not between 1 and 10000")
    return 2 - (weight - 1) * 262142 // -9999
