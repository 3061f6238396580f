"""What the daemon answers, as records: those fields that the commands read, under the names that Docker's API gives them.

    >>> api.read(answers.Inspected, "/containers/web/json").State.Running
    True

A field that did not come has the default that Go gives it. ``--format`` reads the JSON itself, so nothing is lost here.
Source: Docker Engine API. Shown in notebook 06.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import field

from labkit import codec
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
    Driver: str = ""


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
    EnableIPv4: bool = False
    EnableIPv6: bool = False
    Internal: bool = False
    Labels: Mapping[str, str] = field(default_factory=dict)


@record
class Top:
    """``GET /containers/ID/top``."""

    Titles: tuple[str, ...] = ()
    Processes: tuple[tuple[str, ...], ...] = ()


@record
class Actor:
    """What an event is about."""

    ID: str = ""
    Attributes: Mapping[str, str] = field(default_factory=dict)


@record
class Event:
    """A line of ``GET /events``."""

    Type: str = ""
    Action: str = ""
    Actor: Actor = Actor()
    time: int = 0
    timeNano: int = 0


@record
class Deleted:
    """What has gone of an image: a name or a layer."""

    Untagged: str = ""
    Deleted: str = ""


@record
class Pruned:
    """Any of the answers to ``prune``."""

    ContainersDeleted: tuple[str, ...] = ()
    NetworksDeleted: tuple[str, ...] = ()
    VolumesDeleted: tuple[str, ...] = ()
    ImagesDeleted: tuple[Deleted, ...] = ()
    CachesDeleted: tuple[str, ...] = ()
    SpaceReclaimed: int = 0

    @property
    def lines(self) -> list[str]:
        """A line for each thing."""
        images = [f"untagged: {each.Untagged}" if each.Untagged else f"deleted: {each.Deleted}" for each in self.ImagesDeleted]
        return [*self.ContainersDeleted, *self.NetworksDeleted, *self.VolumesDeleted, *images]


@record
class NetworkCreated:
    """``POST /networks/create``."""

    Id: str
    Warning: str = ""


@record
class Change:
    """A line of ``GET /containers/ID/changes``. ``Kind``: 0 changed, 1 added, 2 deleted."""

    Path: str
    Kind: int = 0


@record
class PathStat:
    """A file in a container, as the header of ``archive`` tells of it. ``mode`` is Go's, whose bit 31 is a directory's."""

    name: str = ""
    size: int = 0
    mode: int = 0
    linkTarget: str = ""

    @property
    def is_directory(self) -> bool:
        """Whether it is one."""
        return bool(self.mode >> 31 & 1)

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> PathStat:
        """What a header says: base64 of JSON."""
        text = next(value for name, value in headers.items() if name.lower() == "x-docker-container-path-stat")
        return codec.decode(cls, json.loads(base64.b64decode(text)))


@record
class Component:
    """A part of the server, in ``GET /version``."""

    Name: str = ""
    Version: str = ""
    Details: Mapping[str, str] = field(default_factory=dict)


@record
class Platform:
    """What the server is called."""

    Name: str = ""


@record
class Version:
    """``GET /version``."""

    Platform: Platform = Platform()
    Components: tuple[Component, ...] = ()
    Version: str = ""
    ApiVersion: str = ""
    MinAPIVersion: str = ""
    GitCommit: str = ""
    GoVersion: str = ""
    Os: str = ""
    Arch: str = ""
    BuildTime: str = ""


@record
class ListedImage:
    """An item of ``GET /images/json``; -1 is not known."""

    Id: str
    RepoTags: tuple[str, ...] = ()
    RepoDigests: tuple[str, ...] = ()
    Created: int = 0
    Size: int = 0
    SharedSize: int = -1
    Containers: int = -1


@record
class CachedBuild:
    """A step of a build that need not be done again."""

    ID: str = ""
    Type: str = ""
    Size: int = 0
    InUse: bool = False
    Shared: bool = False
    UsageCount: int = 0


@record
class DiskUsage:
    """``GET /system/df``."""

    LayersSize: int = 0
    Images: tuple[ListedImage, ...] = ()
    Containers: tuple[Listed, ...] = ()
    Volumes: tuple[Volume, ...] = ()
    BuildCache: tuple[CachedBuild, ...] = ()


@record
class HistoryItem:
    """An item of ``GET /images/NAME/history``."""

    Id: str
    Created: int = 0
    CreatedBy: str = ""
    Size: int = 0
    Comment: str = ""
    Tags: tuple[str, ...] = ()


@record
class Detail:
    """How far it has got, in bytes."""

    current: int | None = None
    total: int | None = None


@record
class ErrorDetail:
    """What went wrong; ``code`` is the exit code of a command of a build."""

    code: int = 0
    message: str = ""


@record
class Aux:
    """What came of it."""

    ID: str = ""


@record
class Said:
    """A line of what the daemon tells while it pulls, pushes, loads or builds."""

    status: str = ""
    id: str = ""
    progressDetail: Detail = Detail()
    stream: str = ""
    error: str = ""
    errorDetail: ErrorDetail = ErrorDetail()
    aux: Aux = Aux()
