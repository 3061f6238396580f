"""Changes of a container that exists: its limits and its restart policy, while it runs.

    >>> web.update(Update(Memory=64 << 20, RestartPolicy=RestartPolicy("always")))
    ()

What is not said stays. Source: moby's ``daemon/update_linux.go``; Docker Engine API v1.47, ContainerUpdate.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

from labkit.engine import oci_resources, restarting, verification
from labkit.engine.config import HostConfig, Resources, Update
from labkit.errors import Conflict, InvalidInput
from labkit.runtime.limits import limits

if TYPE_CHECKING:
    from labkit.engine.container import Container

_FIXED = ("Devices", "DeviceCgroupRules", "DeviceRequests", "Ulimits", "CgroupParent", "Init", "OomKillDisable")


def update(container: Container, wanted: Update) -> tuple[str, ...]:
    """Change what is said, of a running container at once; warnings."""
    with container.lock:
        if container.is_removed:
            raise Conflict('Container is marked for removal and cannot be "update".')
        host = merged(container.record.HostConfig, wanted)
        warnings = tuple(verification.check_resources(host))
        if wanted.RestartPolicy and wanted.RestartPolicy.Name:
            if host.AutoRemove and wanted.RestartPolicy.Name != "no":
                raise InvalidInput("Restart policy cannot be updated because AutoRemove is enabled for the container")
            verification.check_restart_policy(wanted.RestartPolicy)
            host = replace(host, RestartPolicy=wanted.RestartPolicy)
        if container.state.alive:
            container.cgroup.limit(limits(oci_resources.limits(_said(host, wanted))))
        container.save(HostConfig=host)
        if container.state.Status == "restarting" and not restarting.wants(container, container.state.ExitCode):
            restarting.cancel(container)
            container.become(Status="exited")
        container.tell("update")
    return warnings


def merged(host: HostConfig, wanted: Update) -> HostConfig:
    """The host configuration with what is said in place of what was."""
    said = {each.name: getattr(wanted, each.name) for each in fields(Resources) if getattr(wanted, each.name) != each.default}
    for name in _FIXED:
        said.pop(name, None)
    if "NanoCpus" in said and not said.get("CpuPeriod") and not said.get("CpuQuota"):
        if host.CpuQuota or host.CpuPeriod:
            raise InvalidInput("Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set")
    elif host.NanoCpus and ("CpuQuota" in said or "CpuPeriod" in said):
        what = "CPU Quota" if "CpuQuota" in said else "CPU Period"
        raise InvalidInput(f"Conflicting options: {what} cannot be updated as NanoCPUs has already been set")
    memory = said.get("Memory", 0)
    if memory and not said.get("MemorySwap") and 0 < host.MemorySwap < memory:
        raise InvalidInput("Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time")
    return replace(host, **said)


def _said(host: HostConfig, wanted: Update) -> Resources:
    """The limits to write: those that were said, with what belongs to them."""
    together = {"Memory": "MemorySwap", "MemorySwap": "Memory"}
    names = {each.name for each in fields(Resources) if getattr(wanted, each.name) != each.default}
    names |= {together[name] for name in names & together.keys()}
    return Resources(**{name: getattr(host, name) for name in names - set(_FIXED)})
