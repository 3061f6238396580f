"""Pseudo-terminals: what ``docker run -t`` puts between a program and the person in front of it.

    person ──▶ terminal ──▶ client ──▶ MASTER ═══ kernel: line discipline ═══ SLAVE ──▶ shell in the container
              (made raw)               /dev/ptmx   echo, ctrl-c, window size  /dev/pts/0

    >>> from labkit.linux import pty
    >>> terminal = pty.new()                          # in a container: of its own devpts, so its numbers begin at 0
    >>> pty.set_size(terminal.master, rows=24, columns=80)
    >>> pty.make_controlling(terminal.slave)          # ctrl-c now reaches the processes of this session

The master is opened inside the container and used outside of it, by the program at the other end of a Unix socket (runc's
``--console-socket``), to which ``send_fd`` gives it. Import this module before ``pivot_root``: afterwards Python's library is out
of sight.

``man 7 pty``, ``man 2 TIOCGPTPEER``, ``man 3 termios``. Notebook 04-a-container-from-parts steps through a container with one.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EPERM

from labkit.errors import KernelError
from labkit.records import record

_GET_NUMBER, _SET_LOCK, _GET_PEER = 0x80045430, 0x40045431, 0x5441  # TIOCGPTN, TIOCSPTLCK and TIOCGPTPEER
_FLAGS = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC


@record
class Terminal:
    """A new pseudo-terminal: the descriptors of its two ends, which the caller closes, and the slave's name."""

    master: int
    slave: int
    name: str


def new(ptmx: str = "/dev/ptmx") -> Terminal:
    """A pseudo-terminal from the devpts file system that ``ptmx`` belongs to."""
    try:
        master = os.open(ptmx, _FLAGS)
    except OSError as error:
        hint = "this needs a devpts on /dev/pts, and /dev/ptmx as a link to pts/ptmx"
        raise KernelError.of(error, "open", ptmx, hint) from None
    try:
        fcntl.ioctl(master, _SET_LOCK, struct.pack("i", 0))
        (number,) = struct.unpack("i", fcntl.ioctl(master, _GET_NUMBER, bytes(4)))
        # The other end from the kernel and not by its name, where a hostile image may have put something else.
        slave = fcntl.ioctl(master, _GET_PEER, _FLAGS)
    except OSError as error:
        os.close(master)
        raise KernelError.of(error, "make a terminal of", ptmx) from None
    return Terminal(master, slave, f"/dev/pts/{number}")


def set_size(fd: int, rows: int, columns: int) -> None:
    """Set the window size, in characters, at either end. The programs on the terminal get a SIGWINCH."""
    try:
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
    except OSError as error:
        raise KernelError.of(error, "set the window size of", f"fd {fd}") from None


def get_size(fd: int) -> tuple[int, int]:
    """The window size in characters: rows, columns."""
    try:
        rows, columns, _, _ = struct.unpack("4H", fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8)))
    except OSError as error:
        raise KernelError.of(error, "get the window size of", f"fd {fd}") from None
    return rows, columns


def make_controlling(slave: int) -> None:
    """Make this the controlling terminal of the calling process, which leads a session (``os.setsid``) without one."""
    try:
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    except OSError as error:
        hint = "the process must lead a session that has no terminal: os.setsid() first" if error.errno == EPERM else ""
        raise KernelError.of(error, "take as controlling terminal", f"fd {slave}", hint) from None


@contextmanager
def raw(fd: int) -> Iterator[None]:
    """The terminal passes on every key as it is, ctrl-c as well, until the block is left in whatever way; then as it was."""
    try:
        before = termios.tcgetattr(fd)
    except termios.error as error:
        raise KernelError(error.args[0], "make raw", f"fd {fd}") from None
    try:
        tty.setraw(fd, termios.TCSANOW)  # and not TCSAFLUSH, which would lose the keys typed so far
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSANOW, before)


def connect(path: str) -> socket.socket:
    """A connection to the Unix socket at ``path``, where somebody waits for the master."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(path)
    except OSError as error:
        connection.close()
        raise KernelError.of(error, "connect to the console socket", path) from None
    return connection


def send_fd(connection: socket.socket, fd: int, name: str) -> None:
    """Give the other end a descriptor (``SCM_RIGHTS``, ``man 7 unix``); the message is its name, as runc has it."""
    try:
        socket.send_fds(connection, [name.encode()], [fd])
    except OSError as error:
        raise KernelError.of(error, "send over the console socket", name) from None
