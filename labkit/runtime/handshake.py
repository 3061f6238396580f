"""How the two sides of a container's birth take turns.

    host: conduct()                             container: init
      │ host steps: the control group
      │ Clone ────────────────────────────────▶ init (a copy of this process), in its new namespaces
      │ ── "go" ──────────────────────────────▶ │ JoinCgroup …
      │ ◀─ {"done": true} ───────────────────── │
      │ host steps, if any: SetIdMaps, hooks    │
      │ ── "go" ──────────────────────────────▶ │ Mount … PivotRoot … SetCapabilities
      │ ◀─ {"terminal": name} + descriptor ──── │ (with a pty)
      │ ◀─ {"warning": text} ────────────────── │ (of what is no failure)
      │ ◀─ {"done": true} ───────────────────── │ or {"failed": error}
      │ writes state.json: it is created        │
      │ ── "go" ──────────────────────────────▶ │ AwaitStart: accept() on start.sock
      ╵ (create returns)                        │
                                                │
    start: connect to start.sock, "start" ────▶ │ Exec
      ◀─ end of file: it closes on execve ───── │ the program
      ◀─ {"failed": error} otherwise ────────── ╵

Where namespaces are joined, what is cloned first is a *stage* that enters them and then clones init as its sibling; it says
{"born": pid} and ends.

The line is a SOCK_SEQPACKET pair: a message is a packet of JSON, and the death of either side is an end of file at the
other. So init never outlives a host side that dies half-way, and the host side never waits for an init that was killed.
"""

from __future__ import annotations

import array  # noqa: F401  (socket imports it when it first passes a descriptor, and then init has no library any more)
import json
import os
import socket
from typing import TYPE_CHECKING

from labkit import errors
from labkit.errors import KernelError, LabError

if TYPE_CHECKING:
    from labkit.runtime.context import Context

_LARGEST = 65536


class Channel:
    """One end of the line between the two sides."""

    def __init__(self, line: socket.socket) -> None:
        self.line = line

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Both ends of a new line."""
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        return cls(left), cls(right)

    def send(self, message: dict[str, object], *descriptors: int) -> None:
        """Send one message, and descriptors with it. Raises ``BrokenPipeError`` if the other side is gone."""
        socket.send_fds(self.line, [json.dumps(message).encode()], list(descriptors))

    def receive(self) -> tuple[dict[str, object], list[int]]:
        """The next message and its descriptors; an empty message if the other side is gone."""
        try:
            data, descriptors, _flags, _address = socket.recv_fds(self.line, _LARGEST, 1)
        except ConnectionResetError:
            return {}, []
        return (json.loads(data) if data else {}), descriptors

    def close(self) -> None:
        """Hang up."""
        self.line.close()


def give_word(context: Context) -> None:
    """Host side: let the container side apply its next run of steps."""
    try:
        context.channel.send({"go": True})
    except BrokenPipeError:
        raise killed(context) from None  # while it waited, so it has left no word why


def await_done(context: Context, is_last: bool = False) -> None:
    """Host side: hear what the container side reports until it is done with its run of steps. Raises what it raised.

    The last run of a plan ends in execve, and then the line's close-on-exec end says so.
    """
    while True:
        message, descriptors = context.channel.receive()
        if "born" in message:
            context.reap()
            context.pid = int(str(message["born"]))
            context.pidfd = os.pidfd_open(context.pid)
        elif "warning" in message:
            context.warnings.append(str(message["warning"]))
        elif "terminal" in message:
            context.terminal = descriptors[0]
        elif "listener" in message:
            _hand_over(context, message, descriptors[0])
        elif "done" in message:
            return
        elif "failed" in message:
            raise unpacked(message["failed"])
        elif is_last and context.pidfd >= 0:
            return
        else:
            raise killed(context)


def killed(context: Context) -> LabError:
    """The error that tells of the line's early end; memory may be why, and then the kernel has counted it."""
    from labkit.linux import cgroups

    message = f"container {context.plan.id}: its first process was killed while the plan was being applied"
    try:
        ran_out = cgroups.Cgroup(context.plan.container.cgroup).events().oom_kill
    except LabError:
        ran_out = None
    return LabError(f"{message}: its memory limit is too small" if ran_out else message)


def _hand_over(context: Context, message: dict[str, object], listener: int) -> None:
    """Give a seccomp agent its descriptor, with the container process state (runtime-spec, config-linux.md#seccomp)."""
    from labkit.linux import seccomp

    state = {
        "ociVersion": "1.1.0",
        "fds": ["seccompFd"],
        "pid": context.pid,
        "metadata": message["metadata"],
        "state": context.state("creating"),
    }
    seccomp.send_listener(str(message["listener"]), listener, json.dumps(state))
    os.close(listener)


def packed(error: Exception) -> dict[str, object]:
    """An error as a message; ``unpacked`` makes it an error again on the other side."""
    if isinstance(error, KernelError):
        fields: list[object] = [error.errno, error.operation, error.object, error.hint]
        return {"kind": "KernelError", "arguments": fields}
    if isinstance(error, OSError):
        return packed(KernelError.of(error, "container side:", str(error.filename or "")))
    return {"kind": type(error).__name__, "arguments": [str(error)]}


def unpacked(message: object) -> LabError:
    """The error that ``packed`` was given; one that is not labkit's own becomes a ``LabError`` naming it."""
    assert isinstance(message, dict)
    kind = getattr(errors, str(message["kind"]), None)
    if isinstance(kind, type) and issubclass(kind, LabError):
        return kind(*message["arguments"])
    return LabError(f"{message['kind']}: {' '.join(map(str, message['arguments']))}")
