"""What a control group tells of itself, whatever the version. ``None`` stands for what this machine does not count."""

from __future__ import annotations

from labkit.records import record


@record
class Usage:
    """What the group holds now, and has used so far: bytes, microseconds of CPU time, number of processes and threads."""

    memory: int | None = None
    memory_peak: int | None = None
    swap: int | None = None
    cpu_usec: int | None = None
    pids: int | None = None
    io_read: int | None = None
    io_write: int | None = None


@record
class Events:
    """How often the group ran into its limits.

    ``memory_max_hit``: it had to give memory back before it got more; ``oom``: there was none to give back (v2 alone);
    ``oom_kill``: processes killed for it. ``pids_max_hit``: forks refused. Of ``periods`` in which it ran,
    ``throttled_periods`` ended with the quota used up, and it waited ``throttled_usec`` in all.
    """

    memory_max_hit: int | None = None
    oom: int | None = None
    oom_kill: int | None = None
    pids_max_hit: int | None = None
    periods: int | None = None
    throttled_periods: int | None = None
    throttled_usec: int | None = None


@record
class Pressure:
    """How long processes of the group waited for a resource (``Documentation/accounting/psi.rst``).

    ``some``: at least one waited; ``full``: all of them did at once. Per cent of the last 10 seconds, and µs in all.
    """

    some: float
    some_usec: int
    full: float
    full_usec: int
