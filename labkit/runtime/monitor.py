"""The monitor: one process a container, its init's parent, which outlives whoever asked for the container.

    spawner ──fork──▶ monitor ──fork──▶ builder: makes the container, and is gone
                        │ stdio:         passed on as given, or held: then output goes to the log and to who is attached
                        │ monitor.sock:  attach, resize, stdin; as long as it holds the stdio
                        ▼ waits for init's end, writes exit.json, deletes the container if it was told to, says "ended"

If the one who asked goes away, nothing happens here: the container runs on and its end is written down. If the monitor is
killed, init runs on too, and its state on disk says what must be undone.

It does as little as it can: every page that it writes to is a page of its own, and there is one of it for every container.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
from typing import TYPE_CHECKING, NoReturn

from labkit.errors import LabError
from labkit.linux import processes
from labkit.runtime import container, state
from labkit.runtime.builder import Builder
from labkit.runtime.stdio import Held

if TYPE_CHECKING:
    from labkit.runtime.spawner import Request


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

    def hear(self) -> str:
        """The next word, "" if the other end has hung up."""
        return self.socket.recv(16).decode()


def attend(request_fd: int, line_fd: int, *given: int) -> NoReturn:
    """What the spawner's child does: a container's whole life, then exit."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    line = Line(line_fd)
    held = None if given else Held()
    try:
        _live(request_fd, line, held, given)
    finally:
        os._exit(0)


def _live(request_fd: int, line: Line, held: Held | None, given: tuple[int, ...]) -> None:
    stdin, stdout, stderr = held.ends if held else given
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        try:
            ours.close()
            Builder(_request(request_fd), line, (stdin, stdout, stderr)).build(theirs)
        finally:
            os._exit(0)
    theirs.close()
    for fd in {stdin, stdout, stderr}:
        os.close(fd)
    word, descriptors, _, _ = socket.recv_fds(ours, 16, 1)
    ours.close()
    if not word:
        _clear_up(request_fd)
        return
    pid = int(word)
    if held:
        held.serve(pid, descriptors[0] if descriptors else -1, _request(request_fd))
    code = processes.exit_code(os.waitpid(pid, 0)[1])
    request = _request(request_fd)
    if request.remove:
        container.delete(request.plan.root, request.plan.id, force=True)
    elif request.new:
        state.record_exit(request.plan.root, request.plan.id, code)
    line.say({"ended": code})


def _request(fd: int) -> Request:
    """What the builder and we are to do; read when it is needed, for it fills some pages."""
    with open(fd, "rb", closefd=False) as file:
        file.seek(0)
        request: Request = pickle.load(file)
    return request


def _clear_up(request_fd: int) -> None:
    """The builder came to nothing: by an error, which it has reported and undone, or because it was killed half-way."""
    code = os.wait()[1]
    if os.WIFSIGNALED(code):
        request = _request(request_fd)
        if request.new:
            try:
                container.delete(request.plan.root, request.plan.id, force=True)
            except LabError:
                state.undo(request.plan.root, request.plan.id)
