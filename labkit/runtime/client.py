"""Containers from a program with threads, such as a notebook: run, create, exec, through a spawner and monitors.

    >>> from labkit import runtime
    >>> runtime.run("/tmp/bundle")
    Finished(code=0, stdout='hello\\n', stderr='')
    >>> with runtime.create("/tmp/bundle") as box:
    ...     box.start()
    ...     box.exec("ps").stdout

What these do is what ``labkit runtime`` does, step for step; only the parent of the container's init is another: a monitor, which
outlives this process. The state is kept under ``/run/labkit/lessons``, and ``labkit reset`` knows it.
"""

from __future__ import annotations

import atexit
import io
import json
import os
import select
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from labkit.errors import InvalidInput, LabError
from labkit.records import record
from labkit.runtime import container, spec, state
from labkit.runtime.handshake import unpacked
from labkit.runtime.spawner import Request, submit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labkit.runtime.plans import Plan
    from labkit.runtime.steps.filesystem import MountRoot


@record
class Finished:
    """A program that has ended: its exit code (128 + n if signal n ended it) and what it wrote."""

    code: int
    stdout: str
    stderr: str


class Job:
    """A monitor at work for us: its line, and the reading ends of the program's output."""

    def __init__(self, request: Request, stdin: bytes = b"", capture: bool = True, client: socket.socket | None = None) -> None:
        """Without ``capture`` the monitor holds the program's stdio, for ``client`` from the beginning if one is given."""
        ours, theirs = socket.socketpair()
        self.line = ours.makefile("rb")
        self.socket = ours
        self.pid = 0
        self.outputs: tuple[io.FileIO, ...] = ()  # files, not numbers: a job that is forgotten leaves nothing open
        stdio: tuple[int, ...] = ()
        if capture:
            self.outputs, stdio = _pipes(stdin)
        with theirs:
            _hand_in(request, theirs, (client.fileno(),) if client else stdio)
        for fd in stdio:
            os.close(fd)

    def hear(self, word: str) -> int:
        """Wait for a report. Raises what the monitor failed with, or ``LabError`` if it was killed."""
        while line := self._next():
            message = json.loads(line)
            if "failed" in message:
                raise unpacked(message["failed"])
            for warning in message.get("warnings", ()):
                print(f"labkit: warning: {warning}", file=sys.stderr)
            if word in message:
                self.pid = int(message.get("pid", 0))
                return int(message[word])
        raise LabError("the container's monitor was killed (`labkit reset` takes back what it left)")

    def _next(self) -> bytes:
        try:
            return self.line.readline()
        except ConnectionResetError:  # it was killed before it had heard what we said last
            return b""

    def say(self, word: str) -> None:
        """Tell a monitor that waits for it: ``step``, or ``rest``."""
        self.socket.sendall(word.encode())

    def finish(self) -> Finished:
        """Read the program's output to its end and wait for its exit."""
        output = _drain(self.outputs)
        code = self.hear("ended")
        stdout, stderr = (data.decode(errors="replace") for data in output) if output else ("", "")
        return Finished(code, stdout, stderr)

    def close(self) -> None:
        """Stop listening."""
        for output in self.outputs:
            output.close()
        self.outputs = ()
        self.line.close()
        self.socket.close()


def _pipes(stdin: bytes) -> tuple[tuple[io.FileIO, io.FileIO], tuple[int, int, int]]:
    """Our ends of stdout and stderr, and the program's three; its input is all there from the beginning."""
    if stdin:
        source = os.memfd_create("stdin")
        os.write(source, stdin)
        os.lseek(source, 0, os.SEEK_SET)
    else:
        source = os.open("/dev/null", os.O_RDONLY)
    stdout, their_stdout = os.pipe()
    stderr, their_stderr = os.pipe()
    return (io.FileIO(stdout), io.FileIO(stderr)), (source, their_stdout, their_stderr)


def _drain(outputs: Sequence[io.FileIO]) -> list[bytes]:
    parts: dict[int, list[bytes]] = {output.fileno(): [] for output in outputs}
    poll = select.poll()
    for fd in parts:
        poll.register(fd, select.POLLIN)
    waiting = len(outputs)
    while waiting:
        for fd, _ in poll.poll():
            data = os.read(fd, 65536)
            parts[fd].append(data)
            if not data:
                poll.unregister(fd)
                waiting -= 1
    return [b"".join(data) for data in parts.values()]


class Container:
    """A container of this lab: made by ``create``, found again by ``find``. A ``with`` block deletes it at its end."""

    def __init__(self, id: str, root: str = state.LESSONS) -> None:
        self.id, self.root = id, root
        self._job: Job | None = None
        self._finished: Finished | None = None

    def __repr__(self) -> str:
        return f"<container {self.id}: {self.status}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.delete(force=True)

    @property
    def status(self) -> str:
        """creating, created, running, paused, stopped, or "gone"."""
        if self.id not in state.ids(self.root):
            return "gone"
        return state.status(self.root, state.load(self.root, self.id))

    @property
    def pid(self) -> int:
        """The host's number for the container's process 1."""
        return state.load(self.root, self.id).pid

    @property
    def cgroup(self) -> str:
        """The path of its control group, the same in every hierarchy."""
        return state.load(self.root, self.id).cgroup

    def start(self) -> None:
        """Execute the program."""
        container.start(self.root, self.id)

    def exec(self, *args: str, stdin: str = "", user: tuple[int, int] | None = None) -> Finished:
        """Run one more program in the container and wait for it: ``box.exec("ls", "-l", "/")``."""
        if not args:
            raise InvalidInput("exec: name a program")
        program = replace(spec.load(state.load(self.root, self.id).bundle).process, args=args, terminal=False)
        if user:
            program = replace(program, user=spec.User(*user))
        job = Job(Request(container.exec_plan(self.root, self.id, program), new=False), stdin.encode())
        try:
            return job.finish()
        finally:
            job.close()

    def wait(self) -> Finished:
        """Wait for the end of a container that this program made: exit code and output."""
        if self._job is None:
            raise LabError(f"container {self.id}: only the one who made it hears of its end; see {self.root}/{self.id}/exit.json")
        if self._finished is None:
            self._finished = self._job.finish()
        return self._finished

    def kill(self, signal: str = "TERM") -> None:
        """Send a signal to its first process."""
        container.kill(self.root, self.id, signal)

    def pause(self) -> None:
        """Freeze all its processes."""
        container.pause(self.root, self.id)

    def resume(self) -> None:
        """Let them go on."""
        container.resume(self.root, self.id)

    def processes(self) -> tuple[int, ...]:
        """The host's numbers for all its processes."""
        return container.members(self.root, self.id)

    def delete(self, force: bool = False) -> None:
        """Remove it; with ``force`` kill it first, and do not mind if it is gone."""
        container.delete(self.root, self.id, force)
        if self._job:
            self._job.close()
            self._job = None


def plan(bundle: str, id: str = "", root: str = state.LESSONS, rootfs: Sequence[MountRoot] = ()) -> Plan:
    """The plan of the container that a bundle describes. Nothing is done until it is stepped, finished or run."""
    return container.plan(bundle, id or _new_id(), root, rootfs)


def run(bundle: str | Plan, id: str = "", root: str = state.LESSONS, stdin: str = "") -> Finished:
    """Create, start, wait, delete: a bundle in, exit code and output out. A ``Plan`` may be given in place of a bundle."""
    wanted = plan(bundle, id, root) if isinstance(bundle, str) else bundle
    job = Job(Request(wanted, remove=True), stdin.encode())
    try:
        job.hear("created")
        return job.finish()
    except KeyboardInterrupt:
        container.delete(wanted.root, wanted.id, force=True)
        raise
    finally:
        job.close()


def create(bundle: str | Plan, id: str = "", root: str = state.LESSONS, stdin: str = "") -> Container:
    """A container that is created and waits for ``start``."""
    wanted = plan(bundle, id, root) if isinstance(bundle, str) else bundle
    job = Job(Request(wanted, start=False), stdin.encode())
    try:
        job.hear("created")
    except BaseException:
        job.close()
        raise
    made = Container(wanted.id, wanted.root)
    made._job = job
    return made


def find(id: str, root: str = state.LESSONS) -> Container:
    """A container that exists. Raises ``NotFound``."""
    state.load(root, id)
    return Container(id, root)


def containers(root: str = state.LESSONS) -> list[Container]:
    """All containers under a root."""
    return [Container(id, root) for id in state.ids(root)]


def _new_id() -> str:
    return f"box-{os.urandom(3).hex()}"


_running: tuple[int, socket.socket, subprocess.Popen[bytes]] | None = None
_one_at_a_time = threading.Lock()


def prepare() -> None:
    """Start the spawner, so that the first container does not have to wait for it."""
    with _one_at_a_time:
        _spawner()


def _hand_in(request: Request, line: socket.socket, stdio: tuple[int, ...]) -> None:
    """Give a request to this process's spawner; whichever thread asks, there is one."""
    with _one_at_a_time:
        try:
            submit(_spawner(), request, line, stdio)
        except BrokenPipeError:  # it was killed a moment ago
            assert _running
            _running[2].wait()
            submit(_spawner(), request, line, stdio)


def _spawner() -> socket.socket:
    """The line to the spawner; it is started at the first use, and again if it was killed."""
    global _running
    if _running and _running[0] == os.getpid():
        if _running[2].poll() is None:
            return _running[1]
        _running[1].close()  # the monitor that it kept ready is not needed any more
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # What a plan may be made of here, its monitors find there already: they are forks of it.
    steps = [name for name in sys.modules if name.startswith("labkit.") and ".steps." in name]
    command = [sys.executable, "-I", "-c", "from labkit.runtime import spawner; spawner.main()", *steps, str(theirs.fileno())]
    with theirs:
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True)
    _running = (os.getpid(), ours, process)
    atexit.register(_stop, ours, process, os.getpid())
    return ours


def _stop(line: socket.socket, process: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() == owner and line.fileno() >= 0:
        line.shutdown(socket.SHUT_RDWR)  # more than close: a fork of ours may hold the line open, too
        line.close()
        process.wait()
