"""The checks of notebook 02: read the limits back from the group's files, and see that something has run into them."""

from __future__ import annotations

from collections.abc import Callable

from labkit.lessons.verdict import Verdict, failed, passed
from labkit.linux import cgroups

_RUN_IT = "fill the blank and run the starter cell."


def memory_limit() -> Verdict:
    """labkit/02/room has 64 MiB, and a process has been killed for it."""
    room, wanted = cgroups.Cgroup("labkit/02/room"), 64 << 20
    if not room.exists():
        return _no_group(room)
    limit = room.limits_in_force().memory
    if limit is None:
        return failed("Not yet: the group has no memory limit, and the program got its 100 MiB.", _RUN_IT)
    if limit != wanted:
        return failed(f"The limit in force is {limit:,} bytes; 64 MiB are {wanted:,}.", "the unit is bytes; 1 MiB is `1 << 20` of them.")
    if not room.events().oom_kill:
        return failed("The limit is right, but nothing has run into it.", "run the starter cell once more.")
    return passed(f"The kernel holds the group to {limit:,} bytes, and has killed {room.events().oom_kill} in it for wanting more.")


def half_a_cpu() -> Verdict:
    """labkit/02/half has half a CPU, and something has run in it. (On a busy machine it may not even get its half.)"""
    half = cgroups.Cgroup("labkit/02/half")
    if not half.exists():
        return _no_group(half)
    limits, events = half.limits_in_force(), half.events()
    if limits.cpu_quota is None:
        return failed("Not yet: the group has no quota; its loop had a CPU to itself.", _RUN_IT)
    cpus = limits.cpu_quota / (limits.cpu_period or 100_000)
    if cpus != 0.5:
        return failed(
            f"{limits.cpu_quota:,} µs in each period of {limits.cpu_period:,} µs are {cpus:g} CPUs.",
            "half a CPU is half of the period; the unit of both is µs.",
        )
    if not events.periods:
        return failed("The quota is right, but nothing has run in the group.", "run the starter cell once more.")
    return passed(f"Half a CPU, and in {events.throttled_periods} of {events.periods} periods the group had to wait for the next one.")


def priority() -> Verdict:
    """labkit/02/vip weighs three times as much as labkit/02/other, and got about three times as much."""
    vip, other = cgroups.Cgroup("labkit/02/vip"), cgroups.Cgroup("labkit/02/other")
    for group in (vip, other):
        if not group.exists():
            return _no_group(group)
    weights = [group.limits_in_force().cpu_weight or 100 for group in (vip, other)]
    if not 2.9 < weights[0] / weights[1] < 3.1:
        return failed(
            f"vip weighs {weights[0] / weights[1]:.1f} times as much as other.", "only the ratio counts: three times the weight of `other`."
        )
    got = [group.usage().cpu_usec or 0 for group in (vip, other)]
    if got[0] < 2 * got[1]:
        return failed("The weights are right, but the two have not competed for one CPU.", "run the starter cell once more.")
    return passed(f"Three times the weight, and {got[0] / got[1]:.1f} times the CPU time of `other`.")


def fork_bomb() -> Verdict:
    """labkit/02/bomb may have 16 processes, and a fork has been refused."""
    bomb = cgroups.Cgroup("labkit/02/bomb")
    if not bomb.exists():
        return _no_group(bomb)
    most = bomb.limits_in_force().pids
    if most is None:
        return failed("Not yet: the group may have as many processes as it likes.", _RUN_IT)
    if most != 16:
        return failed(f"The group may have {most} processes and threads, not 16.", "everything in the group counts, the shell too.")
    if not bomb.events().pids_max_hit:
        return failed("The limit is right, but nobody has run into it.", "run the starter cell once more.")
    return passed(f"At most 16, and the kernel has refused {bomb.events().pids_max_hit} fork with EAGAIN.")


def frozen() -> Verdict:
    """The processes of labkit/02/job2 are there, and stand still."""
    job = cgroups.Cgroup("labkit/02/job2")
    if not job.exists():
        return _no_group(job)
    if not job.processes():
        return failed("The job is gone: nobody is left in the group.", "what is killed cannot go on later; run the starter cell once more.")
    if not job.frozen:
        return failed("The job goes on counting: its group is not frozen.", "one of the three actions stops it without ending it.")
    return passed(f"{len(job.processes())} processes, all there and all standing still; none of them has noticed.")


def _no_group(group: cgroups.Cgroup) -> Verdict:
    return failed(f"Not yet: there is no control group {group.path}.", "run the starter cell first.")


CHECKS: dict[str, Callable[[], Verdict]] = {
    "memory-limit": memory_limit,
    "half-a-cpu": half_a_cpu,
    "priority": priority,
    "fork-bomb": fork_bomb,
    "frozen": frozen,
}
