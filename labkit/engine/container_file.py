"""What the engine remembers of a container: ``container.json``, readable with ``cat``, written by rename.

    /var/lib/labkit/containers/ID/
        container.json      this file: what it shall be, and how it is
        config.json         the OCI bundle's configuration, as it was started last; rootfs/ is where its root gets mounted
        hostname, hosts, resolv.conf      bound into it
        ID-json.log         what it wrote

    >>> from labkit.engine import container_file
    >>> container_file.load("/var/lib/labkit/containers/4cfc…").State.Status
    'exited'

The record is told to nobody before it is on the disk, so whoever opens the engine after a crash finds what clients were told.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import field

from labkit import codec
from labkit.engine import times
from labkit.engine.config import Config, EndpointSettings, HostConfig, NetworkingConfig, PortBinding
from labkit.errors import InvalidInput, KernelError, NotFound
from labkit.records import record

FILE = "container.json"


@record
class MountPoint:
    """What is mounted where in a container: ``Mounts`` of inspect. ``Type`` is bind, volume or tmpfs; ``Name`` is the volume's."""

    Type: str
    Destination: str
    Source: str = ""
    Name: str = ""
    Driver: str = ""
    Mode: str = ""
    RW: bool = True
    Propagation: str = ""
    Anonymous: bool = False
    """The volume was made for this container, which takes it along when it is removed with its volumes."""
    Options: tuple[str, ...] = ()
    """Of a tmpfs, further options of mount(2); of a bind ``norecursive``: without what is mounted below its source."""


@record
class Process:
    """A process by PID and start time, which together name it for good; 0 is none."""

    Pid: int = 0
    StartTime: int = 0


@record
class State:
    """How a container is. ``Status``: created, running, paused, restarting or exited.

    created ──start──▶ running ◀──▶ paused        restarting: it has ended, and its restart policy starts it again in a moment
       ▲                  │ ▲                     exited, created: start begins anew, on the same file system
       └── (never)        ▼ └── start, policy
                  exited, restarting ──remove──▶ gone
    """

    Status: str = "created"
    Init: Process = Process()
    Monitor: Process = Process()
    ExitCode: int = 0
    Error: str = ""
    OOMKilled: bool = False
    StartedAt: str = times.NEVER
    FinishedAt: str = times.NEVER

    @property
    def running(self) -> bool:
        """As Docker counts: a container that is paused runs, and so does one that is about to be restarted."""
        return self.Status in ("running", "paused", "restarting")

    @property
    def alive(self) -> bool:
        """Whether there are processes in it."""
        return self.Status in ("running", "paused")

    @property
    def paused(self) -> bool:
        """Whether it stands still."""
        return self.Status == "paused"


@record
class Record:
    """A container. ``Name`` has no slash; ``Image`` is the ID of the image, ``Config.Image`` what the user called it."""

    Id: str
    Name: str
    Created: str
    Image: str
    Snapshot: str
    Config: Config
    HostConfig: HostConfig
    NetworkingConfig: NetworkingConfig = NetworkingConfig()
    Mounts: tuple[MountPoint, ...] = ()
    State: State = State()
    RestartCount: int = 0
    HasBeenStarted: bool = False
    HasBeenManuallyStopped: bool = False
    Driver: str = "overlay2"
    Platform: str = "linux"
    Endpoints: Mapping[str, EndpointSettings] = field(default_factory=dict)
    """What it has in its networks while it runs, by the network's name."""
    Ports: Mapping[str, tuple[PortBinding, ...]] = field(default_factory=dict)
    """Where its ports are found on the machine while it runs."""
    Left: tuple[str, ...] = ()
    """The IDs of networks that it was taken out of, though it was made to be in them."""

    @property
    def path(self) -> str:
        """The program."""
        return self.Config.command[0]

    @property
    def args(self) -> tuple[str, ...]:
        """The program's arguments."""
        return self.Config.command[1:]


def save(directory: str, record: Record) -> None:
    """Write the file; ``KernelError`` if it cannot be, and then the old one is still there."""
    path = f"{directory}/{FILE}"
    try:
        with open(f"{path}.new", "w") as file:
            file.write(json.dumps(codec.encode(record)))
        os.rename(f"{path}.new", path)
    except OSError as error:
        raise KernelError.of(error, "write", path) from None


def load(directory: str) -> Record:
    """Read the file; ``NotFound`` if there is none, ``InvalidInput`` if somebody has damaged it."""
    path = f"{directory}/{FILE}"
    try:
        with open(path, "rb") as file:
            return codec.decode(Record, json.load(file), path)
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    except OSError as error:
        raise KernelError.of(error, "read", path) from None
    except ValueError as error:
        raise InvalidInput(f"{path}: is not JSON: {error}") from None
