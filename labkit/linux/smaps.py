"""How much memory a process takes, when what several share is shared out among them.

    >>> from labkit.linux import smaps
    >>> smaps.pss(os.getpid())
    9437184

A page that four processes have in common counts a quarter for each: the *proportional set size*. So the sizes of all processes add up to
what they take together, which resident set sizes do not. Source: ``man 5 proc``, /proc/PID/smaps_rollup. Shown in notebook 08.
"""

from __future__ import annotations


def pss(pid: int) -> int:
    """Bytes; 0 for a process that has ended, or that is not ours to look at."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:")), 0)
    except OSError:
        return 0
