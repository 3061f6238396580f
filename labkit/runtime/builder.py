"""The builder: a process that makes one container for its monitor, and is gone.

    monitor ──fork──▶ builder ──Clone──▶ init     (whose parent is the monitor)
       │                 │ applies the plan, at full speed or step by step
       │                 │ line: "applied", "created" or "failed" to whoever asked
       │ ◀─ pid of init ─┤ or nothing, if it came to nothing
       ▼                 ╵
    waits for init

Applying a plan touches most of what labkit has in memory, and what a forked process touches it has to copy. So somebody else
does it than the monitor, which stays as long as the container.
"""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING

from labkit.errors import LabError
from labkit.records import record
from labkit.runtime import container, spawner
from labkit.runtime.conduct import withdraw
from labkit.runtime.context import Context
from labkit.runtime.handshake import await_done, give_word, packed

if TYPE_CHECKING:
    from labkit.runtime.monitor import Line
    from labkit.runtime.plans import Run
    from labkit.runtime.spawner import Request


def build(requests: socket.socket, took: int, monitor: socket.socket) -> None:
    """Wait for a request, say that it is taken, and make what it asks for."""
    from labkit.runtime.monitor import Line

    found = spawner.receive(requests)
    os.close(took)
    requests.close()
    if found is None:
        return
    request, line, given = found
    monitor.send(json.dumps({"root": request.plan.root, "id": request.plan.id, "new": request.new}).encode())
    Builder(request, Line(line), given).build(monitor)


@record
class Made:
    """What a builder leaves to its monitor, with the line to whoever asked, and descriptors: stdio that is to be held, then clients."""

    root: str
    id: str
    pid: int
    new: bool
    remove: bool
    terminal: bool = False
    log: str = ""
    rotation: tuple[int, int] = (0, 1)
    clients: int = 0
    streams: tuple[int, ...] = ()


class Builder:
    """Applies the plan of a request; ``build`` is all that it does."""

    def __init__(self, request: Request, line: Line, given: tuple[int, ...]) -> None:
        self.request, self.line = request, line
        self.plan = request.plan
        self.held: tuple[int, ...] = ()
        self.clients: tuple[int, ...] = ()
        if len(given) < 3:
            self.clients = given
            (stdin, to_stdin), (from_stdout, stdout), (from_stderr, stderr) = os.pipe(), os.pipe(), os.pipe()
            self.held, given = (to_stdin, from_stdout, from_stderr), (stdin, stdout, stderr)
        stdio = (given[0], given[1], given[2])
        self.context = Context(request.plan, single=request.stepped, stdio=stdio, adopted=True)
        self.applied = 0
        self.pacing = request.stepped

    def build(self, monitor: socket.socket) -> None:
        """Make what was asked for and hand it to the monitor, or tell why it cannot be."""
        try:
            self.make()
            self.hand_over(monitor)
        except Exception as error:
            self.line.say({"failed": packed(error)})
            return
        if self.request.new and not self.request.start and not self.line.listened:
            container.delete(self.plan.root, self.plan.id, force=True)  # who was to start it is gone: it would wait for ever
            return
        warnings = [*self.plan.warnings, *self.context.warnings]
        self.line.say({"created": self.context.pid, "pid": self.context.pid, "warnings": warnings})

    def hand_over(self, monitor: socket.socket) -> None:
        """Leave what was made to the monitor, with the stdio that it shall hold; then return when its door is open."""
        if self.context.terminal >= 0:
            # A terminal has to be held by somebody; if the caller has given descriptors, the monitor carries between the two.
            self.held = (self.context.terminal, *([] if self.held else self.context.stdio or ())[:2])
        request, terminal = self.request, self.context.terminal >= 0
        made = Made(self.plan.root, self.plan.id, self.context.pid, request.new, request.remove, terminal, request.log, request.rotation,
                    len(self.clients), request.streams)  # fmt: skip
        try:
            socket.send_fds(monitor, [json.dumps(vars(made)).encode()], [self.line.socket.fileno(), *self.held, *self.clients])
        except OSError:
            if self.request.new:
                container.delete(self.plan.root, self.plan.id, force=True)
            else:
                withdraw(self.context)
            raise LabError(f"container {self.plan.id}: its monitor was killed") from None
        if self.held:
            monitor.recv(1)  # until it hangs up

    def make(self) -> None:
        """Create and, if asked, start; or execute one more process."""
        if not self.request.new:
            container.execute(self.context)
            return
        container.create(self.context, self.pace if self.request.stepped else None)
        try:
            if self.request.stepped:
                self.step_into_program()
            elif self.request.start:
                container.start(self.plan.root, self.plan.id)
        except BaseException:
            container.delete(self.plan.root, self.plan.id, force=True)
            raise

    def pace(self, run: Run) -> None:
        """Tell that what comes before ``run`` is applied, and wait for the word to go on."""
        self.line.say({"applied": self.applied, "pid": self.context.pid})
        if self.pacing:
            word = self.line.hear()
            if not word:
                raise LabError("given up")
            self.pacing = word == "step"
        self.applied += len(run.steps)

    def step_into_program(self) -> None:
        """The rest of a stepped plan: start it, then give the word for each step up to execve."""
        runs = self.plan.runs(single=True)[self.applied :]
        for run in runs:
            self.pace(run)
            if self.context.starter is None:
                self.context.starter = container.knock(self.plan.root, self.plan.id)
                await_done(self.context)
            give_word(self.context)
            if run is not runs[-1]:
                await_done(self.context)
        assert self.context.starter is not None
        container.hear_started(self.context.starter)
