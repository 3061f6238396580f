"""What the daemon answers, as records: those fields that the commands read, under the names that Docker's API gives them.

    >>> api.read(answers.Inspected, "/containers/web/json").State.Running
    True

A field that did not come has the default that Go gives it. ``--format`` reads the JSON itself, so nothing is lost here.
Source: Docker Engine API. Shown in notebook 06.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from labkit.records import record


@record
class Created:
    """``POST /containers/create``."""

    Id: str
    Warnings: tuple[str, ...] = ()


@record
class Problem:
    """Why waiting for a container failed."""

    Message: str = ""


@record
class Exit:
    """``POST /containers/ID/wait``."""

    StatusCode: int = 0
    Error: Problem | None = None


@record
class Health:
    """Of a container that has a health check."""

    Status: str = ""


@record
class State:
    """``State`` of a container."""

    Status: str = ""
    Running: bool = False
    Paused: bool = False
    Restarting: bool = False
    ExitCode: int = 0


@record
class Config:
    """``Config`` of a container."""

    Tty: bool = False
    OpenStdin: bool = False
    Image: str = ""


@record
class HostConfig:
    """``HostConfig`` of a container."""

    AutoRemove: bool = False


@record
class Binding:
    """A port on the host."""

    HostIp: str = ""
    HostPort: str = ""


@record
class NetworkSettings:
    """``NetworkSettings`` of a container; a port without bindings is exposed only."""

    Ports: Mapping[str, tuple[Binding, ...] | None] = field(default_factory=dict)


@record
class Inspected:
    """``GET /containers/ID/json``."""

    Id: str
    Name: str = ""
    State: State = State()
    Config: Config = Config()
    HostConfig: HostConfig = HostConfig()
    NetworkSettings: NetworkSettings = NetworkSettings()


@record
class Port:
    """A port of a container in a list; ``PublicPort`` 0 is exposed only."""

    PrivatePort: int = 0
    PublicPort: int = 0
    Type: str = "tcp"
    IP: str = ""


@record
class MountPoint:
    """A mount of a container in a list."""

    Name: str = ""
    Source: str = ""
    Type: str = ""


@record
class Networks:
    """The networks of a container in a list."""

    Networks: Mapping[str, object] = field(default_factory=dict)


@record
class Listed:
    """An item of ``GET /containers/json``."""

    Id: str
    Names: tuple[str, ...] = ()
    Image: str = ""
    ImageID: str = ""
    Command: str = ""
    Created: int = 0
    Ports: tuple[Port, ...] = ()
    Labels: Mapping[str, str] = field(default_factory=dict)
    State: str = ""
    Status: str = ""
    NetworkSettings: Networks = Networks()
    Mounts: tuple[MountPoint, ...] = ()
    SizeRw: int = 0
    SizeRootFs: int = 0

    @property
    def name(self) -> str:
        """Its own name: links give it others, with another's name in front."""
        own = [name.removeprefix("/") for name in self.Names if name.count("/") == 1]
        return own[0] if own else ""


@record
class ExecState:
    """``GET /exec/ID/json``."""

    ExitCode: int | None = None
    Running: bool = False
    Pid: int = 0


@record
class Usage:
    """How a volume is used; -1 is not known."""

    Size: int = -1
    RefCount: int = -1


@record
class Volume:
    """A volume."""

    Name: str
    Driver: str = ""
    Mountpoint: str = ""
    Scope: str = ""
    Labels: Mapping[str, str] = field(default_factory=dict)
    UsageData: Usage | None = None


@record
class Volumes:
    """``GET /volumes``."""

    Volumes: tuple[Volume, ...] = ()
    Warnings: tuple[str, ...] = ()


@record
class Network:
    """A network."""

    Name: str
    Id: str = ""
    Created: str = ""
    Driver: str = ""
    Scope: str = ""
    EnableIPv6: bool = False
    Internal: bool = False
    Labels: Mapping[str, str] = field(default_factory=dict)
