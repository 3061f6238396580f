"""How a container goes: first out of sight, in one rename, then piece by piece.

    containers/ID ──rename──▶ containers/.ID.removing ──▶ snapshot, volumes, files ──▶ gone
                    ▲
                    └ from here on there is no such container; what is interrupted later, ``recovery`` finishes

Source: moby's ``daemon/delete.go``.
"""

from __future__ import annotations

import logging
import os
import shutil
from typing import TYPE_CHECKING

from labkit.engine import lifecycle, stopping
from labkit.errors import Conflict, LabError

if TYPE_CHECKING:
    from labkit.engine.container import Container
    from labkit.engine.engine import Engine

_log = logging.getLogger(__name__)


def remove(container: Container, force: bool = False, volumes: bool = False) -> None:
    """Remove it, with ``force`` even if it runs; ``volumes``: its anonymous ones with it."""
    while True:
        with container.lock:
            if container.is_removed:
                return  # by somebody who was faster; or it has removed itself when it ended
            if not force:
                _refuse_if_running(container)
            if not container.state.alive:
                stopping.mark_stopped(container)
                _remove(container, volumes)
                return
            stopping.mark_stopped(container)
        stopping.end(container)


def _refuse_if_running(container: Container) -> None:
    state = container.state
    if state.paused:
        what = "a paused container {}. Unpause and then stop the container before attempting removal or force remove"
    elif state.Status == "restarting":
        what = "a restarting container {}. Stop the container before attempting removal or force remove"
    elif state.running:
        what = "a running container {}. Stop the container before attempting removal or force remove"
    else:
        return
    raise Conflict(f"You cannot remove {what.format(container.id)}")


def _remove(container: Container, volumes: bool) -> None:
    containers = container.engine.containers
    going = f"{containers.directory}/.{container.id}.removing"
    try:
        os.rename(container.directory, going)
    except FileNotFoundError:
        _log.warning("container %s: its directory was removed by hand", container.short_id)
    container.is_removed = True
    if os.path.isdir(container.run_directory):
        lifecycle.clear(container)  # it could not be written that it had ended, so that what its run has left is still there
    lifecycle.give_up(container)
    containers.forget(container)
    _take_away(container.engine, going, container.record.Snapshot)
    if volumes:
        for point in container.record.Mounts:
            if point.Anonymous:
                container.engine.volumes.discard(point.Name)
    container.tell("destroy")
    container.notify("not-running", "next-exit", "removed")


def _take_away(engine: Engine, going: str, snapshot: str) -> None:
    try:
        engine.store.snapshots.remove(snapshot)
        shutil.rmtree(going, ignore_errors=True)
    except LabError:
        _log.exception("snapshot %s of a removed container; it is tried again when the engine comes up", snapshot)


def finish(engine: Engine, name: str) -> None:
    """Finish a removal, or take back a creation, that was interrupted; ``name`` is the directory's."""
    place = f"{engine.containers.directory}/{name}"
    id = name.removeprefix(".").removesuffix(".removing")
    _take_away(engine, place, id[:12])
