"""A container, or a program in it, in the foreground: its streams are ours, our signals are its, and its exit code becomes ours.

    keys ──▶ stdin ──▶ detach keys? ──▶ connection ──▶ daemon ──▶ process
    stdout, stderr ◀── frames or terminal ◀── connection ◀── …
    SIGWINCH ──▶ POST …/resize          other signals ──▶ POST …/kill?signal=…          (on a terminal, keys do that)
    POST …/wait ──▶ exit code

One thread waits for all of them at once. Our own terminal is raw for as long as it is connected to one in the container, and is what it
was before whatever happens, short of SIGKILL. Source: ``man 2 poll``; ``hijack.go``, ``signals.go`` and ``tty.go`` of
github.com/docker/cli. Shown in notebook 06.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from labkit.cli.client import terminal
from labkit.cli.client.grammar import Failed
from labkit.cli.client.streams import OUT, Connection, Frames, write
from labkit.cli.client.terminal import DetachKeys
from labkit.errors import LabError
from labkit.linux import pty

_CHUNK = 1 << 16
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_OURS = (signal.SIGCHLD, signal.SIGPIPE, signal.SIGURG, signal.SIGWINCH, signal.SIGKILL, signal.SIGSTOP, signal.SIGTTIN, signal.SIGTTOU,
         signal.SIGTSTP, signal.SIGCONT)  # fmt: skip
"""Signals that are about this process and never about the container's."""


class Foreground:
    """What is connected with what. ``tty``: the process has a terminal. ``stdin``: it gets our input."""

    def __init__(
        self,
        connection: Connection,
        *,
        tty: bool,
        stdin: bool,
        keys: DetachKeys,
        resize: Callable[[int, int], object] | None = None,
        forward: Callable[[str], object] | None = None,
    ) -> None:
        self.connection = connection
        self.tty = tty
        self.keys = keys
        self.resize = resize
        self.forward = forward
        self.detached = False
        """The person has typed the detach keys."""
        self._frames = None if tty else Frames()
        self._reads_input = stdin
        self._unsent = b""
        self._open = True

    def run(self, ended: Connection | None = None) -> None:
        """Pass everything on until the process has no more to say (and ``ended`` can be read, if it is given), or the person leaves.

        ``Failed`` with 128 + n if a signal that nobody wants forwarded says that it is enough.
        """
        with ExitStack() as stack:
            raw = self.tty and self._reads_input and os.isatty(0)
            wakes = stack.enter_context(_signals(raw or self.forward is not None))
            if raw:
                stack.enter_context(pty.raw(0))
            self._fit()
            if not self._reads_input:
                self.connection.end_input()
            self._open = self._receive(self.connection.receive()) if self.connection.early else True
            while not self.detached and (self._open or (ended and not ended.early)):
                for fd, ready in _wait(self._wanted(wakes, ended)):
                    if fd == wakes.fileno():
                        self._signalled(wakes.recv(64))
                    elif fd == 0:
                        self._typed(os.read(0, _CHUNK))
                    elif fd == self.connection.socket.fileno():
                        if ready & select.POLLOUT:
                            self._send()
                        if ready & ~select.POLLOUT:
                            self._open = self._receive(self.connection.receive())
                    else:
                        return

    def _wanted(self, wakes: socket.socket, ended: Connection | None) -> dict[int, int]:
        """What to wait for: no more input than can be sent, and the exit code when the output has ended."""
        wanted = {wakes.fileno(): select.POLLIN}
        if self._open:
            wanted[self.connection.socket.fileno()] = select.POLLIN | (select.POLLOUT if self._unsent else 0)
            if self._reads_input and not self._unsent:
                wanted[0] = select.POLLIN
        elif ended:
            wanted[ended.socket.fileno()] = select.POLLIN
        return wanted

    def _typed(self, data: bytes) -> None:
        if not data:
            self._reads_input = False
            self.connection.end_input()
            return
        if self.tty:
            data, self.detached = self.keys.feed(data)
        self._unsent = data
        self._send()

    def _send(self) -> None:
        """As much as the daemon takes now. It may be waiting for us to take output, so this never waits."""
        try:
            while self._unsent:
                self._unsent = self._unsent[self.connection.socket.send(self._unsent, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL) :]
        except BlockingIOError:
            pass  # the rest when there is room
        except OSError:
            self._unsent, self._reads_input = b"", False  # nobody reads it any more

    def _receive(self, data: bytes) -> bool:
        """Write what came where it belongs; False at the end."""
        if self._frames is None:
            write(1, data)
        else:
            for stream, piece in self._frames.feed(data):
                write(1 if stream == OUT else 2, piece)
        return bool(data)

    def _signalled(self, numbers: bytes) -> None:
        for number in numbers:
            if number == signal.SIGWINCH:
                self._fit()
            elif self.forward:
                _tried(self.forward, signal.Signals(number).name.removeprefix("SIG"))
            elif number in _ENDING:
                raise Failed("", 128 + number)

    def _fit(self) -> None:
        """Make the terminal in the container as large as ours."""
        size = terminal.size(1, 0)
        if self.resize and all(size):
            _tried(self.resize, *size)


@contextmanager
def _signals(all: bool) -> Iterator[socket.socket]:
    """A socket from which the numbers of signals are read, instead of the signals doing what they do."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    wanted = {signal.SIGWINCH} | ({number for number in signal.valid_signals() if number < signal.SIGRTMIN} - {*_OURS} if all else set())
    before = {number: signal.getsignal(number) for number in wanted}
    previous = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        for number in wanted:
            signal.signal(number, lambda *_: None)
        yield reader
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(previous)
        reader.close()
        writer.close()


def _wait(wanted: dict[int, int]) -> list[tuple[int, int]]:
    poll = select.poll()  # unlike epoll it takes files, which are always ready
    for fd, events in wanted.items():
        poll.register(fd, events)
    return poll.poll()


def _tried(call: Callable[..., object], *arguments: object) -> None:
    """The container may have ended in this moment."""
    try:
        call(*arguments)
    except LabError:
        pass
