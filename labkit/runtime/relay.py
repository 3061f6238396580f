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


def relay(master: int, pidfd: int) -> None:
    """Copy between our standard input and output and ``master`` until the process behind ``pidfd`` has ended.

    A change of our window's size is passed on. What the program wrote last is still shown.
    """
    sources = select.poll()
    for fd in (0, master, pidfd):
        sources.register(fd, select.POLLIN)
    if os.isatty(0):
        _copy_size(master)
        signal.signal(signal.SIGWINCH, lambda _signal, _frame: _copy_size(master))
    ended = False
    while True:
        ready = {fd for fd, _ in sources.poll(0 if ended else None)}
        if master in ready and not copy(master, 1):
            return
        if ended and master not in ready:
            return
        if 0 in ready and not copy(0, master):
            sources.unregister(0)
        if pidfd in ready and not ended:
            ended = True
            sources.unregister(pidfd)


def copy(source: int, target: int) -> bool:
    """Pass on what can be read now; whether there may be more. The last slave's close shows at the master as EIO."""
    try:
        data = os.read(source, 65536)
    except OSError as error:
        if error.errno != EIO:
            raise
        return False
    while data:
        data_left = data[os.write(target, data) :]
        if not data_left:
            return True
        data = data_left
    return False


def _copy_size(master: int) -> None:
    pty.set_size(master, *pty.get_size(0))
