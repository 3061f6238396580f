"""What the engine finds when it comes up, and what it makes of it: nothing that a client was told of is lost or there twice.

    on the disk                       in the kernel                       then
    no container.json, or .removing                                       was interrupted: taken away
    created, exited                   a runtime state                     its start was interrupted: undone
    running                           init waits still                    likewise: it is as it was before
    running, paused                   its monitor lives                   it is taken up: watched, as if nothing had been
    running, paused                   its monitor has ended               it has ended meanwhile: exit.json says how; policy
    restarting                                                            it is started now
    exited, policy always                                                 it is started now; and so on, see ``restarting``
    exited, --rm                                                          it is removed now

A machine that was rebooted looks like all monitors having ended, with no exit.json.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from labkit.engine import container_file, lifecycle, removal, restarting, times
from labkit.engine.container_file import Process
from labkit.errors import LabError
from labkit.linux import processes
from labkit.runtime import container as runtime
from labkit.runtime import state as runtime_state

if TYPE_CHECKING:
    from labkit.engine.container import Container
    from labkit.engine.engine import Engine

_log = logging.getLogger(__name__)


def load(engine: Engine) -> list[container_file.Record]:
    """The containers that there are; what was interrupted while it was made or removed is taken away."""
    found = []
    for name in sorted(os.listdir(engine.containers.directory)):
        place = f"{engine.containers.directory}/{name}"
        if name.endswith(".removing") or not os.path.exists(f"{place}/{container_file.FILE}"):
            removal.finish(engine, name)
            continue
        try:
            found.append(container_file.load(place))
        except LabError as error:
            _log.error("%s: left alone: %s", place, error)
    return found


def take_up(engine: Engine) -> None:
    """Bring each container's record and its processes together again."""
    runtime_state.finish_forgetting(engine.runtime_root)
    containers = engine.containers.list(all=True)
    engine.networks.endpoints.expect(containers)
    known = {container.id for container in containers}
    for id in runtime_state.ids(engine.runtime_root):
        if id not in known:
            _undo(engine, id)
    for container in containers:
        with container.lock:
            try:
                _take_up(container)
            except LabError:
                _log.exception("container %s: could not be taken up", container.short_id)
    engine.supervisor.later(0, engine.networks.endpoints.settle)


def _take_up(container: Container) -> None:
    state, engine = container.state, container.engine
    if not state.alive:
        if os.path.isdir(container.run_directory):
            _undo(engine, container.id)
        if container.record.Endpoints:
            engine.networks.leave(container)
    elif any(os.path.exists(f"{container.run_directory}/{name}.sock") for name in ("start", "starting")):
        # Nobody was told that it runs, and its program has not begun.
        _undo(engine, container.id)
        first = state.FinishedAt == times.NEVER
        container.become(Status="created" if first else "exited", Init=Process(), Monitor=Process(), StartedAt=times.NEVER)
        engine.networks.leave(container)
        container.exited.set()
    elif processes.alive(state.Monitor.Pid, state.Monitor.StartTime):
        container.exited.clear()
        engine.networks.rejoin(container)
        lifecycle.begin(container)
    else:
        lifecycle.ended(container, state.Monitor)
        return  # which has asked the policy already
    if container.state.alive:
        return
    if _starts_again(container):
        container.become(Status="restarting")
        restarting.schedule(container, 0, lifecycle.again)
    elif container.record.HostConfig.AutoRemove and container.record.HasBeenStarted:
        container.remove(force=True, volumes=True)


def _starts_again(container: Container) -> bool:
    record = container.record
    if record.State.Status == "restarting":
        return True
    if not record.HasBeenStarted or (record.HasBeenManuallyStopped and record.HostConfig.RestartPolicy.Name != "always"):
        return False
    return restarting.wants(container, record.State.ExitCode)


def _undo(engine: Engine, id: str) -> None:
    try:
        runtime.delete(engine.runtime_root, id, force=True)
    except LabError:
        _log.exception("runtime state of container %s", id[:12])
