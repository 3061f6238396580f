"""How a container is brought to its end: asked, then killed; and started anew.

    stop ──signal──▶ init            ends by itself, or
      │ timeout ─────KILL──▶ init    is killed; that it has ended is noticed and written down by ``lifecycle``, in another thread
      ▼
    waits for that, without the container's lock

Whoever stops or kills a container decides that it shall stay ended: its restart policy keeps quiet. A signal to a container that is
paused thaws it. Source: moby's ``daemon/stop.go``, ``daemon/kill.go``. Shown in notebook 06.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.engine import lifecycle, restarting
from labkit.errors import Conflict, InvalidInput, LabError, NotFound
from labkit.linux import processes

if TYPE_CHECKING:
    from labkit.engine.container import Container

STOP_TIMEOUT = 10
"""Seconds that a container has to end by itself."""
_PATIENCE = 10.0


def stop(container: Container, timeout: float | None = None, signal: str | None = None) -> bool:
    """Ask it to end, then kill it; False if it does not run."""
    number = _signal(signal or container.stop_signal)
    with container.lock:
        if not container.state.running:
            return False
        mark_stopped(container)
        if not container.state.alive:  # it was about to be restarted
            container.turn("exited")
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
        container.turn("running")


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
            container.turn("exited")
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
    lifecycle.start(container)
    container.tell("restart")
