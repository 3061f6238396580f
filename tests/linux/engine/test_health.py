"""Health checks, in containers that run."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.engine import times
from labkit.engine.config import Healthcheck
from labkit.engine.container import Container
from labkit.engine.engine import Engine
from labkit.engine.events import Subscription
from labkit.engine.health import Health
from tests.containers import SECONDS, Make, create_in

TENTH = times.SECOND // 10
EXISTS = ("CMD-SHELL", "echo looking; test -e /tmp/good")


def next_status(events: Subscription) -> str:
    event = events.take(SECONDS)
    assert event, "no event came"
    return event.Action


def health(container: Container) -> Health:
    assert isinstance(container.health, Health)
    return container.health


def give(container: Container, good: bool) -> None:
    """Make it healthy, or not."""
    path = Path(f"/proc/{container.state.Init.Pid}/root/tmp/good")
    path.touch() if good else path.unlink()


@pytest.fixture
def told(engine: Engine) -> Subscription:
    """Events of health alone."""
    return engine.events.subscribe(filters={"event": ("health_status",)})


def test_a_container_becomes_healthy_and_unhealthy_and_healthy_again(start: Make, told: Subscription) -> None:
    container = start(Healthcheck=Healthcheck(EXISTS, Interval=TENTH, Retries=2))
    assert health(container).Status == "starting" and "(health: starting)" in container.status_text
    assert next_status(told) == "health_status: unhealthy"
    assert "(unhealthy)" in container.status_text and health(container).FailingStreak == 2
    give(container, good=True)
    assert next_status(told) == "health_status: healthy"
    assert "(healthy)" in container.status_text
    assert [(result.ExitCode, result.Output) for result in health(container).Log][-1] == (0, "looking\n")
    give(container, good=False)
    assert next_status(told) == "health_status: unhealthy"


def test_a_check_that_takes_too_long_is_ended_and_has_failed(start: Make, told: Subscription) -> None:
    container = start(Healthcheck=Healthcheck(("CMD", "sleep", "500"), Interval=TENTH, Timeout=TENTH, Retries=1))
    assert next_status(told) == "health_status: unhealthy"
    result = health(container).Log[0]
    assert (result.ExitCode, result.Output) == (-1, "Health check exceeded timeout (0.1s)")


def test_a_check_that_cannot_be_run_has_failed(start: Make, told: Subscription) -> None:
    container = start(Healthcheck=Healthcheck(("CMD", "nosuchcmd"), Interval=TENTH, Retries=1))
    assert next_status(told) == "health_status: unhealthy"
    assert "executable file not found" in health(container).Log[0].Output


def test_of_a_check_that_says_much_the_beginning_is_kept(start: Make, told: Subscription) -> None:
    container = start(Healthcheck=Healthcheck(("CMD-SHELL", "head -c 1000000 /dev/zero | tr '\\0' x"), Interval=TENTH))
    assert next_status(told) == "health_status: healthy"
    assert health(container).Log[0].Output == "x" * 4096 + "..."


def test_in_the_start_period_it_is_looked_at_more_often_and_failures_do_not_count(start: Make, told: Subscription) -> None:
    hour = 3600 * times.SECOND
    check = Healthcheck(EXISTS, Interval=hour, StartPeriod=hour, StartInterval=TENTH, Retries=1)
    container = start(Healthcheck=check)
    with container.engine.events.subscribe(filters={"event": ("exec_die",)}) as checks:
        for _ in range(3):
            assert checks.take(SECONDS)
    assert health(container).Status == "starting" and health(container).FailingStreak == 0
    give(container, good=True)
    assert next_status(told) == "health_status: healthy"


def test_a_container_that_has_ended_is_not_healthy_and_begins_anew(start: Make, told: Subscription) -> None:
    container = start(Healthcheck=Healthcheck(("CMD", "true"), Interval=TENTH))
    assert next_status(told) == "health_status: healthy"
    container.stop(timeout=0)
    assert health(container).Status == "unhealthy"
    container.start()
    assert (health(container).Status, health(container).FailingStreak) == ("starting", 0)
    assert next_status(told) == "health_status: healthy"


@pytest.mark.parametrize("check", [None, Healthcheck(), Healthcheck(("NONE",), Interval=TENTH)])
def test_without_a_check_there_is_no_health(start: Make, check: Healthcheck | None) -> None:
    container = start(Healthcheck=check)
    assert container.health is None and "(" not in container.status_text


def test_an_engine_that_comes_up_again_goes_on_with_the_checks(engine_root: Path, engine_run: str) -> None:
    with Engine(str(engine_root), engine_run) as first:
        create_in(first, "sleep", "1000", name="goes-on", Healthcheck=Healthcheck(("CMD", "true"), Interval=TENTH)).start()
    with Engine(str(engine_root), engine_run) as second:
        container = second.containers.get("goes-on")
        with second.events.subscribe(filters={"event": ("health_status",)}) as told:
            assert health(container).Status == "healthy" or next_status(told) == "health_status: healthy"
        container.remove(force=True)
