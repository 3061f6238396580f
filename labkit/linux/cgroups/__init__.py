"""Control groups: how much of the machine a set of processes may use, and how much it has used (``man 7 cgroups``).

    >>> from labkit.linux import cgroups
    >>> group = cgroups.create("labkit/hog", cgroups.Limits(memory=64 << 20, pids=20))
    >>> group.add(pid)                    # it and its children to come are limited now
    >>> group.usage().memory, group.events().oom_kill

Versions 1 and 2 are both served, controller by controller, as this machine has them mounted. Shown in ``02-cgroups``.
"""

from labkit.linux.cgroups.group import Cgroup, create, join, open, write
from labkit.linux.cgroups.layout import Controller, Layout, detect, directories, of
from labkit.linux.cgroups.limits import IoLimit, Limits, shares_to_weight, weight_to_shares
from labkit.linux.cgroups.settings import Setting, settings

__all__ = [
    "Cgroup", "Controller", "IoLimit", "Layout", "Limits", "Setting", "create", "detect", "directories", "join", "of", "open",
    "settings", "shares_to_weight", "weight_to_shares", "write",
]  # fmt: skip
