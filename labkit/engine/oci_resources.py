"""Limits and devices of a container, from Docker's words to those of an OCI configuration.

    >>> from labkit.engine import oci_resources
    >>> oci_resources.resources(HostConfig(NanoCpus=500_000_000)).cpu
    CPU(quota=50000, period=100000, …)

Source: moby's ``daemon/oci_linux.go`` and ``oci/devices_linux.go``; OCI runtime-spec 1.1, config-linux.md. Shown in notebook 02.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace

from labkit.engine.config import Device as Asked
from labkit.engine.config import HostConfig, ThrottleDevice
from labkit.engine.config import Resources as Wanted
from labkit.engine.oci_mounts import SHM_SIZE
from labkit.errors import InvalidInput, NotFound, Unsupported
from labkit.linux import cgroups
from labkit.linux.devices import Device
from labkit.runtime import spec_resources as oci
from labkit.runtime.spec_linux import DeviceRule, Resources

_RULE = re.compile(r"([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})")
PERIOD = 100_000
"""Microseconds of a CPU period, if the user does not say."""


def resources(host: HostConfig) -> Resources:
    """The container's control group: devices and limits."""
    return replace(limits(host), devices=tuple(_device_rules(host)))


def limits(wanted: Wanted) -> Resources:
    """The limits alone, which can be changed while the container runs."""
    return Resources(
        memory=_memory(wanted),
        cpu=_cpu(wanted),
        pids=oci.Pids(wanted.PidsLimit) if wanted.PidsLimit else None,
        blockIO=_block(wanted),
    )


def _memory(wanted: Wanted) -> oci.Memory | None:
    swappiness = wanted.MemorySwappiness if wanted.MemorySwappiness != -1 else None
    memory = oci.Memory(
        limit=wanted.Memory or None,
        swap=memory_and_swap(wanted) or None,
        reservation=wanted.MemoryReservation or None,
        swappiness=swappiness,
        disableOOMKiller=bool(wanted.OomKillDisable),
    )
    return memory if memory != oci.Memory() else None


def memory_and_swap(wanted: Wanted) -> int:
    """Bytes of RAM and swap together; who limits RAM and says nothing of swap gets as much of it again, where that is counted."""
    if wanted.MemorySwap or not wanted.Memory or not counts_swap():
        return wanted.MemorySwap
    return 2 * wanted.Memory


def adapted(host: HostConfig) -> HostConfig:
    """The host configuration as it is remembered: with the limit of swap that goes with that of RAM, and one word for each mode."""
    swap = memory_and_swap(host)
    swappiness = None if host.MemorySwappiness == -1 else host.MemorySwappiness
    return replace(
        host,
        MemorySwap=swap,
        MemorySwappiness=swappiness,
        ShmSize=host.ShmSize or SHM_SIZE,
        NetworkMode=host.NetworkMode or "default",
        IpcMode=host.IpcMode or "private",
        LogConfig=host.LogConfig if host.LogConfig.Type else replace(host.LogConfig, Type="json-file"),
        RestartPolicy=host.RestartPolicy if host.RestartPolicy.Name else replace(host.RestartPolicy, Name="no"),
    )


def counts_swap() -> bool:
    """Whether this machine's kernel counts swap for control groups."""
    memory = cgroups.detect().controllers.get("memory")
    return bool(memory and memory.files & {"memory.memsw.limit_in_bytes", "memory.swap.max"})


def _cpu(wanted: Wanted) -> oci.CPU | None:
    period, quota = wanted.CpuPeriod or None, wanted.CpuQuota or None
    if wanted.NanoCpus:
        period, quota = PERIOD, wanted.NanoCpus * PERIOD // 10**9
    cpu = oci.CPU(
        shares=max(wanted.CpuShares, 2) if wanted.CpuShares else None,
        quota=quota,
        period=period,
        realtimePeriod=wanted.CpuRealtimePeriod or None,
        realtimeRuntime=wanted.CpuRealtimeRuntime or None,
        cpus=wanted.CpusetCpus,
        mems=wanted.CpusetMems,
    )
    return cpu if cpu != oci.CPU() else None


def _block(wanted: Wanted) -> oci.BlockIO | None:
    block = oci.BlockIO(
        weight=wanted.BlkioWeight or None,
        weightDevice=tuple(oci.WeightDevice(*_numbers(each.Path), weight=each.Weight) for each in wanted.BlkioWeightDevice),
        throttleReadBpsDevice=_throttles(wanted.BlkioDeviceReadBps),
        throttleWriteBpsDevice=_throttles(wanted.BlkioDeviceWriteBps),
        throttleReadIOPSDevice=_throttles(wanted.BlkioDeviceReadIOps),
        throttleWriteIOPSDevice=_throttles(wanted.BlkioDeviceWriteIOps),
    )
    return block if block != oci.BlockIO() else None


def _throttles(wanted: Sequence[ThrottleDevice]) -> tuple[oci.ThrottleDevice, ...]:
    return tuple(oci.ThrottleDevice(*_numbers(each.Path), rate=each.Rate) for each in wanted)


def _numbers(path: str) -> tuple[int, int]:
    """Major and minor number of a block device."""
    try:
        found = os.stat(path)
    except OSError:
        raise NotFound(f"no such device: {path}") from None
    if not stat.S_ISBLK(found.st_mode):
        raise InvalidInput(f"{path} is not a block device")
    return os.major(found.st_rdev), os.minor(found.st_rdev)


def _device_rules(host: HostConfig) -> Iterator[DeviceRule]:
    """Nothing but the default devices and those that were asked for; all of them for a privileged container."""
    if host.Privileged:
        yield DeviceRule(allow=True, access="rwm")
        return
    yield DeviceRule(allow=False, access="rwm")
    for asked in host.Devices:
        for device in _found(asked):
            yield DeviceRule(True, device.type, device.major, device.minor, asked.CgroupPermissions or "rwm")
    for rule in host.DeviceCgroupRules:
        yield _rule(rule)


def _rule(text: str) -> DeviceRule:
    found = _RULE.fullmatch(text)
    if not found:
        raise InvalidInput(f"invalid device cgroup rule format: '{text}'")
    major, minor = (None if number == "*" else int(number) for number in found.group(2, 3))
    return DeviceRule(True, found[1], major, minor, found[4])


def check_rules(rules: Sequence[str]) -> None:
    """``InvalidInput`` for a rule that is none: one is like "c 1:3 rwm"."""
    for rule in rules:
        _rule(rule)


def devices(host: HostConfig) -> tuple[Device, ...]:
    """The nodes to make: those that were asked for, and all of the host's for a privileged container."""
    if any(host.DeviceRequests):
        raise Unsupported(f'could not select device driver "{host.DeviceRequests[0].Driver}": labkit has none for GPUs and their like')
    found = {device.path: device for device in (_of_host() if host.Privileged else ())}
    for asked in host.Devices:
        found.update((device.path, device) for device in _found(asked))
    return tuple(found.values())


def _found(asked: Asked) -> Iterator[Device]:
    """A device of the host's, or all in a directory of it, by the name that it shall have."""
    target = asked.PathInContainer or asked.PathOnHost
    path = os.path.realpath(asked.PathOnHost)
    try:
        if os.path.isdir(path):
            for device in _below(path):
                yield _named(device, target + device.path[len(path) :])
            return
        found = _device(path, os.stat(path))
    except OSError as error:
        problem = f'error gathering device information while adding custom device "{asked.PathOnHost}"'
        raise NotFound(f"{problem}: {(error.strerror or '').lower()}") from None
    if found is None:
        raise InvalidInput(f'error gathering device information while adding custom device "{asked.PathOnHost}": not a device node')
    yield _named(found, target)


def _named(device: Device, path: str) -> Device:
    return Device(path, device.type, device.major, device.minor, device.fileMode, device.uid, device.gid)


def _device(path: str, found: os.stat_result) -> Device | None:
    kind = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}.get(stat.S_IFMT(found.st_mode))
    if kind is None:
        return None
    mode = stat.S_IMODE(found.st_mode)
    return Device(path, kind, os.major(found.st_rdev), os.minor(found.st_rdev), mode, found.st_uid, found.st_gid)


def _of_host() -> Iterator[Device]:
    """The host's devices, without those that each container has of its own: terminals, shared memory, queues."""
    yield from _below("/dev")


def _below(directory: str) -> Iterator[Device]:
    for entry in os.scandir(directory):
        if entry.is_dir(follow_symlinks=False):
            if entry.name not in ("pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"):
                yield from _below(entry.path)
            continue
        if entry.name == "console" or entry.is_symlink():
            continue
        device = _device(entry.path, entry.stat(follow_symlinks=False))
        if device:
            yield device
