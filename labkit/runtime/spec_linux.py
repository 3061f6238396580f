"""The ``linux`` part of ``config.json``: OCI runtime-spec 1.1, config-linux.md.

    >>> from labkit.runtime.spec_linux import Linux, Namespace
    >>> Linux(namespaces=(Namespace("pid"), Namespace("network", path="/run/netns/shop")))

Classes that belong to a kernel subject live there, with the specification's field names: ``IdMap`` in ``labkit.linux.idmaps``,
``Device`` in ``labkit.linux.devices``, the seccomp ``Profile`` in ``labkit.linux.seccomp``. They, and the control group
limits of ``spec_resources``, are imported when a configuration holds one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from labkit.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from labkit.linux.devices import Device
    from labkit.linux.idmaps import IdMap
    from labkit.linux.seccomp import Profile
    from labkit.runtime.spec_resources import CPU, BlockIO, HugepageLimit, Memory, Network, Pids, Rdma


@record
class Namespace:
    """A namespace that is new to the container, or with ``path`` one that exists; ``man 7 namespaces``."""

    type: str
    path: str = ""


@record
class TimeOffset:
    """How far a clock of the container is ahead of the host's; ``man 7 time_namespaces``."""

    secs: int = 0
    nanosecs: int = 0


@record
class Personality:
    """``man 2 personality``: LINUX, or LINUX32 where ``uname -m`` shall say i686."""

    domain: str
    flags: tuple[str, ...] = ()


@record
class DeviceRule:
    """Which device nodes may be used: later rules win. Without ``type`` it is all types, without a number all numbers."""

    allow: bool
    type: str = ""
    major: int | None = None
    minor: int | None = None
    access: str = ""


@record
class Resources:
    """What the container's control group grants. None leaves the kernel's default."""

    devices: tuple[DeviceRule, ...] = ()
    memory: Memory | None = None
    cpu: CPU | None = None
    pids: Pids | None = None
    blockIO: BlockIO | None = None
    hugepageLimits: tuple[HugepageLimit, ...] = ()
    network: Network | None = None
    rdma: Mapping[str, Rdma] = field(default_factory=dict)
    unified: Mapping[str, str] = field(default_factory=dict)


@record
class Linux:
    """What only Linux has. A namespace that ``namespaces`` does not name is the runtime's own."""

    uidMappings: tuple[IdMap, ...] = ()
    gidMappings: tuple[IdMap, ...] = ()
    timeOffsets: Mapping[str, TimeOffset] = field(default_factory=dict)
    sysctl: Mapping[str, str] = field(default_factory=dict)
    cgroupsPath: str = ""
    resources: Resources = Resources()
    namespaces: tuple[Namespace, ...] = ()
    devices: tuple[Device, ...] = ()
    seccomp: Profile | None = None
    rootfsPropagation: str = ""
    maskedPaths: tuple[str, ...] = ()
    readonlyPaths: tuple[str, ...] = ()
    personality: Personality | None = None
    mountLabel: str = ""
    intelRdt: Mapping[str, object] = field(default_factory=dict)


def __getattr__(name: str) -> object:
    """The classes that are imported when a configuration holds one."""
    from importlib import import_module

    homes = {"Device": "labkit.linux.devices", "IdMap": "labkit.linux.idmaps", "Profile": "labkit.linux.seccomp"}
    if name.startswith("_"):
        raise AttributeError(name)
    return getattr(import_module(homes.get(name, "labkit.runtime.spec_resources")), name)
