"""Who is started again when it has ended, and when not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labkit.engine import restarting
from labkit.engine.config import RestartPolicy, Update
from labkit.engine.container import Container
from labkit.engine.engine import Engine
from labkit.errors import InvalidInput
from tests.containers import SECONDS, Make, said

FAILS = ("sh", "-c", "echo began; exit 9")


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarting, "FIRST", 0.01)
    monkeypatch.setattr(restarting, "LONGEST", 0.05)


def deaths(engine: Engine, container: Container, count: int) -> None:
    """Wait until it has ended so many times."""
    with engine.events.subscribe(since=0, filters={"container": (container.id,), "event": ("die",)}) as events:
        for _ in range(count):
            assert events.take(SECONDS), f"it did not end {count} times"


def test_on_failure_tries_so_many_times_and_then_leaves_it(engine: Engine, make: Make) -> None:
    box = make(*FAILS, RestartPolicy=RestartPolicy("on-failure", 2))
    box.start()
    deaths(engine, box, 3)
    with box.lock:
        assert (box.state.Status, box.state.ExitCode, box.record.RestartCount) == ("exited", 9, 2)
    assert said(box) == "began\n" * 3
    assert json.loads(Path(box.directory, "container.json").read_text())["RestartCount"] == 2


def test_on_failure_leaves_alone_what_ended_well(engine: Engine, make: Make) -> None:
    box = make("true", RestartPolicy=RestartPolicy("on-failure"))
    ended = box.wait("next-exit")
    box.start()
    assert ended.result(SECONDS).StatusCode == 0
    with box.lock:
        assert box.state.Status == "exited"


@pytest.mark.parametrize("policy", ["always", "unless-stopped"])
def test_what_always_runs_is_started_again_however_it_ended_until_somebody_stops_it(engine: Engine, make: Make, policy: str) -> None:
    box = make("true", RestartPolicy=RestartPolicy(policy))
    box.start()
    deaths(engine, box, 4)
    box.stop(0)
    ended = [event for event in engine.events._kept if event.Action == "die"]
    assert box.exited.is_set() and not box.state.running and box.record.HasBeenManuallyStopped
    assert not any(event.Action == "start" and event.time > ended[-1].time for event in engine.events._kept)


def test_who_is_killed_stays_dead_and_a_new_start_begins_to_count_anew(engine: Engine, make: Make) -> None:
    box = make("sleep", "1000", RestartPolicy=RestartPolicy("always"))
    box.start()
    box.kill()
    assert (box.state.Status, box.record.RestartCount) == ("exited", 0)
    box.start()
    assert box.state.alive and not box.record.HasBeenManuallyStopped


def test_between_two_runs_it_is_restarting_and_can_be_removed_by_force(engine: Engine, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarting, "FIRST", 100.0)
    box = make(*FAILS, RestartPolicy=RestartPolicy("always"))
    ended = box.wait("next-exit")
    box.start()
    assert ended.result(SECONDS).StatusCode == 9
    with box.lock:
        assert box.state.Status == "restarting" and box.status_text == "Restarting (9) Less than a second ago"
    assert not box.start()
    assert engine.containers.list() == [box]
    box.remove(force=True)
    assert engine.containers.list(all=True) == []


def test_a_policy_that_changes_takes_effect_at_once(engine: Engine, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarting, "FIRST", 100.0)
    box = make(*FAILS, RestartPolicy=RestartPolicy("always"))
    ended = box.wait("next-exit")
    box.start()
    ended.result(SECONDS)
    box.update(Update(RestartPolicy=RestartPolicy("no")))
    assert box.state.Status == "exited"


def test_it_waits_twice_as_long_each_time_until_it_has_run_for_a_while(make: Make) -> None:
    box = make("true", RestartPolicy=RestartPolicy("always"))
    moment, second = 1_000_000_000_000_000_000, 10**9
    delays = [restarting.delay(box, 1, moment) for _ in range(5)]
    assert delays == [0.01, 0.01, 0.01, 0.01, 0.01]  # it was never started: that is long ago
    box.become(StartedAt="2001-09-09T01:46:40.000000000Z")
    assert [restarting.delay(box, 1, moment + second) for _ in range(4)] == [0.02, 0.04, 0.05, 0.05]
    assert restarting.delay(box, 1, moment + 11 * second) == 0.01


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (RestartPolicy("sometimes"), "invalid restart policy 'sometimes'"),
        (RestartPolicy("always", 3), "maximum retry count cannot be used with restart policy 'always'"),
        (RestartPolicy("on-failure", -1), "maximum retry count cannot be negative"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(make: Make, policy: RestartPolicy, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        make("true", RestartPolicy=policy)
    with pytest.raises(InvalidInput, match="can't create 'AutoRemove' container with restart policy"):
        make("true", RestartPolicy=RestartPolicy("always"), AutoRemove=True)
