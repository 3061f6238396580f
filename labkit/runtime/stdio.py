"""The standard input and output of a container whose monitor holds them: log, attached clients, terminal size.

    init ─ stdout, stderr ─▶ pipes ─▶ Held ─▶ log: a JSON object a line, as Docker's json-file has it
         ◀──── stdin ─────── pipe ◀─       ─▶ every client of monitor.sock
         ◀═══ terminal ═══▶ master (with a pty there is one stream, and it has a size)

A client of ``monitor.sock`` (SOCK_SEQPACKET) gets packets: one byte that says which stream, 1 or 2, then data. It sends packets:
``i`` and data for standard input, ``e`` to end it, ``r24 80`` to set the terminal's size. The end of the line is the end of output.

Nobody waits for a program that does not read: what it has not taken yet is kept, and clients are not heard until it has. A client
that does not read holds up the program, as a terminal does that was stopped with ctrl-s.
"""

from __future__ import annotations

import json
import os
import select
import socket
import time
from contextlib import suppress
from errno import EIO
from typing import TYPE_CHECKING

from labkit.errors import LabError
from labkit.linux import pty
from labkit.runtime import state

if TYPE_CHECKING:
    from collections.abc import Sequence

_BLOCK = 65536
_LONGEST_LINE = 16384


class Held:
    """Our ends of a process's stdio, and who wants what flows there.

    ``descriptors`` are those of stdin, stdout and stderr; or with ``is_terminal`` its master, and maybe an input and an output of the
    caller's to join it to.
    """

    def __init__(self, pid: int, descriptors: Sequence[int], is_terminal: bool, log: str = "") -> None:
        self.pidfd = os.pidfd_open(pid)
        self.stdin = descriptors[0]
        self.streams = {descriptors[0]: 1} if is_terminal else {descriptors[1]: 1, descriptors[2]: 2}
        self.terminal = descriptors[0] if is_terminal else -1
        self.source, self.sink = descriptors[1:] if is_terminal and len(descriptors) == 3 else (-1, -1)
        self.log = Log(log) if log else None
        self.clients: dict[int, socket.socket] = {}
        self.listener: socket.socket | None = None
        self.untaken = b""  # input that the program has yet to read
        self.is_last_input = False
        self.poll = select.poll()
        os.set_blocking(self.stdin, False)

    def open(self, directory: str) -> None:
        """Let clients in, at ``monitor.sock`` in ``directory``."""
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with state.short(directory) as name:
            self.listener.bind(f"{name}/monitor.sock")
        self.listener.listen(8)
        self.poll.register(self.listener, select.POLLIN)

    def serve(self) -> None:
        """Until the process has ended and all that it wrote is passed on."""
        for fd in (*self.streams, self.pidfd):
            self.poll.register(fd, select.POLLIN)
        self.hear_clients()
        ended = False
        while self.streams:
            # Once the process has ended, only what is already in the pipes: a grandchild may hold them open for ever.
            ready = self.poll.poll(0 if ended else None)
            if ended and not any(fd in self.streams and event != select.POLLOUT for fd, event in ready):
                break
            for fd, event in ready:
                if fd in self.streams and event != select.POLLOUT:
                    self.carry(fd)
                elif fd == self.pidfd:
                    ended = True
                    self.poll.unregister(fd)
                elif self.listener and fd == self.listener.fileno():
                    client, _ = self.listener.accept()
                    self.clients[client.fileno()] = client
                    self.hear_clients()
                elif fd in self.clients:
                    self.obey(fd)
                elif fd == self.source:
                    self.take()
                if fd == self.stdin and self.untaken:
                    self.push()
        for number in list(self.clients):
            self.dismiss(number)
        if self.log:
            self.log.end()

    def carry(self, fd: int) -> None:
        """Pass on what a stream has to say. The end of a terminal shows as EIO."""
        try:
            data = os.read(fd, _BLOCK)
        except OSError as error:
            if error.errno != EIO:
                raise
            data = b""
        if not data:
            self.poll.unregister(fd)
            del self.streams[fd]
            return
        stream = self.streams[fd]
        if self.log:
            self.log.write(stream, data)
        if self.sink >= 0:
            self.give(data)
        for number in list(self.clients):
            try:
                self.clients[number].send(bytes([stream]) + data)
            except OSError:
                self.leave(number)

    def give(self, data: bytes) -> None:
        """Output for the caller, while there is one."""
        try:
            while data:
                data = data[os.write(self.sink, data) :]
        except BrokenPipeError:
            self.sink = -1

    def take(self) -> None:
        """Input of the caller's; its end is said as ctrl-d says it."""
        data = os.read(self.source, _BLOCK)
        if not data:
            self.poll.unregister(self.source)
            self.source = -1
        self.untaken += data or b"\x04"
        self.push()

    def obey(self, number: int) -> None:
        """One packet from a client."""
        try:
            packet = self.clients[number].recv(_BLOCK)
        except OSError:
            packet = b""
        if not packet:
            self.leave(number)
        elif packet[:1] == b"r":
            self.resize(packet[1:])
        elif packet[:1] in (b"i", b"e") and self.stdin >= 0:
            if packet[:1] == b"i":
                self.untaken += packet[1:]
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
        is_stream = self.stdin in self.streams
        if self.untaken or is_stream:
            self.poll.register(self.stdin, (select.POLLIN if is_stream else 0) | (select.POLLOUT if self.untaken else 0))
        elif self.stdin >= 0:
            with suppress(KeyError):
                self.poll.unregister(self.stdin)
        if self.is_last_input and not self.untaken:
            os.close(self.stdin)
            self.stdin = -1
        self.hear_clients()

    def hear_clients(self) -> None:
        """Listen to the clients and the caller, but not while there is input of theirs that the program has not taken."""
        for number in (*self.clients, *([self.source] if self.source >= 0 else [])):
            if not self.untaken:
                self.poll.register(number, select.POLLIN)
            else:
                with suppress(KeyError):
                    self.poll.unregister(number)

    def dismiss(self, number: int) -> None:
        """Hang up. What the client has said and nobody has heard is taken in first: closed over it, the line would break for him."""
        self.clients[number].shutdown(socket.SHUT_RD)
        while self.clients[number].recv(_BLOCK):
            pass
        self.clients.pop(number).close()

    def leave(self, number: int) -> None:
        """A client has gone."""
        with suppress(KeyError):
            self.poll.unregister(number)
        self.clients.pop(number).close()


class Log:
    """Docker's json-file: ``{"log": "a line\\n", "stream": "stdout", "time": "…"}``. A line is written when it is whole, or long."""

    def __init__(self, path: str) -> None:
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self.begun = {1: b"", 2: b""}  # by stream: the line that has yet to end

    def write(self, stream: int, data: bytes) -> None:
        """Take what a stream (1 or 2) has said."""
        *lines, rest = (self.begun[stream] + data).split(b"\n")
        pieces = [line + b"\n" for line in lines]
        while len(rest) >= _LONGEST_LINE:
            pieces.append(rest[:_LONGEST_LINE])
            rest = rest[_LONGEST_LINE:]
        self.begun[stream] = rest
        self._append(stream, pieces)

    def end(self) -> None:
        """Write the lines that were begun, and close."""
        for stream, rest in self.begun.items():
            self._append(stream, [rest] if rest else [])
        os.close(self.file)

    def _append(self, stream: int, pieces: Sequence[bytes]) -> None:
        moment = time.time_ns()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment // 10**9)) + f".{moment % 10**9:09d}Z"
        name = "stdout" if stream == 1 else "stderr"
        entries = ({"log": piece.decode(errors="replace"), "stream": name, "time": stamp} for piece in pieces)
        text = "".join(json.dumps(entry) + "\n" for entry in entries).encode()
        while text:
            text = text[os.write(self.file, text) :]
