"""Cgroup files: written with a word on what failed, and read in the forms that the kernel gives them.

    64                            a number; "max" where there is no limit
    oom_kill 1                    flat keyed
    8:0 rbytes=4096 wbytes=0      nested keyed

The names are those of ``Documentation/admin-guide/cgroup-v2.rst``, section Format, in the kernel's source.
"""

from __future__ import annotations

import os
import time
from errno import EACCES, EBUSY, EINVAL, ENODEV, ENOENT, ENOSPC, EOPNOTSUPP, EPERM, ERANGE, EROFS, ESRCH

from labkit.errors import KernelError, Unsupported

_MOMENT = 0.2  # seconds
_HINTS = {
    (EACCES, ""): "only root may, and no group may have more than the one above it",
    (EPERM, ""): "only root may",
    (EROFS, ""): "this cgroup file system is mounted read-only",
    (ENOENT, ""): "there is no such group",
    (ENODEV, ""): "there is no such disk (a partition will not do), or the group is gone",
    (ERANGE, ""): "this machine does not have so many",
    (ESRCH, ""): "there is no such process",
    (ENOSPC, ""): "the group has no CPUs or memory nodes yet: see its cpuset.cpus and cpuset.mems",
    (EPERM, "devices.allow"): "the group above may not use that device itself",
    (EBUSY, "memory.limit_in_bytes"): "its processes hold more than that, and it cannot be taken back",
    (EINVAL, "memory.limit_in_bytes"): "more than the limit of RAM and swap together? set memory_swap too",
    (EINVAL, "cpu.cfs_period_us"): "from 1000 to 1000000 µs",
    (EINVAL, "cpu.cfs_quota_us"): "at least 1000 µs, and no larger share than the group above has",
    (EINVAL, "cpu.max"): "at least 1000 µs, in a period of at most 1000000",
    (EINVAL, "cpu.cfs_burst_us"): "no more than the quota",
    (EINVAL, "cpu.max.burst"): "no more than the quota",
    (EINVAL, "cpuset.cpus"): "a list such as 0-1,3, of CPUs that this machine has",
    (EINVAL, "cpuset.mems"): "a list such as 0, of memory nodes that this machine has",
    (EBUSY, "cgroup.procs"): "a v2 group that hands controllers down holds no processes itself: use a group below it",
    (EBUSY, "cgroup.subtree_control"): "a v2 group that holds processes hands no controllers down: move them to a group below it",
    (ENOENT, "cgroup.subtree_control"): "the group above does not hand that controller down",
}

_NO_SWAP = "swap limit: this kernel does not count swap (boot it with swapaccount=1)"
_NO_QUOTA = "cpu quota: this kernel was built without CONFIG_CFS_BANDWIDTH"
_NO_BURST = "cpu burst: this kernel has none (it came with Linux 5.14)"
_NO_IDLE = "cpu idle: this kernel has none (it came with Linux 5.15)"
_NO_REAL_TIME = "real-time cpu limit: this kernel was built without CONFIG_RT_GROUP_SCHED"
_NO_THROTTLE = "io limit: this kernel was built without CONFIG_BLK_DEV_THROTTLING"
_NO_BFQ = "io weight: this kernel was built without CONFIG_BFQ_GROUP_IOSCHED, or its module is not loaded (modprobe bfq)"
_MISSING = {
    "memory.memsw.limit_in_bytes": _NO_SWAP,
    "memory.swap.max": _NO_SWAP,
    "cpu.cfs_period_us": _NO_QUOTA,
    "cpu.cfs_quota_us": _NO_QUOTA,
    "cpu.max": _NO_QUOTA,
    "cpu.cfs_burst_us": _NO_BURST,
    "cpu.max.burst": _NO_BURST,
    "cpu.idle": _NO_IDLE,
    "cpu.rt_period_us": _NO_REAL_TIME,
    "cpu.rt_runtime_us": _NO_REAL_TIME,
    "blkio.throttle.read_bps_device": _NO_THROTTLE,
    "blkio.throttle.write_bps_device": _NO_THROTTLE,
    "blkio.throttle.read_iops_device": _NO_THROTTLE,
    "blkio.throttle.write_iops_device": _NO_THROTTLE,
    "io.max": _NO_THROTTLE,
    "blkio.bfq.weight": _NO_BFQ,
    "blkio.bfq.weight_device": _NO_BFQ,
    "io.weight": "io weight: this kernel was built without CONFIG_BLK_CGROUP_IOCOST",
    "cgroup.kill": "kill: this kernel cannot kill a whole group (that came with Linux 5.14)",
}


def missing(name: str) -> str:
    """What cannot be done on a kernel that has no file of this name, and why."""
    return _MISSING.get(name, f"{name}: this kernel's control groups have no such file")


def write(file: str, value: str) -> None:
    """Write into a file of a group. ``Unsupported`` if this kernel has no such file, ``KernelError`` for all else.

    An empty ``value`` is for a v1 cpuset, which must have CPUs and memory nodes: what the group above has, unless it has some.
    """
    directory, _, name = file.rpartition("/")
    if not value:
        if read(file):
            return
        value = read(f"{os.path.dirname(directory)}/{name}")
    elif name == "cgroup.subtree_control" and set(value.replace("+", "").split()) <= set(read(file).split()):
        return  # they are enabled; to write it again would wait for every group below that is just going away
    try:
        fd = _opened(file)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)
    except OSError as error:
        if os.path.isdir(directory) and not os.path.exists(file):
            raise Unsupported(missing(name)) from None
        code = error.errno or 0
        raise KernelError.of(error, f"write {value} to", file, _HINTS.get((code, name)) or _HINTS.get((code, ""), "")) from None


def _opened(file: str) -> int:
    """The file, to be written. Where somebody else has just enabled its controller the kernel says so before it makes the files."""
    directory, _, name = file.rpartition("/")
    deadline = time.monotonic() + _MOMENT
    while True:
        try:
            return os.open(file, os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            if name.partition(".")[0] not in read(f"{directory}/cgroup.controllers").split() or time.monotonic() > deadline:
                raise
            time.sleep(0.001)


def read(file: str) -> str:
    """The text of a file of a group; empty if there is no such file, or the group is gone."""
    try:
        with open(file) as opened:
            return opened.read().strip()
    except OSError as error:
        if error.errno in (ENOENT, ENODEV, EOPNOTSUPP):
            return ""
        raise KernelError.of(error, "read", file) from None


def number(text: str) -> int | None:
    """None for "max", and for the nothing that a missing file holds."""
    return int(text) if text.isdecimal() else None


def limit(text: str) -> int | None:
    """A number, or None where the number stands for no limit, as 2^63 rounded down to a page does in v1."""
    value = number(text)
    return value if value is not None and value < 1 << 62 else None


def flat(text: str) -> dict[str, int]:
    """``{"oom_kill": 1}``"""
    pairs = (line.rpartition(" ") for line in text.splitlines())
    return {key: int(value) for key, _, value in pairs if value.isdecimal()}


def nested(text: str) -> dict[str, dict[str, str]]:
    """``{"8:0": {"rbytes": "4096", "wbytes": "0"}}``"""
    lines = (line.split() for line in text.splitlines())
    return {words[0]: dict(word.split("=") for word in words[1:] if "=" in word) for words in lines if words}
