"""``docker exec``: one more program in a container that runs.

    create ──▶ an ID ──start──▶ running, with a monitor of its own ──▶ ended: its exit code can be asked for another five minutes
                        └ it cannot be: the reason is told where its output would be, and its exit code is 126

    >>> id = engine.execs.create(engine.containers.get("web"), ExecConfig(Cmd=("id",), User="www-data", AttachStdout=True))
    >>> line = engine.execs.start(id)
    >>> line.receive()
    (1, b'uid=33(www-data) gid=33(www-data) groups=33(www-data)\\n')
    >>> engine.execs.get(id).ExitCode
    0

The program enters the namespaces and the control group of the container, with the container's environment, limits and filter. It is
forgotten when the engine is closed; the program is not, and goes on. Source: moby's ``daemon/exec.go``, ``exec_linux.go``; Docker
Engine API v1.47, ContainerExec. Shown in notebook 06.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from errno import ENOENT
from typing import TYPE_CHECKING

from labkit.engine import names, oci, passwd
from labkit.engine.detach_keys import DetachKeys
from labkit.engine.streams import Attachment
from labkit.errors import Conflict, InvalidInput, KernelError, LabError, NotFound
from labkit.linux import processes
from labkit.records import record
from labkit.runtime import planner, spec
from labkit.runtime import state as runtime_state
from labkit.runtime.client import Job
from labkit.runtime.spawner import Request

if TYPE_CHECKING:
    from labkit.engine.container import Container
    from labkit.engine.engine import Engine
    from labkit.runtime.plans import Plan

COULD_NOT_START = 126
"""The exit code of a program that never was, for whatever reason."""
_REMEMBERED = 300.0
_PATIENCE = 10.0  # seconds, as in Docker
_PREFIX = "OCI runtime exec failed: exec failed: unable to start container process: "


@record
class ExecConfig:
    """The body of ``POST /containers/ID/exec``."""

    User: str = ""
    Privileged: bool = False
    Tty: bool = False
    ConsoleSize: tuple[int, int] | None = None
    AttachStdin: bool = False
    AttachStderr: bool = False
    AttachStdout: bool = False
    Detach: bool = False
    DetachKeys: str = ""
    Env: tuple[str, ...] = ()
    WorkingDir: str = ""
    Cmd: tuple[str, ...] = ()


@record
class Exec:
    """A program in a container: what was asked for, and how it is. ``Pid`` is the host's; ``ExitCode`` None until it has ended."""

    ID: str
    ContainerID: str
    Config: ExecConfig
    Running: bool = False
    ExitCode: int | None = None
    Pid: int = 0


class _Running:
    """An exec and what belongs to it while it runs."""

    def __init__(self, container: Container, found: Exec) -> None:
        self.container, self.exec = container, found
        self.line: Attachment | None = None
        self.start_time = 0
        self.ended_at = 0.0
        self.begun = threading.Event()
        """There is a line to it, or there never will be."""
        self.ended = threading.Event()


class Execs:
    """All of an engine's. Any thread may call anything."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._by_id: dict[str, _Running] = {}
        self._lock = threading.Lock()

    def create(self, container: Container, config: ExecConfig) -> str:
        """What is to be started; its ID. ``Conflict`` if the container does not run."""
        _check_running(container)
        if not config.Cmd:
            raise InvalidInput("No exec command specified")
        if config.Tty:
            DetachKeys(config.DetachKeys)  # so that keys that are none are refused now
        id = names.new_id()
        self._forget_old()
        with self._lock:
            self._by_id[id] = _Running(container, Exec(id, container.id, config))
        container.tell(f"exec_create: {_shown(config)}", execID=id)
        return id

    def get(self, id: str) -> Exec:
        """How it is. ``NotFound``."""
        return self._get(id).exec

    def of(self, container: Container) -> tuple[str, ...]:
        """The IDs of those that run in a container."""
        with self._lock:
            return tuple(id for id, each in self._by_id.items() if each.container is container and each.exec.Running)

    def start(
        self, id: str, detach: bool = False, size: tuple[int, int] | None = None, then: Callable[[], None] | None = None
    ) -> Attachment:
        """Start it: the line to it, over which it is also told if it cannot be started. ``size``: of its terminal, height and width.

        ``detach``: nobody will listen. Then the line is closed, and raises why it cannot be started. ``then`` is called, from another
        thread, when it has ended and its exit code is known.
        """
        running = self._get(id)
        container, config = running.container, running.exec.Config
        with self._lock:
            if running.exec.ExitCode is not None:
                raise Conflict(f"Error: Exec command {id} has already run")
            if running.exec.Running:
                raise Conflict(f"Error: Exec command {id} is already running")
            _check_running(container)
            running.exec = replace(running.exec, Running=True)
        line = Attachment(
            tty=config.Tty,
            stdin=config.AttachStdin and not detach,
            stdout=config.AttachStdout and not detach,
            stderr=config.AttachStderr and not detach,
            once=True,
            detach_keys=config.DetachKeys,
        )
        container.tell(f"exec_start: {_shown(config)}", execID=id)
        try:
            job = self._run(running, line, size or config.ConsoleSize)
        except LabError as error:
            failed = told(error, config.Cmd[0])
            self._end(running, COULD_NOT_START, then)
            if detach:
                line.close()
                raise failed from error
            line.say(f"{failed}\r\n")
            return line
        running.line = line
        running.begun.set()
        self._engine.supervisor.watch(os.dup(job.socket.fileno()), lambda: self._ended(running, job, then))
        return line

    def wait(self, id: str, timeout: float | None = None) -> int | None:
        """Wait for its end: the exit code; None if it has not come in time."""
        running = self._get(id)
        running.ended.wait(timeout)
        return running.exec.ExitCode

    def resize(self, id: str, height: int, width: int) -> None:
        """Set the size of its terminal, in characters. Who has asked for its start may ask for this at once: it waits for that."""
        running = self._get(id)
        running.begun.wait(_PATIENCE)
        if not running.exec.Running or running.line is None:
            raise Conflict(f"Exec command {id} is not running")
        running.line.resize(height, width)

    def kill(self, id: str) -> None:
        """Kill its first process."""
        running = self._get(id)
        if running.exec.Pid and running.exec.Running:
            with suppress(NotFound):
                processes.send(running.exec.Pid, 9, running.start_time)

    def _run(self, running: _Running, line: Attachment, size: tuple[int, int] | None) -> Job:
        """Have it started, with a monitor that holds its stdio for ``line``."""
        wanted = plan(running.container, running.exec.Config, size)
        job = Job(Request(wanted, new=False, streams=line.streams), capture=False, client=line.other_end)
        try:
            job.hear("created")
        except BaseException:
            job.close()
            raise
        line.other_end.close()
        born = processes.stat(job.pid)
        running.start_time = born.start_time if born else 0
        running.exec = replace(running.exec, Pid=job.pid)
        if not running.exec.Config.AttachStdin and not running.exec.Config.Tty:
            line.end_input()
        return job

    def _ended(self, running: _Running, job: Job, then: Callable[[], None] | None) -> None:
        """Its monitor has told of its end, or has ended without a word."""
        try:
            code = job.hear("ended")
        except LabError:
            code = 137
        job.close()
        self._end(running, code, then)

    def _end(self, running: _Running, code: int, then: Callable[[], None] | None) -> None:
        running.exec = replace(running.exec, Running=False, ExitCode=code)
        running.ended_at = time.monotonic()
        if running.exec.Pid:
            running.container.tell("exec_die", execID=running.exec.ID, exitCode=str(code))
        running.begun.set()
        running.ended.set()
        if then:
            then()

    def _get(self, id: str) -> _Running:
        with self._lock:
            found = self._by_id.get(id)
        if found is None:
            raise NotFound(f"No such exec instance: {id}")
        return found

    def _forget_old(self) -> None:
        """Those that ended a while ago, and those of containers that are gone."""
        limit = time.monotonic() - _REMEMBERED
        with self._lock:
            for id, each in list(self._by_id.items()):
                if not each.exec.Running and (each.container.is_removed or 0 < each.ended_at < limit):
                    del self._by_id[id]


def _shown(config: ExecConfig) -> str:
    """The command in an event: Docker writes a blank after the program, whether or not there are arguments."""
    return f"{config.Cmd[0]} {' '.join(config.Cmd[1:])}"


def _check_running(container: Container) -> None:
    status = container.state.Status
    if status == "paused":
        raise Conflict(f"Container {container.name} is paused, unpause the container before exec")
    if status == "restarting":
        raise Conflict(f"Container {container.name} is restarting, wait until the container is running")
    if status != "running" or container.is_removed:
        raise Conflict(f"Container {container.id} is not running")


def plan(container: Container, config: ExecConfig, size: tuple[int, int] | None = None) -> Plan:
    """The plan of the program: as the container's first process was configured, but for what is asked for."""
    if config.WorkingDir and not config.WorkingDir.startswith("/"):
        raise InvalidInput("OCI runtime exec failed: exec failed: Cwd must be an absolute path: unknown")
    engine = container.engine
    state = runtime_state.load(engine.runtime_root, container.id)
    whole = spec.load(container.directory)
    first = whole.process
    hostname = next((entry.partition("=")[2] for entry in first.env if entry.startswith("HOSTNAME=")), "")
    height, width = size or (0, 0)
    program = replace(
        first,
        args=config.Cmd,
        terminal=config.Tty,
        consoleSize=spec.ConsoleSize(height, width) if config.Tty and height and width else None,
        user=passwd.resolve(config.User, (), passwd.in_process(state.pid)) if config.User else first.user,
        env=oci.environment(container.record.Config, hostname, config.Tty, config.Env),
        cwd=config.WorkingDir or first.cwd,
        capabilities=oci.granted(container.record.HostConfig, privileged=True) if config.Privileged else first.capabilities,
    )
    return planner.exec_plan(whole, program, state, engine.runtime_root)


def told(error: LabError, command: str) -> LabError:
    """A failure to start in Docker's words."""
    if not isinstance(error, KernelError):
        return error if isinstance(error, InvalidInput | NotFound | Conflict) else LabError(f"{_PREFIX}{error}: unknown")
    why = error.hint.partition(": it is")[0] or os.strerror(error.errno).lower()
    if error.operation == "exec":
        missing = f"stat {command}: " if error.errno == ENOENT and "/" in command else ""
        return InvalidInput(f'{_PREFIX}exec: "{command}": {missing}{why}: unknown')
    if error.operation == "chdir to":
        why = os.strerror(error.errno).lower()
        return InvalidInput(f'{_PREFIX}chdir to cwd ("{error.object}") set in config.json failed: {why}: unknown')
    return LabError(f"{_PREFIX}{error}: unknown")
