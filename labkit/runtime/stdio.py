"""The standard input and output of a container whose monitor holds them: log, attached clients, terminal size.

    init ─ stdout, stderr ─▶ pipes ─▶ Held ─▶ logfile: a JSON object a line, as Docker's json-file has it
         ◀──── stdin ─────── pipe ◀─       ─▶ clients: each one's socket
         ◀═══ terminal ═══▶ master (with a pty there is one stream, and it has a size)

Clients come in at the door, ``monitor.sock``, and are attached by connecting; or they bring a socket that is to be attached in their
place, and are hung up on when it is. ``clients`` has what is said over the line.

Nobody waits for a program that does not read: what it has not taken yet is kept, and whoever said it is not heard until it has. A client
that does not read holds up the program, as a terminal does that was stopped with ctrl-s, but not its end: what it has not read by
then stays with the kernel until it does. A log that cannot be written holds up nobody.
"""

from __future__ import annotations

import os
import select
import socket
from contextlib import suppress
from errno import EAGAIN, EIO
from typing import TYPE_CHECKING

from labkit.errors import LabError
from labkit.linux import pty
from labkit.runtime import logfile, state
from labkit.runtime.clients import BLOCK, Client

if TYPE_CHECKING:
    from collections.abc import Sequence

_IN, _OUT = select.POLLIN, select.POLLOUT
_MOST_AT_THE_END = 1 << 20
"""Bytes of a stream that are passed on after the process has ended: what is in a pipe, but not what a grandchild still writes."""


class Held:
    """Our ends of a process's stdio, and who wants what flows there.

    ``descriptors`` are those of stdin, stdout and stderr; or with ``is_terminal`` its master, and maybe an input and an output of the
    caller's to join it to.
    """

    def __init__(self, pid: int, descriptors: Sequence[int], is_terminal: bool, log: logfile.Log | None = None) -> None:
        self.pidfd = os.pidfd_open(pid)
        self.stdin = descriptors[0]
        self.streams = {descriptors[0]: 1} if is_terminal else {descriptors[1]: 1, descriptors[2]: 2}
        self.terminal = descriptors[0] if is_terminal else -1
        self.source, self.sink = descriptors[1:] if is_terminal and len(descriptors) == 3 else (-1, -1)
        self.log = log
        self.clients: dict[int, Client] = {}
        self.listener: socket.socket | None = None
        self.untaken = b""  # input that the program has yet to read
        self.is_last_input = False
        self.poll = select.poll()
        self.wanted: dict[int, int] = {}
        for fd in (self.stdin, *self.streams):
            os.set_blocking(fd, False)

    def open(self, directory: str) -> None:
        """Let clients in, at ``monitor.sock`` in ``directory``."""
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with state.short(directory) as name:
            self.listener.bind(f"{name}/monitor.sock")
        self.listener.listen(8)
        self.want(self.listener.fileno(), _IN)

    def attach(self, client: Client) -> None:
        """Pass on to a client what the program says from now on, and hear what it has to say."""
        if not self.streams:
            client.dismiss()  # there will be no output, and to a client that is its end
            return
        self.clients[client.line.fileno()] = client
        self.arrange()

    def serve(self) -> None:
        """Until the process has ended and all that it wrote is passed on."""
        self.want(self.pidfd, _IN)
        self.arrange()
        while True:
            ready = self.poll.poll(logfile.RETRY * 1000 if self.log and self.log.waiting else None)
            if not ready and self.log:
                self.log.retry()
            # The door first: who knocked before the program spoke shall hear all of it.
            for fd, _ in ready:
                if self.listener and fd == self.listener.fileno():
                    self.let_in()
            for fd, event in ready:
                self.attend(fd, event)
            if any(fd == self.pidfd for fd, _ in ready):
                break
        self.finish()

    def finish(self) -> None:
        """The process has ended: pass on what it has left in its pipes, and hang up."""
        for client in self.clients.values():
            client.hold()
        for fd in list(self.streams):
            left = _MOST_AT_THE_END
            while left > 0 and fd in self.streams and (size := self.carry(fd)):
                left -= size
        for number in list(self.clients):
            self.clients.pop(number).dismiss()
        if self.log:
            self.log.end()

    def attend(self, fd: int, event: int) -> None:
        """See to one descriptor that is ready for something."""
        if fd in self.streams and event != _OUT and self.wanted.get(fd, 0) & _IN:  # which a moment ago may have been taken back
            self.carry(fd)
        elif fd in self.clients:
            self.see_to(fd, event)
        elif fd == self.source:
            self.take()
        if fd == self.stdin and self.untaken:
            self.push()

    def let_in(self) -> None:
        """Somebody is at the door."""
        assert self.listener
        with suppress(OSError):  # he has gone again
            line, _ = self.listener.accept()
            self.attach(Client(line))

    def carry(self, fd: int) -> int:
        """Pass on what a stream has to say; how many bytes that was. The end of a terminal shows as EIO."""
        try:
            data = os.read(fd, BLOCK)
        except OSError as error:
            if error.errno == EAGAIN:
                return 0
            if error.errno != EIO:
                raise
            data = b""
        if not data:
            self.close(fd)
            return 0
        stream = self.streams[fd]
        if self.log:
            self.log.write(stream, data)
        if self.sink >= 0:
            self.give(data)
        for client in self.clients.values():
            client.give(stream, data)
        if any(client.untaken for client in self.clients.values()):
            self.arrange()
        return len(data)

    def close(self, fd: int) -> None:
        """A stream has ended; with the last one, its clients have heard everything."""
        del self.streams[fd]
        self.want(fd, 0)
        if not self.streams:
            for number in list(self.clients):
                self.want(number, 0)
                self.clients.pop(number).dismiss()

    def give(self, data: bytes) -> None:
        """Output for the caller, while there is one."""
        try:
            while data:
                data = data[os.write(self.sink, data) :]
        except BrokenPipeError:
            self.sink = -1

    def take(self) -> None:
        """Input of the caller's; its end is said as ctrl-d says it."""
        data = os.read(self.source, BLOCK)
        if not data:
            self.want(self.source, 0)
            self.source = -1
        self.untaken += data or b"\x04"
        self.push()

    def see_to(self, number: int, event: int) -> None:
        """A client takes what it has not taken yet, or has something to say, or has gone."""
        client = self.clients[number]
        if client.untaken:
            client.push()
            self.arrange()
        if event & ~_OUT:
            self.obey(number, client)

    def obey(self, number: int, client: Client) -> None:
        """One packet from a client."""
        packet, line = client.take()
        word, data = packet[:1], packet[1:]
        if word == b"a" and line:
            # The new one first, and then the end of this line, which says that it is attached.
            self.attach(Client(line, tuple(int(digit) for digit in data.decode(errors="replace") if digit in "12")))
            self.leave(number)
            return
        if line:
            line.close()
        if not word:
            self.leave(number)
        elif word == b"r":
            self.resize(data)
        elif word in (b"i", b"e") and self.stdin >= 0 and not self.is_last_input:
            if word == b"i":
                self.untaken += data
                client.waits = True  # a packet of each client's at most, so that all can attach and resize, and none fills our memory
            elif self.terminal >= 0:
                self.untaken += b"\x04"  # the end of input, as ctrl-d says it
            else:
                self.is_last_input = True
            self.push()

    def resize(self, words: bytes) -> None:
        """Set the size of the terminal, if there is one and the words are two numbers that it can have."""
        try:
            rows, columns = map(int, words.split())
            if self.terminal >= 0 and min(rows, columns) >= 0 and max(rows, columns) < 1 << 16:
                pty.set_size(self.terminal, rows, columns)
        except (ValueError, LabError):
            return

    def push(self) -> None:
        """Give the program as much of its input as it takes now; the rest, when it says that it takes more."""
        try:
            self.untaken = self.untaken[os.write(self.stdin, self.untaken) :]
        except BlockingIOError:
            pass
        except OSError:
            self.untaken, self.is_last_input = b"", self.terminal < 0  # the program has closed its end
        if not self.untaken:
            for client in self.clients.values():
                client.waits = False
        if self.is_last_input and not self.untaken:
            self.want(self.stdin, 0)
            os.close(self.stdin)
            self.stdin = -1
        self.arrange()

    def leave(self, number: int) -> None:
        """A client has gone."""
        self.want(number, 0)
        self.clients.pop(number).line.close()
        self.arrange()

    def arrange(self) -> None:
        """Wait for what can be dealt with: no output while a client has not taken the last, no more input while the program has not."""
        is_held_up = any(client.untaken for client in self.clients.values())
        if self.stdin >= 0 and self.stdin not in self.streams:
            self.want(self.stdin, _OUT if self.untaken else 0)
        for fd in self.streams:
            self.want(fd, (0 if is_held_up else _IN) | (_OUT if fd == self.stdin and self.untaken else 0))
        for number, client in self.clients.items():
            self.want(number, (0 if client.waits else _IN) | (_OUT if client.untaken else 0))
        if self.source >= 0:
            self.want(self.source, 0 if self.untaken else _IN)

    def want(self, fd: int, events: int) -> None:
        """Wait for these events of a descriptor; for none, not even for its end."""
        if events == self.wanted.get(fd, 0):
            return
        if events:
            self.poll.register(fd, events)
            self.wanted[fd] = events
        else:
            self.poll.unregister(fd)
            del self.wanted[fd]
