"""Who is attached to a monitor: the packets that go over the line, and one who does not read them.

    to a client     1 or 2, which stream it is; then data                 the end of the line is the end of output
    from a client   i  data for standard input      r  "24 80": the terminal's size
                    e  the end of standard input    a  "12": attach the socket that comes with it, for these streams; then hang up

A line is a SOCK_SEQPACKET socket (``man 7 unix``): what was sent in one piece arrives in one piece, and a packet is taken as a whole or
not at all. A client that does not read gets the next packet when it does; until then whoever serves it should not read on.
"""

from __future__ import annotations

import array  # noqa: F401  (socket imports it when it first receives a descriptor, and each monitor would do so anew)
import socket
from contextlib import suppress

BLOCK = 65536
"""The most data, in bytes, in one packet to a client."""
LARGEST = 65536
"""The largest packet from a client."""

_MARKS = {1: b"\x01", 2: b"\x02"}
_ROOM = 8 << 20  # bytes that the kernel keeps for a client after we are gone
_SO_SNDBUFFORCE = 32  # Python's socket does not have it; it takes CAP_NET_ADMIN


class Client:
    """One who is attached, and to which streams."""

    def __init__(self, line: socket.socket, streams: tuple[int, ...] = (1, 2)) -> None:
        self.line, self.streams = line, streams
        self.untaken: tuple[bytes, bytes] | None = None
        """A packet that it has yet to take."""
        self.waits = False
        """What it has said for the program, the program has yet to take; until then it is not heard."""
        line.setblocking(False)

    def give(self, stream: int, data: bytes) -> None:
        """Pass on what a stream has said, now or, if the client does not read, at ``push``."""
        if stream in self.streams:
            if self.untaken:
                self.streams = ()  # nor has it taken the last packet: without this one it would hear something that was never said
                return
            self.untaken = (_MARKS[stream], data)
            self.push()

    def push(self) -> None:
        """Try again to pass on what it has not taken. One that hears no more may still have said something that is to be heard."""
        if self.untaken:
            try:
                self.line.sendmsg(self.untaken)
            except BlockingIOError:
                return
            except OSError:
                self.streams = ()
            self.untaken = None

    def take(self) -> tuple[bytes, socket.socket | None]:
        """A packet from it, empty if it is gone; and the socket that came with it."""
        try:
            packet, descriptors, _, _ = socket.recv_fds(self.line, LARGEST, 1)
            return packet, socket.socket(fileno=descriptors[0]) if descriptors else None
        except (BlockingIOError, ConnectionResetError):
            return b"?", None  # reset: it has not heard our last words; but what it has said comes next, and only then its end
        except OSError:
            return b"", None

    def hold(self) -> None:
        """Nobody will be here to wait for it any more: let the kernel keep what it has not read."""
        with suppress(OSError):
            make_room(self.line)
            self.push()

    def dismiss(self) -> None:
        """Hang up. What the client has said and nobody has heard is taken in first: closed over it, the line would break for him."""
        with suppress(OSError):
            self.line.shutdown(socket.SHUT_RD)
            while self.line.recv(LARGEST):
                pass
        self.line.close()


def make_room(line: socket.socket) -> None:
    """Let the kernel keep more for the other end than it usually does."""
    line.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _ROOM)
