"""The monitor: one process a container, its init's parent, which outlives whoever asked for the container.

    spawner ──fork──▶ monitor ──Fork, Clone──▶ init
                        │ applies the plan, at full speed or step by step
                        │ line:          "created", "applied", "ended", "failed" to whoever asked, while they listen
                        │ stdio:         passed on as given, or held: then output goes to the log and to who is attached
                        │ monitor.sock:  attach, resize, stdin; as long as it holds the stdio
                        ▼ waits for init's end, writes exit.json, undoes the plan if it was told to

If the one who asked goes away, nothing happens here: the container runs on and its end is written down. If the monitor is
killed, init runs on too, and its state on disk says what must be undone.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
from typing import TYPE_CHECKING, NoReturn

from labkit.errors import LabError
from labkit.linux import processes
from labkit.runtime import container, state
from labkit.runtime.context import Context
from labkit.runtime.handshake import await_done, packed
from labkit.runtime.stdio import Held

if TYPE_CHECKING:
    from labkit.runtime.plans import Run
    from labkit.runtime.spawner import Request


def attend(request_fd: int, line_fd: int, *stdio: int) -> NoReturn:
    """What the spawner's child does: a container's whole life, then exit."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    with open(request_fd, "rb") as file:
        file.seek(0)
        request: Request = pickle.load(file)
    monitor = Monitor(request, Line(line_fd), stdio)
    try:
        monitor.live()
    except Exception as error:
        monitor.line.say({"failed": packed(error)})
    finally:
        os._exit(0)


class Line:
    """The connection to whoever asked; once they are gone, speaking does nothing."""

    def __init__(self, fd: int) -> None:
        self.socket = socket.socket(fileno=fd)

    def say(self, message: dict[str, object]) -> None:
        """Send a message."""
        try:
            self.socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return  # nobody listens any more

    def hear(self) -> str:
        """The next word, "" if the other end has hung up."""
        return self.socket.recv(16).decode()


class Monitor:
    """The life of one container, or of one process that was executed in it."""

    def __init__(self, request: Request, line: Line, stdio: tuple[int, ...]) -> None:
        self.request, self.line = request, line
        self.plan = request.plan
        self.held = None if stdio else Held(request.log)
        given = stdio or (self.held.ends if self.held else ())
        self.context = Context(self.plan, single=request.stepped, stdio=(given[0], given[1], given[2]))
        self.applied = 0
        self.pacing = request.stepped

    def live(self) -> None:
        """Apply the plan, report, wait for the end, report that."""
        if not self.request.new:
            container.execute(self.context)
        else:
            container.create(self.context, self.pace if self.request.stepped else None)
            if self.request.stepped:
                self.step_into_program()
            elif self.request.start:
                self.start()
        self.line.say({"created": self.context.pid, "warnings": list(self.context.warnings)})
        self.tend()
        code = processes.exit_code(os.waitpid(self.context.pid, 0)[1])
        if self.request.remove:
            container.delete(self.plan.root, self.plan.id, force=True)
        elif self.request.new:
            state.record_exit(self.plan.root, self.plan.id, code)
        self.line.say({"ended": code})

    def start(self) -> None:
        """Start what was created; if that fails, it is not kept."""
        try:
            container.start(self.plan.root, self.plan.id)
        except LabError:
            os.waitpid(self.context.pid, 0)
            container.delete(self.plan.root, self.plan.id, force=True)
            raise

    def tend(self) -> None:
        """Until init has ended: carry what it writes, if that is ours to do."""
        if self.context.stdio:
            for fd in set(self.context.stdio):
                os.close(fd)
        if self.held:
            self.held.serve(self.context, f"{self.plan.directory}/monitor.sock" if self.request.new else "")
        else:
            processes.wait(self.context.pidfd)

    # One step at a time: notebook 04's debugger.

    def pace(self, run: Run) -> None:
        """Tell that what comes before ``run`` is applied, and wait for the word to go on."""
        self.line.say({"applied": self.applied, "pid": self.context.pid or self.context.stage})
        if self.pacing:
            word = self.line.hear()
            if not word:
                raise LabError("given up")
            self.pacing = word == "step"
        self.applied += len(run.steps)

    def step_into_program(self) -> None:
        """The rest of a stepped plan: start it, then give the word for each step up to execve."""
        runs = self.plan.runs(single=True)[self.applied :]
        try:
            for run in runs:
                self.pace(run)
                if self.context.starter is None:
                    self.context.starter = container.knock(self.plan.root, self.plan.id)
                    await_done(self.context)
                self.context.channel.send({"go": True})
                if run is not runs[-1]:
                    await_done(self.context)
            assert self.context.starter is not None
            container.hear_started(self.context.starter)
        except (LabError, OSError):
            container.delete(self.plan.root, self.plan.id, force=True)
            raise
