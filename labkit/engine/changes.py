"""Changes of a container that exists, while it runs: it is paused, its terminal gets another size, its limits are others.

    >>> web.pause(); web.unpause()
    >>> web.update(Update(Memory=64 << 20, RestartPolicy=RestartPolicy("always")))
    ()

What an update does not say stays. Source: moby's ``daemon/pause.go``, ``daemon/update_linux.go``; Docker Engine API v1.47.
"""

from __future__ import annotations

import socket
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from labkit.engine import oci_resources, restarting, verification
from labkit.engine.config import HostConfig, Resources, Update
from labkit.errors import Conflict, InvalidInput, LabError
from labkit.runtime import state as runtime_state
from labkit.runtime.limits import limits

if TYPE_CHECKING:
    from labkit.engine.container import Container

_FIXED = ("Devices", "DeviceCgroupRules", "DeviceRequests", "Ulimits", "CgroupParent", "Init", "OomKillDisable")


def pause(container: Container) -> None:
    """Freeze it."""
    with container.lock:
        _must_run(container)
        if container.state.paused:
            raise Conflict(f"Container {container.id} is already paused")
        container.cgroup.freeze()
        container.turn("paused")
        container.tell("pause")


def unpause(container: Container) -> None:
    """Thaw it."""
    with container.lock:
        if not container.state.paused:
            raise LabError(f"Container {container.id} is not paused")
        container.cgroup.thaw()
        container.turn("running")
        container.tell("unpause")


def _must_run(container: Container) -> None:
    if container.state.Status == "restarting":
        raise Conflict(f"Container {container.id} is restarting, wait until the container is running")
    if not container.state.alive:
        raise Conflict(f"Container {container.id} is not running")


def resize(container: Container, height: int, width: int) -> None:
    """Set the size of its terminal, through its monitor."""
    _must_run(container)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as monitor:
        try:
            with runtime_state.short(container.run_directory) as directory:
                monitor.connect(f"{directory}/monitor.sock")
            monitor.send(f"r{height} {width}".encode())
        except OSError:
            raise Conflict(f"Container {container.id} is not running") from None
    container.tell("resize", height=str(height), width=str(width))


def update(container: Container, wanted: Update) -> tuple[str, ...]:
    """Change what is said, of a running container at once; warnings."""
    with container.lock:
        if container.is_removed:
            raise Conflict('Container is marked for removal and cannot be "update".')
        try:
            host = merged(container.record.HostConfig, wanted)
        except InvalidInput as error:
            raise InvalidInput(f"Cannot update container {container.id}: {error}") from None
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
