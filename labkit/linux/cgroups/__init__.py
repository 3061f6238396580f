"""Control groups: how much of the machine some processes may use together, and how much they have used.

    >>> from labkit.linux import cgroups
    >>> group = cgroups.create("labkit/hog", cgroups.Limits(memory=64 << 20, pids=20))
    >>> group.add(4711)                           # 4711 is limited from now on, and so is every child it forks
    >>> group.usage().memory, group.events().oom_kill
    >>> group.kill(); group.delete()

``settings`` tells what ``create`` writes, without writing it: a container's plan is made of that. Version 1 and version 2 are
both served, each controller in the version in which this machine has it mounted:

    layout.py    which hierarchies there are             v1.py, v2.py   the files of each controller, side by side
    limits.py    what may be limited                     group.py       a group's life: limit, add, measure, freeze, kill, delete
    settings.py  limits → files to write, in order       devices.py     which devices a group may use

``man 7 cgroups``; shown in notebook 02-cgroups.
"""

from __future__ import annotations

import os

from labkit.errors import KernelError, LabError, NotFound
from labkit.linux.cgroups.accounts import Events, Pressure, Usage
from labkit.linux.cgroups.files import write
from labkit.linux.cgroups.group import Cgroup, join
from labkit.linux.cgroups.layout import Controller, Layout, detect, directories, of
from labkit.linux.cgroups.limits import IoLimit, Limits, shares_to_weight, weight_to_shares
from labkit.linux.cgroups.settings import Setting, settings

__all__ = [
    "Cgroup", "Controller", "Events", "IoLimit", "Layout", "Limits", "Pressure", "Setting", "Usage", "create", "detect", "directories",
    "join", "of", "open", "settings", "shares_to_weight", "weight_to_shares", "write",
]  # fmt: skip


def create(path: str, limits: Limits | None = None, layout: Layout | None = None) -> Cgroup:
    """Make the group ``path``, or take the one that is there, and set its limits. If they cannot be set, nothing is made."""
    group = Cgroup(path, layout)
    existed = group.exists()
    try:
        for directory in group.directories:
            os.makedirs(directory, exist_ok=True)
        group.limit(limits or Limits())
    except (OSError, LabError) as error:
        if not existed:
            group.delete()
        if isinstance(error, OSError):
            raise KernelError.of(error, "make cgroup", path) from None
        raise
    return group


def open(path: str, layout: Layout | None = None) -> Cgroup:
    """The group ``path``, which exists; ``NotFound`` otherwise."""
    group = Cgroup(path, layout)
    if not group.exists():
        raise NotFound(f"cgroup {path}: there is none")
    return group
