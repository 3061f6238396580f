"""What a container shall be, in the words of Docker's API: the body of ``POST /containers/create`` as frozen records.

    Config              belongs to the container wherever it runs: command, environment, user, labels    (an image has one, too)
    HostConfig          belongs to this machine: limits, mounts, ports, privileges                       hostconfig.py
    NetworkingConfig    the networks it is in, and as whom                                               below

    >>> from labkit.engine import config
    >>> config.decode(config.Config, {"Image": "busybox", "Cmd": ["true"], "Env": None, "Unheard": "of"})
    Config(Image='busybox', …)
    >>> config.merged(wanted, image.config.config)          # what the user left out is the image's

``null`` and a missing field say the same but where noted, as in Go; unknown fields are ignored; a wrong type is ``InvalidInput``
that names the field. ``config.told`` writes a record with every field, as Docker does, ``codec.encode`` only what was said.
Source: Docker Engine API v1.47, ContainerCreate. Shown in notebook 06-client-daemon-containers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields, is_dataclass, replace

from labkit import codec
from labkit.engine.hostconfig import (
    Device,
    DeviceRequest,
    HostConfig,
    LogConfig,
    Mount,
    PortBinding,
    Resources,
    RestartPolicy,
    ThrottleDevice,
    Ulimit,
    WeightDevice,
)
from labkit.errors import InvalidInput
from labkit.image.container_config import ContainerConfig, Healthcheck
from labkit.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    T = TypeVar("T")

__all__ = [
    "Config", "Device", "DeviceRequest", "EndpointIPAMConfig", "EndpointSettings", "Healthcheck", "HostConfig", "LogConfig", "Mount",
    "NetworkingConfig", "PortBinding", "Resources", "RestartPolicy", "ThrottleDevice", "Ulimit", "Update", "WeightDevice", "decode",
    "merged", "told",
]  # fmt: skip


@record
class Config:
    """The container's process and what describes it. ``Entrypoint`` None takes the image's, () takes it away."""

    Hostname: str = ""
    Domainname: str = ""
    User: str = ""
    AttachStdin: bool = False
    AttachStdout: bool = False
    AttachStderr: bool = False
    ExposedPorts: Mapping[str, object] = field(default_factory=dict)
    Tty: bool = False
    OpenStdin: bool = False
    StdinOnce: bool = False
    Env: tuple[str, ...] = ()
    Cmd: tuple[str, ...] | None = None
    Healthcheck: Healthcheck | None = None
    ArgsEscaped: bool = False
    Image: str = ""
    Volumes: Mapping[str, object] = field(default_factory=dict)
    WorkingDir: str = ""
    Entrypoint: tuple[str, ...] | None = None
    NetworkDisabled: bool = False
    MacAddress: str = ""
    OnBuild: tuple[str, ...] = ()
    Labels: Mapping[str, str] = field(default_factory=dict)
    StopSignal: str = ""
    StopTimeout: int | None = None
    Shell: tuple[str, ...] = ()

    @property
    def command(self) -> tuple[str, ...]:
        """What is executed: entry point and command in a row."""
        return (*(self.Entrypoint or ()), *(self.Cmd or ()))


@record
class EndpointIPAMConfig:
    """The addresses that were asked for."""

    IPv4Address: str = ""
    IPv6Address: str = ""
    LinkLocalIPs: tuple[str, ...] = ()


@record
class EndpointSettings:
    """A container in one network: what was asked for, and below that what it got."""

    IPAMConfig: EndpointIPAMConfig | None = None
    Links: tuple[str, ...] = ()
    Aliases: tuple[str, ...] = ()
    MacAddress: str = ""
    DriverOpts: Mapping[str, str] = field(default_factory=dict)
    NetworkID: str = ""
    EndpointID: str = ""
    Gateway: str = ""
    IPAddress: str = ""
    IPPrefixLen: int = 0
    IPv6Gateway: str = ""
    GlobalIPv6Address: str = ""
    GlobalIPv6PrefixLen: int = 0
    DNSNames: tuple[str, ...] = ()


@record
class NetworkingConfig:
    """Endpoints by the name of their network. docker-py writes ``null`` for one of which nothing is asked."""

    EndpointsConfig: Mapping[str, EndpointSettings | None] = field(default_factory=dict)


@record
class Update(Resources):
    """The body of ``POST /containers/ID/update``: what is not said stays as it is."""

    RestartPolicy: RestartPolicy | None = None


def decode(cls: type[T], data: object, path: str = "") -> T:
    """A record of this module from JSON. A command may be one string, as in Go's ``StrSlice``, and stands for a list of one."""
    if isinstance(data, dict) and cls is Config:
        alone = {name: [data[name]] for name in ("Cmd", "Entrypoint", "Shell") if isinstance(data.get(name), str)}
        data = {**data, **alone} if alone else data
    return codec.decode(cls, data, path)


def told(value: object) -> object:
    """A record as JSON with all its fields, what was not said included; inspect shows it so."""
    if is_dataclass(value):
        return {each.metadata.get("json", each.name): told(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, tuple | list):
        return [told(item) for item in value]
    if isinstance(value, Mapping):
        return {key: told(item) for key, item in value.items()}
    return value


def merged(wanted: Config, image: ContainerConfig) -> Config:
    """The configuration with what the user left out taken from the image. ``InvalidInput`` if there is no command in the end."""
    cmd, entrypoint = wanted.Cmd, wanted.Entrypoint
    if not entrypoint:
        # A user who names a program of their own does not want the image's arguments for another one.
        cmd = cmd or image.Cmd
        entrypoint = image.Entrypoint or None if entrypoint is None else entrypoint
    if entrypoint == ("",):  # what `--entrypoint ""` sends
        entrypoint = None
    whole = replace(
        wanted,
        User=wanted.User or image.User,
        ExposedPorts={**image.ExposedPorts, **wanted.ExposedPorts},
        Env=_environment(wanted.Env, image.Env),
        Cmd=cmd or None,
        Entrypoint=entrypoint or None,
        Healthcheck=_healthcheck(wanted.Healthcheck, image.Healthcheck),
        Volumes={**image.Volumes, **wanted.Volumes},
        WorkingDir=wanted.WorkingDir or image.WorkingDir,
        Labels={**image.Labels, **wanted.Labels},
        StopSignal=wanted.StopSignal or image.StopSignal,
        Shell=wanted.Shell or image.Shell,
    )
    if not whole.command:
        raise InvalidInput("no command specified")
    return whole


def _environment(wanted: tuple[str, ...], image: tuple[str, ...]) -> tuple[str, ...]:
    """The user's variables, then those of the image that the user does not name."""
    named = {entry.partition("=")[0] for entry in wanted}
    return (*wanted, *(entry for entry in image if entry.partition("=")[0] not in named))


def _healthcheck(wanted: Healthcheck | None, image: Healthcheck | None) -> Healthcheck | None:
    """The user may change the times of the image's check and keep its command."""
    if wanted is None or image is None:
        return wanted or image
    names = [each.name for each in fields(Healthcheck)]
    return Healthcheck(**{name: getattr(wanted, name) or getattr(image, name) for name in names})
