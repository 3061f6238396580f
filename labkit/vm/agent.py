"""Commands in a virtual machine: a line each way, apart from the console.

    host                                        /init in the machine
    (… $inside uname -r) >&3 2>&1; echo …  ──▶  eval
                  6.1.0-56-cloud-amd64\\n   ◀──  what the program wrote
                          4f2a…e1 0\\n      ◀──  the mark, and its exit code

    >>> agent.run(["uname", "-r"])
    Done(code=0, output='6.1.0-56-cloud-amd64\\n')

The mark is 32 random digits, so that no program writes it by accident. What the machine's shell (``guest.LISTEN``) is sent is all visible
here: it does nothing but read a line and do it. Standard output and error come in one stream, as at a terminal. Notebook 08.
"""

from __future__ import annotations

import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Sequence

from labkit.errors import LabError, Unreachable
from labkit.records import record
from labkit.vm import guest


@record
class Done:
    """A program that has ended: its exit code, and what it wrote."""

    code: int
    output: str


class Agent:
    """The line to one machine. One command at a time; others wait their turn."""

    def __init__(self, line: socket.socket) -> None:
        self.mark = secrets.token_hex(16)
        self._socket = line
        self._lock = threading.Lock()
        self._buffer = b""

    def ready(self, seconds: float) -> bool:
        """Wait until the machine listens; False if it does not in this time. ``Unreachable`` if it has ended."""
        try:
            self._until(time.monotonic() + seconds, None, rb"ready")
        except TimeoutError:
            return False
        return True

    def run(
        self,
        arguments: Sequence[str],
        *,
        env: Sequence[str] = (),
        workdir: str = "/",
        seconds: float = 60.0,
        listener: Callable[[bytes], None] | None = None,
    ) -> Done:
        """Run a program of the image and wait for its end; ``listener`` gets its output as it comes."""
        with self._lock:
            self._send(f"({guest.within(arguments, env, workdir)}) </dev/null >&3 2>&1; echo {self.mark} $? >&3")
            output: list[bytes] = []

            def heard(piece: bytes) -> None:
                output.append(piece)
                if listener:
                    listener(piece)

            try:
                code = self._until(time.monotonic() + seconds, heard, rb"(\d+)")
            except TimeoutError:
                raise LabError(f"{arguments[0]} in the virtual machine has not ended after {seconds:g} s") from None
            return Done(int(code), b"".join(output).decode(errors="replace"))

    def start(self, arguments: Sequence[str], *, env: Sequence[str] = (), workdir: str = "/") -> None:
        """Run a program of the image in the background; it writes to the console."""
        with self._lock:
            self._send(f"({guest.within(arguments, env, workdir)}) </dev/null >/dev/console 2>&1 &")

    def shut_down(self) -> None:
        """Ask all programs to end, then end the machine. Returns at once."""
        with self._lock:
            self._send("shut_down")

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _send(self, line: str) -> None:
        try:
            self._socket.sendall(line.encode() + b"\n")
        except OSError as error:
            raise Unreachable(f"the virtual machine does not listen: {error}") from None

    def _until(self, deadline: float, heard: Callable[[bytes], None] | None, wanted: bytes) -> bytes:
        """Pass on what comes, up to the mark; what stands after it."""
        mark = self.mark.encode()
        pattern = re.compile(mark + b" (" + wanted + rb")\n")
        while True:
            if match := pattern.search(self._buffer):
                said, self._buffer = self._buffer[: match.start()], self._buffer[match.end() :]
                if said and heard:
                    heard(said)
                return match[1]
            # The mark may come in two pieces: what could be its beginning is kept back.
            cut = _held(self._buffer, mark)
            if heard and cut:
                heard(self._buffer[:cut])
                self._buffer = self._buffer[cut:]
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            piece = self._socket.recv(1 << 16)
            if not piece:
                raise Unreachable("the virtual machine has ended")
            self._buffer += piece


def _held(buffer: bytes, mark: bytes) -> int:
    """How many bytes of the buffer surely come before a mark that is still on its way."""
    if (begun := buffer.find(mark)) >= 0:
        return begun
    for length in range(min(len(mark) - 1, len(buffer)), 0, -1):
        if buffer.endswith(mark[:length]):
            return len(buffer) - length
    return len(buffer)
