"""The life of a container: start, stop, kill, pause, and what happens when it ends.

    start    record ──▶ config.json ──▶ runtime: a monitor, which holds stdio and log, and init, which waits
             "running" is written ──▶ who attached before is connected ──▶ the program is executed ──▶ event start
    end      the monitor's pidfd ends ──▶ exit.json ──▶ "exited" is written ──▶ what is left is undone ──▶ event die ──▶ waiters
             ──▶ restart policy, or --rm

Who stops a container sends a signal and waits for that second line, which runs in a worker of the supervisor's. Nobody holds the
container's lock while waiting. Whatever is killed in the middle of either line, ``recovery`` puts right.

Source: moby's ``daemon/start.go``, ``stop.go``, ``kill.go``, ``monitor.go``. Shown in notebook 06.
"""

from __future__ import annotations

import json
import logging
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

from labkit.engine import birth, restarting, times
from labkit.engine.container_file import Process, State
from labkit.errors import Conflict, InvalidInput, LabError, NotFound
from labkit.linux import processes
from labkit.runtime import container as runtime
from labkit.runtime import state as runtime_state

if TYPE_CHECKING:
    from labkit.engine.container import Container

_log = logging.getLogger(__name__)

STOP_TIMEOUT = 10
"""Seconds that a container has to end by itself."""
_KILLED = 137
_PATIENCE = 10.0


def start(container: Container) -> bool:
    """Execute the program; False if it runs already."""
    with container.lock:
        if container.is_removed:
            raise Conflict("container is marked for removal and cannot be started")
        if container.state.paused:
            raise Conflict("cannot start a paused container, try unpause instead")
        if container.state.running:
            return False
        restarting.cancel(container)
        container.save(HasBeenManuallyStopped=False, RestartCount=0)
        run(container)
    return True


def run(container: Container) -> None:
    """Start a container that does not run; with its lock held."""
    try:
        birth.bear(container)
    except LabError as error:
        failed = birth.told(error)
        _could_not_start(container, str(failed), birth.exit_code(error))
        raise failed from error
    container.tell("start")
    begin(container)


def _could_not_start(container: Container, why: str, code: int) -> None:
    """It is as it was, and says why; who waits for it is told."""
    status = "created" if container.state.FinishedAt == times.NEVER else "exited"
    container.note(State=replace(container.state, Status=status, Error=why, ExitCode=code, Init=Process(), Monitor=Process()))
    container.exited.set()
    give_up(container)
    container.notify("not-running", "next-exit")
    if container.record.HostConfig.AutoRemove:
        container.remove(force=True, volumes=True)


def give_up(container: Container) -> None:
    """Tell those who wait to be connected that they wait in vain."""
    while container.pending:
        container.pending.pop().give_up()


def begin(container: Container) -> None:
    """It runs, since now or since before this engine: wait for the end of its monitor, which writes down that of the container."""
    for follower in container.engine.followers:
        follower.started(container)
    monitor = container.state.Monitor
    try:
        pidfd = processes.pidfd(monitor.Pid, monitor.StartTime)
    except NotFound:
        container.engine.supervisor.later(0, lambda: ended(container, monitor))
        return
    container.engine.supervisor.watch(pidfd, lambda: ended(container, monitor))


def ended(container: Container, monitor: Process) -> None:
    """The monitor has ended: the container has, too, or now it must, for nobody takes its output any more."""
    with container.lock:
        if container.is_removed or not container.state.alive or container.state.Monitor != monitor:
            return
        if container.engine.is_closing:
            return  # the next engine finds it as we do
        code, moment = _exit(container)
        finish(container, code, moment)


def _exit(container: Container) -> tuple[int, int]:
    """Exit code and moment of the end, as the monitor has written them; 137 if the monitor was killed."""
    try:
        with open(f"{container.run_directory}/exit.json") as file:
            told = json.load(file)
        return int(told["code"]), int(told["time"] * times.SECOND)
    except (OSError, ValueError, KeyError):
        return _KILLED, times.now()


def finish(container: Container, code: int, moment: int) -> None:
    """Write down that a container has ended, take back what its run has left, tell everybody; with its lock held.

    Without room on the disk the end is told, but the runtime's record of it stays, for the next engine to read.
    """
    out_of_memory = bool(code) and _ran_out_of_memory(container)
    manually = container.record.HasBeenManuallyStopped
    delay = None if manually else restarting.delay(container, code, moment)
    state = State(
        Status="exited" if delay is None else "restarting",
        ExitCode=code,
        OOMKilled=out_of_memory,
        StartedAt=container.state.StartedAt,
        FinishedAt=times.text(moment),
    )
    if container.note(State=state, RestartCount=container.record.RestartCount + (delay is not None)):
        clear(container)
    container.exited.set()
    if out_of_memory:
        container.tell("oom")
    container.tell("die", exitCode=str(code))
    for follower in container.engine.followers:
        follower.ended(container)
    container.engine.networks.leave(container)
    container.notify("not-running", "next-exit")
    if delay is not None:
        restarting.schedule(container, delay)
    elif container.record.HostConfig.AutoRemove and not container.keeps_when_stopped:
        container.remove(force=True, volumes=True)


def _ran_out_of_memory(container: Container) -> bool:
    try:
        return bool(container.cgroup.events().oom_kill)
    except LabError:
        return False


def clear(container: Container) -> None:
    """Take back what a run has left on the machine: the runtime's state, the control group, processes if there are any."""
    try:
        runtime.delete(container.engine.runtime_root, container.id, force=True)
    except LabError:
        _log.exception("container %s: after its end", container.short_id)
    birth.unshare_memory(container)


def stop(container: Container, timeout: float | None = None, signal: str | None = None) -> bool:
    """Ask it to end, then kill it; False if it does not run."""
    number = _signal(signal or container.stop_signal)
    with container.lock:
        if not container.state.running:
            return False
        mark_stopped(container)
        if not container.state.alive:  # it was about to be restarted
            _become(container, "exited")
            container.tell("stop")
            return True
        _send(container, number)
    if timeout is None:
        wanted = container.record.Config.StopTimeout
        timeout = STOP_TIMEOUT if wanted is None else wanted
    if not container.exited.wait(None if timeout < 0 else timeout):
        end(container)
    container.tell("stop")
    return True


def mark_stopped(container: Container) -> None:
    """Somebody wants it to end: no restart policy shall contradict."""
    restarting.cancel(container)
    if not container.record.HasBeenManuallyStopped:
        container.note(HasBeenManuallyStopped=True)


def end(container: Container) -> None:
    """Kill it, and wait until that has happened."""
    with container.lock:
        if container.state.alive:
            _send(container, 9)
    if not container.exited.wait(_PATIENCE):
        raise LabError(f"container {container.id}: it is killed, but its processes do not end (are they waiting for a disk?)")


def _send(container: Container, number: int) -> None:
    """Send init a signal. A frozen process hears it when it is thawed."""
    init = container.state.Init
    try:
        processes.send(init.Pid, number, init.StartTime)
    except NotFound:
        return  # it has ended, and its end is about to be told
    container.tell("kill", signal=str(number))
    if container.state.paused:
        container.cgroup.thaw()
        _become(container, "running")


def _signal(name: str) -> int:
    """A signal by name or number; ``InvalidInput`` in Docker's words."""
    try:
        number = processes.signal_number(name)
    except InvalidInput:
        number = 0
    if number == 0:
        raise InvalidInput(f"Invalid signal: {name}")
    return number


def kill(container: Container, signal: str = "KILL") -> None:
    """Send a signal to the first process."""
    number = _signal(signal)
    with container.lock:
        if not container.state.running:
            raise Conflict(f"Cannot kill container: {container.name}: Container {container.id} is not running")
        if number == 9 or number == _signal(container.stop_signal):
            mark_stopped(container)
        if not container.state.alive:
            _become(container, "exited")
            return
        if number != 9:
            _send(container, number)
    if number == 9:
        end(container)


def restart(container: Container, timeout: float | None = None, signal: str | None = None) -> None:
    """Stop it, if it runs, and start it."""
    container.keeps_when_stopped = True
    try:
        stop(container, timeout, signal)
    finally:
        container.keeps_when_stopped = False
    start(container)
    container.tell("restart")


def pause(container: Container) -> None:
    """Freeze it."""
    with container.lock:
        _must_run(container)
        if container.state.paused:
            raise Conflict(f"Container {container.id} is already paused")
        container.cgroup.freeze()
        _become(container, "paused")
        container.tell("pause")


def unpause(container: Container) -> None:
    """Thaw it."""
    with container.lock:
        if not container.state.paused:
            raise LabError(f"Container {container.id} is not paused")
        container.cgroup.thaw()
        _become(container, "running")
        container.tell("unpause")


def _become(container: Container, status: str) -> None:
    container.note(State=replace(container.state, Status=status))


def _must_run(container: Container) -> None:
    if container.state.Status == "restarting":
        raise Conflict(f"Container {container.id} is restarting, wait until the container is running")
    if not container.state.alive:
        raise Conflict(f"Container {container.id} is not running")


def resize(container: Container, height: int, width: int) -> None:
    """Set the size of its terminal, through its monitor."""
    _must_run(container)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as monitor:
        try:
            with runtime_state.short(container.run_directory) as directory:
                monitor.connect(f"{directory}/monitor.sock")
            monitor.send(f"r{height} {width}".encode())
        except OSError:
            raise Conflict(f"Container {container.id} is not running") from None
    container.tell("resize", height=str(height), width=str(width))
