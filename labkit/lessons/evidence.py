"""Where checks look first: the processes that this notebook has started, whatever started them.

    >>> [pid for pid in boxes("uts")]            # those that live in another UTS namespace than this notebook
    [4711, 4712]
"""

from __future__ import annotations

import os

from labkit.errors import NotFound
from labkit.linux import namespaces, processes


def family() -> tuple[int, ...]:
    """The PIDs of all processes below this one, parents before their children."""
    children: dict[int, list[int]] = {}
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdecimal()):
        found = processes.stat(pid)
        if found and found.state not in "ZX":
            children.setdefault(found.ppid, []).append(pid)
    found_below, look_at = [], [os.getpid()]
    while look_at:
        below = children.get(look_at.pop(0), [])
        found_below += below
        look_at += below
    return tuple(found_below)


def boxes(*kinds: str) -> tuple[int, ...]:
    """Those of the family that have a namespace of their own, of each of ``kinds`` or of any kind."""
    return tuple(pid for pid in family() if _apart(pid, kinds))


def _apart(pid: int, kinds: tuple[str, ...]) -> bool:
    try:
        shared = namespaces.compare(pid)
    except NotFound:
        return False
    return not any(shared[kind] for kind in kinds) if kinds else not all(shared.values())
