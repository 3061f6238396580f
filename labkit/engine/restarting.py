"""Restart policies: whether a container that has ended is started again, and when.

    no               never
    on-failure[:N]   if its exit code is not 0, at most N times in a row
    always           ever
    unless-stopped   likewise, but not when the engine comes up and a user had stopped it

The first time after 100 ms, then twice as long each time, at most a minute; one that ran for ten seconds begins anew at 100 ms. Whoever
stops or kills a container says that it shall stay ended. Source: moby's ``restartmanager``; ``docker run --restart``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from labkit.engine import times

if TYPE_CHECKING:
    from labkit.engine.container import Container

FIRST, LONGEST = 0.1, 60.0
STABLE = 10.0
"""Seconds. One that ran as long is taken to be well."""


def wants(container: Container, code: int) -> bool:
    """Whether the policy wants a container that has ended with this code to be started again."""
    policy = container.record.HostConfig.RestartPolicy
    match policy.Name:
        case "always" | "unless-stopped":
            return True
        case "on-failure":
            return code != 0 and (not policy.MaximumRetryCount or container.record.RestartCount < policy.MaximumRetryCount)
    return False


def delay(container: Container, code: int, moment: int) -> float | None:
    """Seconds until it is to be started again; None if it is not."""
    if not wants(container, code):
        return None
    ran = (moment - times.parse(container.state.StartedAt)) / times.SECOND
    container.backoff = FIRST if ran >= STABLE or not container.backoff else min(2 * container.backoff, LONGEST)
    return container.backoff


def schedule(container: Container, seconds: float, again: Callable[[Container], None]) -> None:
    """Call ``again`` with it after so long."""
    container.restart_timer = container.engine.supervisor.later(seconds, lambda: again(container))


def cancel(container: Container) -> None:
    """Somebody has decided otherwise."""
    timer, container.restart_timer = container.restart_timer, None
    container.backoff = 0.0
    if timer:
        timer.cancel()
