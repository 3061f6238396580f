"""A container's state in the words of ``docker ps``.

    Created · Up 8 seconds · Up 19 seconds (Paused) · Up 5 seconds (healthy) · Exited (9) 3 seconds ago · Restarting (1) 2 seconds ago

Source: moby's ``container/state.go``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.engine import times

if TYPE_CHECKING:
    from labkit.engine.container import Container


def status_text(container: Container) -> str:
    """The column STATUS."""
    state = container.state
    if state.Status == "restarting":
        return f"Restarting ({state.ExitCode}) {_since(state.FinishedAt)} ago"
    if state.alive:
        notes = "Paused" if state.paused else _health(container)
        return f"Up {_since(state.StartedAt)}" + (f" ({notes})" if notes else "")
    if container.is_removed:
        return "Removal In Progress"
    if state.FinishedAt == times.NEVER:
        return "Created"
    return f"Exited ({state.ExitCode}) {_since(state.FinishedAt)} ago"


def _since(moment: str) -> str:
    return times.human((times.now() - times.parse(moment)) / times.SECOND)


def _health(container: Container) -> str:
    """ "healthy", "unhealthy" or "health: starting"; nothing where nobody looks."""
    found = getattr(container.health, "Status", "none")
    return {"none": "", "": "", "starting": "health: starting"}.get(found, found)
