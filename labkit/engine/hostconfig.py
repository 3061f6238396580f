"""What a container may have of this machine: limits, mounts, ports, privileges; ``HostConfig`` of Docker's API.

    >>> from labkit.engine.config import HostConfig, RestartPolicy
    >>> HostConfig(Memory=64 << 20, NetworkMode="none", RestartPolicy=RestartPolicy("on-failure", 3))

Zero, "" and None stand for "not said": no limit, the default. Memory is in bytes, ``NanoCpus`` in billionths of a CPU, CPU times in
microseconds. Source: Docker Engine API v1.47, HostConfig.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from labkit.records import record


@record
class RestartPolicy:
    """``no``, ``always``, ``unless-stopped`` or ``on-failure``, the last at most so many times; "" is ``no``."""

    Name: str = ""
    MaximumRetryCount: int = 0


@record
class LogConfig:
    """``json-file`` with ``max-size`` and ``max-file``, or ``none``; "" is json-file."""

    Type: str = ""
    Config: Mapping[str, str] = field(default_factory=dict)


@record
class PortBinding:
    """Where on the host a port of the container's is reached; "" is any address, any free port."""

    HostIp: str = ""
    HostPort: str = ""


@record
class Device:
    """A device of the host's; ``CgroupPermissions`` is made of r, w and m."""

    PathOnHost: str
    PathInContainer: str = ""
    CgroupPermissions: str = "rwm"


@record
class DeviceRequest:
    """A request to a driver of devices, such as ``--gpus``; there are none here."""

    Driver: str = ""
    Count: int = 0
    DeviceIDs: tuple[str, ...] = ()
    Capabilities: tuple[tuple[str, ...], ...] = ()
    Options: Mapping[str, str] = field(default_factory=dict)


@record
class WeightDevice:
    """The share of one block device's time, 10 to 1000."""

    Path: str
    Weight: int = 0


@record
class ThrottleDevice:
    """The most that one block device may be used, in bytes or operations a second."""

    Path: str
    Rate: int = 0


@record
class Ulimit:
    """A limit of each process: ``nofile``, ``nproc``, …; -1 is unlimited."""

    Name: str
    Soft: int = 0
    Hard: int = 0


@record
class BindOptions:
    """Of a mount of type bind."""

    Propagation: str = ""
    NonRecursive: bool = False
    CreateMountpoint: bool = False
    ReadOnlyNonRecursive: bool = False
    ReadOnlyForceRecursive: bool = False


@record
class VolumeDriver:
    """The driver of a volume that has yet to be made."""

    Name: str = ""
    Options: Mapping[str, str] = field(default_factory=dict)


@record
class VolumeOptions:
    """Of a mount of type volume."""

    NoCopy: bool = False
    Labels: Mapping[str, str] = field(default_factory=dict)
    DriverConfig: VolumeDriver | None = None
    Subpath: str = ""


@record
class TmpfsOptions:
    """Of a mount of type tmpfs: bytes, and the mode of its root directory."""

    SizeBytes: int = 0
    Mode: int = 0


@record
class Mount:
    """What ``--mount`` says. ``Type`` is bind, volume or tmpfs."""

    Type: str = ""
    Source: str = ""
    Target: str = ""
    ReadOnly: bool = False
    Consistency: str = ""
    BindOptions: BindOptions | None = None
    VolumeOptions: VolumeOptions | None = None
    TmpfsOptions: TmpfsOptions | None = None


@record
class Resources:
    """Limits, which ``update`` can change while the container runs."""

    CpuShares: int = 0
    Memory: int = 0
    CgroupParent: str = ""
    BlkioWeight: int = 0
    BlkioWeightDevice: tuple[WeightDevice, ...] = ()
    BlkioDeviceReadBps: tuple[ThrottleDevice, ...] = ()
    BlkioDeviceWriteBps: tuple[ThrottleDevice, ...] = ()
    BlkioDeviceReadIOps: tuple[ThrottleDevice, ...] = ()
    BlkioDeviceWriteIOps: tuple[ThrottleDevice, ...] = ()
    CpuPeriod: int = 0
    CpuQuota: int = 0
    CpuRealtimePeriod: int = 0
    CpuRealtimeRuntime: int = 0
    CpusetCpus: str = ""
    CpusetMems: str = ""
    Devices: tuple[Device, ...] = ()
    DeviceCgroupRules: tuple[str, ...] = ()
    DeviceRequests: tuple[DeviceRequest, ...] = ()
    KernelMemory: int = 0
    KernelMemoryTCP: int = 0
    MemoryReservation: int = 0
    MemorySwap: int = 0
    MemorySwappiness: int | None = None
    NanoCpus: int = 0
    OomKillDisable: bool | None = None
    Init: bool | None = None
    PidsLimit: int | None = None
    Ulimits: tuple[Ulimit, ...] = ()


@record
class HostConfig(Resources):
    """All of it. ``MaskedPaths`` and ``ReadonlyPaths``: None is Docker's list, () is none."""

    Binds: tuple[str, ...] = ()
    ContainerIDFile: str = ""
    LogConfig: LogConfig = LogConfig()
    NetworkMode: str = ""
    PortBindings: Mapping[str, tuple[PortBinding, ...] | None] = field(default_factory=dict)
    RestartPolicy: RestartPolicy = RestartPolicy()
    AutoRemove: bool = False
    VolumeDriver: str = ""
    VolumesFrom: tuple[str, ...] = ()
    Mounts: tuple[Mount, ...] = ()
    ConsoleSize: tuple[int, int] = (0, 0)
    Annotations: Mapping[str, str] = field(default_factory=dict)
    CapAdd: tuple[str, ...] = ()
    CapDrop: tuple[str, ...] = ()
    CgroupnsMode: str = ""
    Dns: tuple[str, ...] = ()
    DnsOptions: tuple[str, ...] = ()
    DnsSearch: tuple[str, ...] = ()
    ExtraHosts: tuple[str, ...] = ()
    GroupAdd: tuple[str, ...] = ()
    IpcMode: str = ""
    Cgroup: str = ""
    Links: tuple[str, ...] = ()
    OomScoreAdj: int = 0
    PidMode: str = ""
    Privileged: bool = False
    PublishAllPorts: bool = False
    ReadonlyRootfs: bool = False
    SecurityOpt: tuple[str, ...] = ()
    StorageOpt: Mapping[str, str] = field(default_factory=dict)
    Tmpfs: Mapping[str, str] = field(default_factory=dict)
    UTSMode: str = ""
    UsernsMode: str = ""
    ShmSize: int = 0
    Sysctls: Mapping[str, str] = field(default_factory=dict)
    Runtime: str = ""
    Isolation: str = ""
    MaskedPaths: tuple[str, ...] | None = None
    ReadonlyPaths: tuple[str, ...] | None = None
