"""Carries bytes between a person and a container's terminal, until the container has ended.

keys ──▶ stdin (raw) ──▶ master ═══ slave ──▶ program
screen ◀── stdout ◀───── master ═══ slave ◀── program
"""

from __future__ import annotations

import os
import select
import signal
from errno import EIO

from labkit.linux import pty

_BLOCK = 65536


def relay(master: int, pidfd: int) -> None:
    """Copy between our standard input and output and ``master`` until the process behind ``pidfd`` has ended.

    A change of our window's size is passed on. What the program wrote last is still shown. What it has yet to read is kept for it, so
    that it can go on writing: somebody may paste a book.
    """
    if os.isatty(0):
        _copy_size(master)
        signal.signal(signal.SIGWINCH, lambda _signal, _frame: _copy_size(master))
    os.set_blocking(master, False)
    sources = select.poll()
    sources.register(pidfd, select.POLLIN)
    untaken, has_input, ended = b"", True, False
    while True:
        sources.register(master, select.POLLIN | (select.POLLOUT if untaken else 0))
        if has_input and not untaken:
            sources.register(0, select.POLLIN)
        ready = dict(sources.poll(0 if ended else None))
        if ready.get(master, 0) & ~select.POLLOUT:
            output = read(master)
            if not output:
                return
            write(output)
        elif ended:
            return
        if ready.get(master, 0) & select.POLLOUT:
            untaken = untaken[os.write(master, untaken) :]
        if 0 in ready:
            untaken = read(0)
            has_input = bool(untaken)
            sources.unregister(0)
        if pidfd in ready:
            ended = True
            sources.unregister(pidfd)


def read(source: int) -> bytes:
    """What can be read now; nothing at the end. The last slave's close shows at the master as EIO."""
    try:
        return os.read(source, _BLOCK)
    except OSError as error:
        if error.errno != EIO:
            raise
        return b""


def write(data: bytes) -> None:
    """All of it to standard output."""
    while data:
        data = data[os.write(1, data) :]


def _copy_size(master: int) -> None:
    pty.set_size(master, *pty.get_size(0))
