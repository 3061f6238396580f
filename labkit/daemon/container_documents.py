"""A container as Docker's API tells it: whole for ``docker inspect``, short for ``docker ps``.

Source: Docker Engine API v1.47, ContainerInspect, ContainerList.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from labkit.daemon import configuration_documents
from labkit.engine import config, times, usage
from labkit.engine.config import EndpointSettings
from labkit.errors import LabError, NotFound

if TYPE_CHECKING:
    from labkit.engine.container import Container
    from labkit.engine.container_file import MountPoint
    from labkit.engine.engine import Engine

Json = dict[str, object]


def inspected(container: Container, with_size: bool = False) -> Json:
    """All about it."""
    record, directory = container.record, container.directory
    told: Json = {
        "Id": record.Id,
        "Created": record.Created,
        "Path": record.path,
        "Args": [*record.args],
        "State": _state(container),
        "Image": record.Image,
        "ResolvConfPath": f"{directory}/resolv.conf",
        "HostnamePath": f"{directory}/hostname",
        "HostsPath": f"{directory}/hosts",
        "LogPath": container.log_path,
        "Name": f"/{record.Name}",
        "RestartCount": record.RestartCount,
        "Driver": record.Driver,
        "Platform": record.Platform,
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": [*container.engine.execs.of(container)] or None,
        "HostConfig": configuration_documents.of_host(record.HostConfig),
        "GraphDriver": {"Data": _directories(container), "Name": record.Driver},
        "Mounts": [_mount(point) for point in record.Mounts],
        "Config": configuration_documents.of_process(record.Config),
        "NetworkSettings": _network_settings(container),
    }
    if with_size:
        size = usage.of_container(container)
        told |= {"SizeRw": size.SizeRw, "SizeRootFs": size.SizeRootFs}
    return told


def _state(container: Container) -> Json:
    state = container.state
    told: Json = {
        "Status": state.Status,
        "Running": state.running,
        "Paused": state.paused,
        "Restarting": state.Status == "restarting",
        "OOMKilled": state.OOMKilled,
        "Dead": state.Status == "dead",
        "Pid": state.Init.Pid if state.alive else 0,
        "ExitCode": state.ExitCode,
        "Error": state.Error,
        "StartedAt": state.StartedAt,
        "FinishedAt": state.FinishedAt,
    }
    if container.health:
        told["Health"] = config.told(container.health)
    return told


def _directories(container: Container) -> Json | None:
    """Where its layers lie, its own topmost."""
    try:
        overlay = container.engine.store.snapshots.overlay(container.record.Snapshot)
    except LabError:
        return None
    merged = f"{container.directory}/rootfs"
    return {"LowerDir": ":".join(overlay.lower), "MergedDir": merged, "UpperDir": overlay.upper, "WorkDir": overlay.work}


def _mount(point: MountPoint) -> Json:
    told: Json = {"Type": point.Type, "Name": point.Name, "Source": point.Source, "Destination": point.Destination, "Driver": point.Driver}
    told = {name: value for name, value in told.items() if value or name not in ("Name", "Driver")}
    return {**told, "Mode": "" if point.Mode == "mount" else point.Mode, "RW": point.RW, "Propagation": point.Propagation}


def _network_settings(container: Container) -> Json:
    networks = _networks(container)
    first = networks.get("bridge", EndpointSettings())
    return {
        "Bridge": "",
        "SandboxID": container.id if container.state.alive else "",
        "SandboxKey": f"/proc/{container.state.Init.Pid}/ns/net" if container.state.alive else "",
        "Ports": _ports(container),
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "EndpointID": first.EndpointID,
        "Gateway": first.Gateway,
        "GlobalIPv6Address": first.GlobalIPv6Address,
        "GlobalIPv6PrefixLen": first.GlobalIPv6PrefixLen,
        "IPAddress": first.IPAddress,
        "IPPrefixLen": first.IPPrefixLen,
        "IPv6Gateway": first.IPv6Gateway,
        "MacAddress": first.MacAddress,
        "Networks": {name: config.told(endpoint) for name, endpoint in networks.items()},
    }


def _networks(container: Container) -> Mapping[str, EndpointSettings]:
    """What it has in its networks; before it has run, what was asked for."""
    record, networks = container.record, container.engine.networks
    try:
        found = {network.Name: replace(networks.asked(container, network), NetworkID=network.Id) for network in networks.of(container)}
    except NotFound:
        found = {}
    return {**found, **record.Endpoints}


def _ports(container: Container) -> dict[str, list[dict[str, str]] | None]:
    """Ports that are bound on the host, and with null those that are only exposed."""
    if not container.state.alive:
        return {}
    record = container.record
    exposed = {port if "/" in port else f"{port}/tcp": None for port in sorted(record.Config.ExposedPorts)}
    bound = {port: [{"HostIp": each.HostIp, "HostPort": each.HostPort} for each in bindings] for port, bindings in record.Ports.items()}
    return {**exposed, **bound}


class Images:
    """The names of images for a list of containers: each is looked up once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._found: dict[str, str] = {}

    def name(self, container: Container) -> str:
        """What the user called it, as long as that is still the same image; else its ID."""
        name = container.record.Config.Image
        if name not in self._found:
            try:
                self._found[name] = self._engine.images.get(name).id
            except LabError:
                self._found[name] = ""
        return name if self._found[name] == container.record.Image else container.record.Image


def listed(container: Container, images: Images, with_size: bool = False) -> Json:
    """A row of ``docker ps``."""
    record = container.record
    told: Json = {
        "Id": record.Id,
        "Names": [f"/{record.Name}"],
        "Image": images.name(container),
        "ImageID": record.Image,
        "Command": _command(record.path, record.args),
        "Created": times.parse(record.Created) // times.SECOND,
        "Ports": _port_list(container),
        "Labels": dict(record.Config.Labels),
        "State": container.state.Status,
        "Status": container.status_text,
        "HostConfig": {"NetworkMode": record.HostConfig.NetworkMode},
        "NetworkSettings": {"Networks": {name: config.told(endpoint) for name, endpoint in _networks(container).items()}},
        "Mounts": [_mount(point) for point in record.Mounts],
    }
    if with_size:
        size = usage.of_container(container)
        told |= {"SizeRw": size.SizeRw, "SizeRootFs": size.SizeRootFs}
    return told


def _command(path: str, arguments: Sequence[str]) -> str:
    return " ".join([path, *(f"'{each}'" if " " in each else each for each in arguments)])


def _port_list(container: Container) -> list[Json]:
    found: list[Json] = []
    for port, bindings in _ports(container).items():
        number, _, protocol = port.partition("/")
        if not number.isdecimal():
            continue
        own: Json = {"PrivatePort": int(number), "Type": protocol or "tcp"}
        found += [{"IP": each["HostIp"], **own, "PublicPort": int(each["HostPort"])} for each in bindings or ()] or [own]
    return found
