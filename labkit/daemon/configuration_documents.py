"""What a container shall be, as ``docker inspect`` shows it: ``Config`` and ``HostConfig``, in Docker's order, with Docker's nulls.

Go writes an empty list as ``null`` or as ``[]``, depending on who made it, and leaves some fields out while they are empty. Scripts look at
that, so it is as Docker's. Source: Docker Engine API v1.47, ContainerInspect; what dockerd writes for the docker command.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from labkit import codec
from labkit.engine import config, oci
from labkit.engine.config import HostConfig, Resources

if TYPE_CHECKING:
    from labkit.engine.config import Config

Json = dict[str, object]

_NULL_IF_EMPTY = frozenset(
    {"Binds", "BlkioDeviceReadBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteBps", "BlkioDeviceWriteIOps", "CapAdd", "CapDrop", "Cmd",
     "DeviceCgroupRules", "DeviceRequests", "Entrypoint", "ExtraHosts", "GroupAdd", "Links", "OnBuild", "SecurityOpt", "Ulimits", "Volumes",
     "VolumesFrom"}
)  # fmt: skip
_ABSENT_IF_EMPTY = frozenset(
    {"Annotations", "ArgsEscaped", "ExposedPorts", "Healthcheck", "Init", "MacAddress", "Mounts", "NetworkDisabled", "Shell", "StopSignal",
     "StopTimeout", "StorageOpt", "Sysctls", "Tmpfs"}
)  # fmt: skip
_WINDOWS = {"CpuCount": 0, "CpuPercent": 0, "IOMaximumIOps": 0, "IOMaximumBandwidth": 0}
_LIMITS = frozenset(each.name for each in fields(Resources))


def of_process(wanted: Config) -> Json:
    """``Config``."""
    told = _told(config.told(wanted))
    if wanted.Healthcheck:
        told["Healthcheck"] = codec.encode(wanted.Healthcheck)
    return told


def of_host(host: HostConfig) -> Json:
    """``HostConfig``, with what is the case where nothing was said."""
    told = _told(config.told(host))
    own = {name: value for name, value in told.items() if name not in _LIMITS}
    limits = {name: value for name, value in told.items() if name in _LIMITS}
    own["CgroupnsMode"] = oci.cgroup_mode(host)
    if not host.Privileged:
        own["MaskedPaths"] = [*(oci.MASKED if host.MaskedPaths is None else host.MaskedPaths)]
        own["ReadonlyPaths"] = [*(oci.READONLY if host.ReadonlyPaths is None else host.ReadonlyPaths)]
    return {**own, **limits, **_WINDOWS}


def _told(found: object) -> Json:
    assert isinstance(found, dict), "a record is told as an object"
    shown = {name: value for name, value in found.items() if value or name not in _ABSENT_IF_EMPTY}
    return {name: None if name in _NULL_IF_EMPTY and not value else value for name, value in shown.items()}
