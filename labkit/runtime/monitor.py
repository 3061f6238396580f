"""The monitor: one process a container, its init's parent, which outlives whoever asked for the container.

    monitor ──fork──▶ builder: makes the container, hands over, and is gone
       │ ◀─ "pid", and the ends of stdio that are to be held ─┘
       │ stdio:         passed on as given, or held: then output goes to the log and to who is attached
       │ monitor.sock:  attach, resize, stdin; as long as it holds the stdio
       ▼ waits for init's end, writes exit.json, deletes the container if it was told to, says "ended"

If the one who asked goes away, nothing happens here: the container runs on and its end is written down, and the machine's ports
lead to it no longer. If the monitor is killed, init runs on too, and its state on disk says what must be undone.

It does as little as it can: every page that it writes to is a page of its own, and there is one of it for every container.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
from contextlib import suppress
from typing import NoReturn

from labkit.errors import LabError
from labkit.linux import processes
from labkit.runtime import container, state
from labkit.runtime.builder import Made, build
from labkit.runtime.clients import Client
from labkit.runtime.handshake import packed
from labkit.runtime.logfile import Log
from labkit.runtime.stdio import Held

_LARGEST = 16384


class Line:
    """The connection to whoever asked; once they are gone, speaking does nothing."""

    def __init__(self, fd: int) -> None:
        self.socket = socket.socket(fileno=fd)

    def say(self, message: dict[str, object]) -> None:
        """Send a message."""
        try:
            self.socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return  # nobody listens any more

    @property
    def listened(self) -> bool:
        """Whether whoever asked still holds the other end."""
        poll = select.poll()
        poll.register(self.socket, 0)
        return not poll.poll(0)

    def hear(self) -> str:
        """The next word, "" if the other end has hung up."""
        return self.socket.recv(16).decode()


def attend(requests: socket.socket, took: int) -> NoReturn:
    """What the spawner's child does: a container's whole life, then exit."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    maker = _maker()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    builder = os.fork()
    if builder == 0:
        try:
            ours.close()
            build(requests, took, theirs)
        finally:
            os._exit(0)
    try:
        theirs.close()
        requests.close()
        os.close(took)
        _live(builder, ours, maker)
    finally:
        os._exit(0)


def _maker() -> processes.Stat | None:
    """Who has the spawner, and makes containers with it; None if it has ended."""
    spawner = processes.stat(os.getppid())
    return processes.stat(spawner.ppid) if spawner else None


def _live(builder: int, its_line: socket.socket, maker: processes.Stat | None) -> None:
    """Hear from the builder what it is about to make, then what it has made; and stay with that to its end."""
    begun, _, _, _ = socket.recv_fds(its_line, _LARGEST, 0)
    told, descriptors, _, _ = socket.recv_fds(its_line, _LARGEST, 5) if begun else (b"", [], 0, None)
    if not told:
        # It came to nothing. What failed, the builder has undone; if it was killed, that is left to us.
        if os.WIFSIGNALED(os.waitpid(builder, 0)[1]) and begun:
            _clear_up(json.loads(begun))
        _reap()
        return
    made = Made(**json.loads(told))
    line = Line(descriptors.pop(0))
    held = _hold(made, descriptors, line) if descriptors else None
    its_line.close()
    os.waitpid(builder, 0)  # it has said "created" by then: a short program's "ended" must not come first
    if held:
        held.serve()
    code = processes.exit_code(os.waitpid(made.pid, 0)[1])
    try:
        if made.remove:
            container.delete(made.root, made.id, force=True)
        elif made.new:
            state.record_exit(made.root, made.id, code)
            if not maker or not processes.alive(maker.pid, maker.start_time):  # who made it is not there to see to it
                state.shut(made.root, made.id)
        line.say({"ended": code})
    except LabError as error:
        line.say({"failed": packed(error)})


def _hold(made: Made, descriptors: list[int], line: Line) -> Held:
    """Take the stdio that was handed over, and the clients that come with it."""
    directory = state.directory(made.root, made.id)
    clients = [descriptors.pop() for _ in range(made.clients)]

    def tell(text: str) -> None:
        """The log cannot be written: told to whoever listens, and in a file beside state.json."""
        line.say({"warnings": [text]})
        with suppress(OSError), open(f"{directory}/trouble", "w") as file:
            file.write(text + "\n")

    log = Log(made.log, made.rotation[0], made.rotation[1], tell) if made.log else None
    held = Held(made.pid, descriptors, made.terminal, log)
    if made.new:
        held.open(directory)
    for client in clients:
        held.attach(Client(socket.socket(fileno=client), tuple(made.streams)))
    return held


def _clear_up(begun: dict[str, str]) -> None:
    """The builder was killed while it made a new container: take back what it had done."""
    if begun["new"]:
        try:
            container.delete(begun["root"], begun["id"], force=True)
        except LabError:
            state.undo(begun["root"], begun["id"])


def _reap() -> None:
    """Leave no zombie to whoever inherits our children: an init that was killed is one of them."""
    try:
        while True:
            os.wait()
    except ChildProcessError:
        return
