"""The standard input and output of a container whose monitor holds them: log, attached clients, terminal size.

    init ─ stdout, stderr ─▶ pipes ─▶ Held ─▶ log: a JSON object a line, as Docker's json-file has it
         ◀──── stdin ─────── pipe ◀─       ─▶ every client of monitor.sock
         ◀═══ terminal ═══▶ master (with a pty there is one stream, and it has a size)

A client of ``monitor.sock`` (SOCK_SEQPACKET) gets packets: one byte that says which stream, 1 or 2, then data. It sends packets:
``i`` and data for standard input, ``e`` to end it, ``r24 80`` to set the terminal's size. The end of the line is the end of output.
"""

from __future__ import annotations

import json
import os
import select
import socket
import time
from errno import EIO
from typing import TYPE_CHECKING

from labkit.linux import pty
from labkit.runtime import state

if TYPE_CHECKING:
    from collections.abc import Sequence

_BLOCK = 65536


class Held:
    """Our ends of a process's stdio (stdin, stdout, stderr, or a terminal's master alone), and who wants what flows there."""

    def __init__(self, pid: int, descriptors: Sequence[int], log: str = "") -> None:
        self.pidfd = os.pidfd_open(pid)
        self.stdin = descriptors[0]
        self.streams = {descriptors[0]: 1} if len(descriptors) == 1 else {descriptors[1]: 1, descriptors[2]: 2}
        self.terminal = descriptors[0] if len(descriptors) == 1 else -1
        self.log = open(log, "a") if log else None
        self.clients: dict[int, socket.socket] = {}
        self.poll = select.poll()

    def serve(self, directory: str = "") -> None:
        """Until the process has ended and all that it wrote is passed on; clients come in at monitor.sock in ``directory``."""
        streams = self.streams
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            if directory:
                with state.short(directory) as name:
                    listener.bind(f"{name}/monitor.sock")
                listener.listen(8)
                self.poll.register(listener, select.POLLIN)
            for fd in (*streams, self.pidfd):
                self.poll.register(fd, select.POLLIN)
            ended = False
            while streams:
                # Once the process has ended, only what is already in the pipes: a grandchild may hold them open for ever.
                ready = [fd for fd, _ in self.poll.poll(0 if ended else None)]
                if ended and not streams.keys() & set(ready):
                    return
                for fd in ready:
                    if fd in streams:
                        if not self.carry(fd, streams[fd]):
                            self.poll.unregister(fd)
                            del streams[fd]
                    elif fd == self.pidfd:
                        ended = True
                        self.poll.unregister(fd)
                    elif fd == listener.fileno():
                        client, _ = listener.accept()
                        self.clients[client.fileno()] = client
                        self.poll.register(client, select.POLLIN)
                    elif fd in self.clients:
                        self.obey(fd)

    def carry(self, fd: int, stream: int) -> bool:
        """Pass on what a stream has to say; whether there may be more. The end of a terminal shows as EIO."""
        try:
            data = os.read(fd, _BLOCK)
        except OSError as error:
            if error.errno != EIO:
                raise
            return False
        if data and self.log:
            moment = time.time_ns()
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment // 10**9)) + f".{moment % 10**9:09d}Z"
            for line in data.decode(errors="replace").splitlines(keepends=True):
                entry = {"log": line, "stream": "stdout" if stream == 1 else "stderr", "time": stamp}
                self.log.write(json.dumps(entry) + "\n")
            self.log.flush()
        if data:
            for number in list(self.clients):
                try:
                    self.clients[number].send(bytes([stream]) + data)
                except OSError:
                    self.leave(number)
        return bool(data)

    def obey(self, number: int) -> None:
        """One packet from a client."""
        try:
            packet = self.clients[number].recv(_BLOCK)
        except OSError:
            packet = b""
        if not packet:
            self.leave(number)
        elif packet[:1] == b"r" and self.terminal >= 0:
            rows, columns = map(int, packet[1:].split())
            pty.set_size(self.terminal, rows, columns)
        elif self.stdin >= 0:
            self.feed(packet)

    def feed(self, packet: bytes) -> None:
        """Standard input: data, or its end."""
        try:
            if packet[:1] == b"i":
                os.write(self.stdin, packet[1:])
                return
        except BrokenPipeError:
            pass  # the program has closed its end
        if self.terminal >= 0:
            os.write(self.terminal, b"\x04")  # the end of input, as ctrl-d says it
        else:
            os.close(self.stdin)
            self.stdin = -1

    def leave(self, number: int) -> None:
        """A client has gone."""
        self.poll.unregister(number)
        self.clients.pop(number).close()
