"""What the steps of one container share while they are applied: pids, descriptors, and the line to the other side."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from labkit.errors import LabError
from labkit.linux import processes

if TYPE_CHECKING:
    from labkit.runtime.handshake import Channel
    from labkit.runtime.plans import Plan


@dataclass(eq=False)
class Context:
    """One side's view of a container in the making; after ``Clone`` each side has a copy of its own.

    ``pid`` and ``pidfd`` are init's, as the host sees it; the stage's, until init is born from that. ``adopted``: they are not our
    children but our parent's, a monitor's, who waits for them. ``stdio`` are the three descriptors that become init's;
    ``terminal`` is the master of its pty, once there is one; ``warnings`` are those of the container side that have arrived.
    """

    plan: Plan
    single: bool = False
    stdio: tuple[int, int, int] | None = None
    preserve: int = 0
    adopted: bool = False
    pid: int = 0
    pidfd: int = -1
    terminal: int = -1
    mounts: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    start_socket: socket.socket | None = None
    starter: socket.socket | None = None
    _channel: Channel | None = None

    def reap(self) -> None:
        """Wait for the end of the process that ``pidfd`` is of, as its parent if it is our child."""
        processes.wait(self.pidfd)
        if not self.adopted:
            os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        os.close(self.pidfd)
        self.pidfd = -1

    @property
    def channel(self) -> Channel:
        """The line to the other side; there is one from ``Clone`` on."""
        if self._channel is None:
            raise LabError(f"container {self.plan.id}: the plan has no Clone before its first container step")
        return self._channel

    @channel.setter
    def channel(self, channel: Channel) -> None:
        self._channel = channel

    def warn(self, warning: str) -> None:
        """Container side: tell of what is no failure, if the host side still listens."""
        with suppress(BrokenPipeError):
            self.channel.send({"warning": warning})

    def state(self, status: str) -> dict[str, object]:
        """The state of the container as hooks get it on stdin (OCI runtime-spec 1.1, runtime.md#state)."""
        return {
            "ociVersion": "1.1.0",
            "id": self.plan.id,
            "status": status,
            "pid": self.pid or os.getpid(),
            "bundle": self.plan.container.bundle,
            "annotations": dict(self.plan.container.annotations),
        }
