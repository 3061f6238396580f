"""The life of a container: how it is started, and what happens when it ends.

    start    record ──▶ config.json ──▶ runtime: a monitor, which holds stdio and log, and init, which waits
             "running" is written ──▶ who attached before is connected ──▶ the program is executed ──▶ event start
    end      the monitor's pidfd ends ──▶ exit.json ──▶ "exited" is written ──▶ what is left is undone ──▶ event die ──▶ waiters
             ──▶ restart policy, or --rm

The second line runs in a worker of the supervisor's; who stops a container (``stopping``) sends a signal and waits for it. Whatever is
killed in the middle of either line, ``recovery`` puts right.

Source: moby's ``daemon/start.go``, ``daemon/monitor.go``. Shown in notebook 06.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from labkit.engine import birth, logs, restarting, times
from labkit.engine.container_file import Process, State
from labkit.errors import Conflict, LabError, NotFound
from labkit.linux import processes
from labkit.runtime import container as runtime

if TYPE_CHECKING:
    from labkit.engine.container import Container

_log = logging.getLogger(__name__)

_KILLED = 137


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
    except Exception as error:  # whatever it is: the record must not say that it runs
        failed = birth.told(error)
        _could_not_start(container, str(failed), birth.exit_code(error))
        raise failed from error
    container.tell("start")
    begin(container)


def again(container: Container) -> None:
    """Its restart policy's moment has come; it may be that somebody has decided otherwise."""
    with container.lock:
        if container.state.Status == "restarting" and not container.is_removed and not container.engine.is_closing:
            run(container)


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
    if text := logs.trouble(container):
        _log.warning("container %s: %s", container.short_id, text)
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
    if out_of_memory:
        container.tell("oom")
    container.tell("die", exitCode=str(code))
    for follower in container.engine.followers:
        follower.ended(container)
    container.engine.networks.leave(container)
    is_kept = container.keeps_when_stopped
    container.exited.set()  # not before its ports are free: who has stopped it may want them for another
    container.notify("not-running", "next-exit")
    if delay is not None:
        restarting.schedule(container, delay, again)
    elif container.record.HostConfig.AutoRemove and not is_kept:
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
