"""The spawner: a small process with one thread and everything imported, that keeps a monitor ready for the next container.

    notebook or daemon           spawner              monitor                builder              init
      │ many threads:              │ one thread         │                      │                    │
      │ must not fork              ├─ fork ────────────▶├─ fork ──────────────▶│ waits for a        │
      ├─ Popen ───────────────────▶│                    │                      │ request            │
      ├─ request + line + stdin, stdout, stderr ────────────────────────────▶ │                    │
      │                            │◀─ "taken" ────────────────────────────── │                    │
      │                            ├─ fork: the next    │                      ├─ Clone ───────────▶│
      │ ◀──── "applied", "created" over the line ───────────────────────────── │ steps ◀──────────▶ │
      │                            │                    │ ◀─ pid, descriptors ─┤                    │
      │ ◀──── "ended" over the line ─────────────────── │                                           │

Two forks are done before anybody asks, so a start has to wait for only one. The spawner is started once, by ``client``, and ends when
whoever started it does; monitors go on. A request is a plan and how to run it, pickled: both ends are the same program, and the
socket between them has no name that others could find.
"""

from __future__ import annotations

import gc
import os
import pickle
import select
import signal
import socket
import sys
from typing import TYPE_CHECKING

from labkit.records import record

if TYPE_CHECKING:
    from labkit.runtime.plans import Plan


@record
class Request:
    """What a monitor is to do.

    ``new``: create the container, else execute one more process in it. ``start`` it at once; ``remove`` it when it has ended.
    ``stepped``: wait for the word before each step. ``log``: where to write its output, if the monitor holds its stdio;
    ``rotation``: after how many bytes to begin it anew (0: never), and how many files of it to keep. ``streams``: those that a client
    that comes with the request hears.
    """

    plan: Plan
    new: bool = True
    start: bool = True
    remove: bool = False
    stepped: bool = False
    log: str = ""
    rotation: tuple[int, int] = (0, 1)
    streams: tuple[int, ...] = (1, 2)


def submit(spawner: socket.socket, request: Request, line: socket.socket, stdio: tuple[int, ...]) -> None:
    """Hand a request to a spawner, with the line over which to report.

    And the three descriptors of the process's stdio; or none, then the monitor holds them; or one, a client of the monitor's.
    """
    # In a file in memory, for a plan may be larger than a packet.
    with open(os.memfd_create("request"), "w+b") as file:
        pickle.dump(request, file)
        file.flush()
        socket.send_fds(spawner, [b"!"], [file.fileno(), line.fileno(), *stdio])


def receive(requests: socket.socket) -> tuple[Request, int, tuple[int, ...]] | None:
    """The next request, its line, and the descriptors; None when the other end has hung up."""
    word, descriptors, _, _ = socket.recv_fds(requests, 16, 5)
    if not word:
        return None
    memory, line, *stdio = descriptors
    with open(memory, "rb") as file:
        file.seek(0)
        return pickle.load(file), line, tuple(stdio)


def serve(requests: socket.socket) -> None:
    """Keep one monitor ready, until the other end hangs up."""
    from labkit import codec
    from labkit.linux import cgroups
    from labkit.runtime import monitor, state
    from labkit.runtime.steps import groups

    # What is worked out at the first use is worked out here, once for all monitors.
    codec.decode(state.State, codec.encode(state.State("", "", "", "", journal=({},))))
    codec.decode(groups.MakeCgroup, codec.encode(groups.MakeCgroup("", ())))
    cgroups.detect()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # monitors report for themselves; the kernel reaps them
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-c in a terminal is meant for the program in front
    gc.collect()
    gc.freeze()  # what is there now stays shared with every monitor, uncopied
    gc.disable()
    while True:
        taken, took = os.pipe()
        if os.fork() == 0:
            os.close(taken)
            monitor.attend(requests, took)
        os.close(took)
        # The pipe ends when the builder has taken a request, or has died.
        os.read(taken, 1)
        os.close(taken)
        if _has_hung_up(requests):
            return


def _has_hung_up(requests: socket.socket) -> bool:
    poll = select.poll()
    poll.register(requests, 0)
    return bool(poll.poll(0))


def main() -> None:
    """Serve the requests that arrive at the descriptor whose number is the last argument; the others are modules to have ready."""
    from importlib import import_module

    from labkit.runtime import seal

    seal.seal()
    for name in sys.argv[1:-1]:
        import_module(name)
    serve(socket.socket(fileno=int(sys.argv[-1])))
