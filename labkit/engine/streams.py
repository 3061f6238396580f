"""Attached: one who hears what a container's program, or one that ``exec`` started, writes, and types what it reads.

    client ◀──▶ Attachment ═══ socket pair ═══ monitor ◀──▶ program
                   send(), receive()           it is handed the other end when there is one, before the program begins

    >>> line = streams.attach(engine.containers.get("box"), stdin=True)     # it may not even run yet
    >>> line.send(b"echo hello\\n")
    >>> line.receive()
    (1, b'hello\\n')

The socket is ours from the first moment, so a client may wait for it, with ``poll`` or an event loop, before there is a container; what
is said before is heard later. Packets are ``labkit.runtime.clients``'s. Who stops reading holds up the program, as Docker has it.

Source: moby's ``daemon/attach.go`` and ``container/stream/attach.go``. Shown in notebook 06.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from labkit.engine.detach_keys import DetachKeys
from labkit.engine.logs import Log
from labkit.errors import Conflict, InvalidInput
from labkit.runtime import clients, state

if TYPE_CHECKING:
    from labkit.engine.container import Container

_PIECE = clients.LARGEST - 1


class Attachment:
    """A client's line to a program. A ``with`` block closes it at its end. ``receive`` and ``send`` may be called by two threads."""

    def __init__(
        self, *, tty: bool = False, stdin: bool = False, stdout: bool = True, stderr: bool = True, once: bool = False, detach_keys: str = ""
    ) -> None:
        """``tty``: the program has a terminal; ``once``: its input ends with ours."""
        self.tty = tty
        self.detached = False
        """The user has typed the detach keys."""
        self.past: Iterator[tuple[int, list[bytes]]] = iter(())
        """What ``receive`` gives first, without waiting for the socket: the log, if it was asked for."""
        self._keys = DetachKeys(detach_keys) if tty else None
        self._stdin, self._once = stdin, once
        self.streams = ((1,) if stdout else ()) + ((2,) if stderr and not tty else ())
        self._container: Container | None = None
        self._socket, self.other_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    # For clients

    def fileno(self) -> int:
        """What to wait for; readable when there is output, or when it has ended."""
        return self._socket.fileno()

    def receive(self) -> tuple[int, bytes] | None:
        """Wait for output: which stream it is, 1 or 2, and a piece of it; None at its end."""
        for stream, lines in self.past:
            return stream, b"".join(lines)
        try:
            packet = self._socket.recv(clients.BLOCK + 1)
        except ConnectionResetError:
            return self.receive()  # the other end has not heard our last words; but we may have some of its own to hear
        except OSError:
            return None  # closed by another thread
        return (packet[0], packet[1:]) if packet else None

    def send(self, data: bytes) -> None:
        """Input for the program; waits until there is room for it. Says nothing if nobody reads it any more."""
        if not self._stdin or self.detached:
            return
        if self._keys:
            data, self.detached = self._keys.pass_on(data)
        with suppress(OSError):
            for start in range(0, len(data), _PIECE):
                self._socket.send(b"i" + data[start : start + _PIECE])
        if self.detached:
            if self._container:
                self._container.tell("detach")
            self.close()

    def close_input(self) -> None:
        """The client has no more to say. Docker's rules: the input of a program with ``StdinOnce`` ends, every other client is let go."""
        if not self._stdin:
            return
        if self._once and not self.tty:
            self._stdin = False
            self.end_input()
        else:
            self.close()

    def resize(self, height: int, width: int) -> None:
        """Set the size of the terminal, in characters."""
        with suppress(OSError):
            self._socket.send(f"r{height} {width}".encode())

    def close(self) -> None:
        """Hang up, and let go whoever waits in ``receive`` or ``send``."""
        if self._stdin and self._once and not self.tty and not self.detached:
            self.close_input()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.other_end.close()
        container, self._container = self._container, None
        if container:
            with suppress(ValueError):
                container.pending.remove(self)

    # For the engine

    def end_input(self) -> None:
        """Let the program find the end of its input, once it has read what there is."""
        with suppress(OSError):
            clients.make_room(self._socket)  # for one word more, however much that is
            self._socket.send(b"e")

    def connect(self, directory: str) -> None:
        """Hand the other end to the monitor whose door is in ``directory``; when this returns, it is attached."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door, state.short(directory) as name:
                door.connect(f"{name}/monitor.sock")
                socket.send_fds(door, [b"a" + "".join(map(str, self.streams)).encode()], [self.other_end.fileno()])
                while door.recv(clients.BLOCK + 1):  # output may be sent here, too, until it hangs up
                    pass
        except OSError:
            pass  # there is nobody, and never will be: the end of the line says so
        self.other_end.close()

    def give_up(self) -> None:
        """There will be no output."""
        self.other_end.close()

    def say(self, text: str) -> None:
        """Tell the client, in the program's place; then it is over."""
        with suppress(OSError):
            self.other_end.send(b"\x01" + text.encode())
        self.other_end.close()


def attach(
    container: Container,
    *,
    stdin: bool = False,
    stdout: bool = True,
    stderr: bool = True,
    logs: bool = False,
    stream: bool = True,
    detach_keys: str = "",
) -> Attachment:
    """Attach to a container: now, or when it starts. With ``logs`` what it has said before comes first; without ``stream``, only that."""
    config = container.record.Config
    status = container.state.Status
    if status == "paused":
        raise Conflict(f"container {container.name} is paused, unpause the container before attach")
    if status == "restarting":
        raise Conflict(f"container {container.name} is restarting, wait until the container is running")
    if not (stdin or stdout or stderr):
        raise InvalidInput("you must choose at least one stream")
    line = Attachment(
        tty=config.Tty,
        stdin=stdin and config.OpenStdin and stream,
        stdout=stdout,
        stderr=stderr,
        once=config.StdinOnce,
        detach_keys=detach_keys,
    )
    if logs:
        line.past = iter(Log(container, stdout=stdout, stderr=stderr))
    if not stream:
        line.give_up()
        return line
    line._container = container
    container.tell("attach")
    container.attend(line)
    return line
