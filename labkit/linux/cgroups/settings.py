"""From ``Limits`` to the files that the kernel reads: a pure function, since a container's plan is made of its answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from labkit.errors import InvalidInput, Unsupported
from labkit.linux.cgroups import v1, v2
from labkit.linux.cgroups.layout import Layout, ancestors, checked
from labkit.linux.cgroups.limits import Limits

# Version 2 hands these on to every group, limited or not: without the controller there is no account either.
_ALWAYS = ("cpuset", "memory", "cpu", "pids", "io")

MISSING = {
    "memory.memsw.limit_in_bytes": "swap limit: this kernel does not count swap (boot it with swapaccount=1)",
    "memory.swap.max": "swap limit: this kernel does not count swap (boot it with swapaccount=1)",
    "cpu.cfs_quota_us": "cpu quota: the kernel was built without CONFIG_CFS_BANDWIDTH",
    "cpu.max": "cpu quota: the kernel was built without CONFIG_CFS_BANDWIDTH",
    "cpu.cfs_burst_us": "cpu burst: needs Linux 5.14",
    "cpu.max.burst": "cpu burst: needs Linux 5.14",
    "io.max": "io limit: the kernel was built without CONFIG_BLK_DEV_THROTTLING",
    "io.weight": "io weight: the kernel was built without CONFIG_BLK_CGROUP_IOCOST",
    "blkio.bfq.weight": "io weight: the kernel was built without CONFIG_BFQ_GROUP_IOSCHED, or its module bfq is not loaded",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One file of a group's and what is to be written into it. An empty value: see ``write``."""

    file: str
    value: str
    why: str

    def shell(self) -> str:
        """The same as a line of shell."""
        if self.value:
            return f"echo {self.value!r} > {self.file}"
        directory, _, name = self.file.rpartition("/")
        return f"grep -q . {self.file} || cat {directory.rpartition('/')[0]}/{name} > {self.file}"


def settings(path: str, limits: Limits, layout: Layout) -> tuple[Setting, ...]:
    """What to write, in the order in which the kernel takes it, for group ``path`` to have ``limits``. Nothing is written.

    ``Unsupported`` says which limit this machine cannot set, and why; ``InvalidInput`` which one makes no sense.
    """
    path = checked(path)
    if limits.cpu_shares is not None and limits.cpu_weight is not None:
        raise InvalidInput("cpu_weight: cpu_shares says the same in another unit; give one of them")
    found = []
    for name in v2.LINES:
        controller = layout.controllers.get(name)
        version = v1 if controller and controller.version == 1 else v2
        for file, value, why in version.LINES[name](limits, controller.files if controller else ()):
            if controller is None:
                raise Unsupported(f"{name} limit: no mounted cgroup hierarchy has the {name} controller (see `labkit doctor`)")
            if controller.lacks(file):
                raise Unsupported(missing(file))
            found.append(Setting(f"{controller.mountpoint}/{path}/{file}", value, why))
    found += _unified(path, limits, layout)
    return (*_parents(path, limits, layout), *found)


def _parents(path: str, limits: Limits, layout: Layout) -> Iterator[Setting]:
    """What the groups above must have first: CPUs to give in v1, the controllers in v2."""
    cpuset = layout.controllers.get("cpuset")
    if cpuset and cpuset.version == 1:
        for above in ancestors(path):
            for file, _, why in v1.cpuset(Limits(), ()):
                yield Setting(f"{cpuset.mountpoint}/{above}/{file}", "", why)
    asked = {*_ALWAYS, *(["hugetlb"] if limits.hugepages else [])}
    wanted = " ".join(f"+{name}" for name, controller in layout.controllers.items() if controller.version == 2 and name in asked)
    if wanted:
        for directory in (layout.unified, *(f"{layout.unified}/{above}" for above in ancestors(path))):
            yield Setting(f"{directory}/cgroup.subtree_control", wanted, "the controllers that the groups below it get")


def _unified(path: str, limits: Limits, layout: Layout) -> Iterator[Setting]:
    for file, value in limits.unified.items():
        if layout.mode != "v2":
            raise Unsupported(f"unified.{file}: this machine's controllers are version 1")
        if "/" in file:
            raise InvalidInput(f"unified.{file}: must be the name of a file in the group's directory")
        yield Setting(f"{layout.unified}/{path}/{file}", value, "as asked for, version 2's own file")


def missing(file: str) -> str:
    """Why a group may not have this file."""
    return MISSING.get(file, f"{file}: this kernel has no such limit")
