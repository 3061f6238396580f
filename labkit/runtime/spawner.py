"""The spawner: a small process with one thread and everything imported, that forks a monitor for each container.

    notebook or daemon                       spawner                      monitor              init
      │ many threads: must not fork            │ one thread                  │                    │
      ├─ Popen ───────────────────────────────▶│                             │                    │
      ├─ request + line + stdin, stdout, … ───▶├─ fork ─────────────────────▶├─ Fork, Clone ─────▶│
      │◀───────── "created", "ended" over the line ──────────────────────────┤                    │

It is started once, by ``labkit.runtime.client``, and ends when whoever started it does; its monitors go on. A request is a plan
and how to run it, pickled: both ends are the same program, and the socket between them has no name that others could find.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit.runtime.plans import Plan


@dataclass(frozen=True, eq=False)
class Request:
    """What a monitor is to do.

    ``new``: create the container, else execute one more process in it. ``start`` it at once; ``remove`` it when it has ended.
    ``stepped``: wait for the word before each step. ``log``: where to write its output, if the monitor holds its stdio.
    """

    plan: Plan
    new: bool = True
    start: bool = True
    remove: bool = False
    stepped: bool = False
    log: str = ""


def submit(spawner: socket.socket, request: Request, line: socket.socket, stdio: tuple[int, ...]) -> None:
    """Hand a request to a spawner, with the line over which its monitor shall report, and three descriptors or none."""
    # In a file in memory, for a plan may be larger than a packet.
    with open(os.memfd_create("request"), "w+b") as file:
        pickle.dump(request, file)
        file.flush()
        socket.send_fds(spawner, [b"!"], [file.fileno(), line.fileno(), *stdio])


def serve(requests: socket.socket) -> None:
    """Fork a monitor for each request, until the other end hangs up."""
    from labkit.runtime import monitor

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # monitors report for themselves; the kernel reaps them
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-c in a terminal is meant for the program in front
    gc.collect()
    gc.freeze()  # what is there now stays shared with every monitor, uncopied
    gc.disable()
    while True:
        word, descriptors, _, _ = socket.recv_fds(requests, 16, 5)
        if not word:
            return
        if os.fork() == 0:
            requests.close()
            monitor.attend(*descriptors)
        for fd in descriptors:
            os.close(fd)


def main() -> None:
    """Serve the requests that arrive at the descriptor whose number is the last argument."""
    from labkit.runtime import seal

    seal.seal()
    serve(socket.socket(fileno=int(sys.argv[-1])))
