"""What happens is told in order, to whom it concerns, now or later."""

from __future__ import annotations

import threading
import time

import pytest

from labkit.engine import events as module
from labkit.engine import times
from labkit.engine.events import Event, Events, matches
from labkit.errors import InvalidInput


@pytest.fixture
def events() -> Events:
    return Events()


def test_events_come_in_the_order_in_which_they_were_told(events: Events) -> None:
    with events.subscribe() as heard:
        for action in ("create", "start", "die"):
            events.publish("container", action, "c1", {"name": "box"})
        told = [next(heard) for _ in range(3)]
    assert [event.Action for event in told] == ["create", "start", "die"]
    assert told[0].ID == "c1" and told[0].Attributes == {"name": "box"} and told[0].scope == "local"
    assert told[0].time <= told[1].time <= told[2].time <= times.now()


def test_the_past_is_asked_for_and_has_an_end(events: Events) -> None:
    first = events.publish("container", "create", "c1")
    second = events.publish("container", "start", "c1")
    assert [event.Action for event in events.subscribe(until=times.now())] == ["create", "start"]
    assert list(events.subscribe(since=second.time, until=times.now())) == [second]
    assert list(events.subscribe(until=first.time)) == [first]
    assert list(events.subscribe(until=1)) == []


def test_the_past_goes_over_into_the_present_without_a_gap(events: Events) -> None:
    events.publish("container", "create", "c1")
    with events.subscribe(since=0) as heard:
        events.publish("container", "start", "c1")
        assert [next(heard).Action, next(heard).Action] == ["create", "start"]


def test_only_so_many_are_kept(events: Events) -> None:
    for number in range(module.KEPT + 5):
        events.publish("container", "create", str(number))
    kept = list(events.subscribe(until=times.now()))
    assert len(kept) == module.KEPT and kept[0].ID == "5"


def test_waiting_ends_with_the_time_that_was_given(events: Events) -> None:
    began = time.monotonic()
    assert list(events.subscribe(until=times.now() + times.SECOND // 20)) == []
    assert 0.04 < time.monotonic() - began < 5
    with events.subscribe() as heard:
        assert heard.take(0.01) is None and not heard.ended


def test_closing_ends_the_iterator_of_another_thread(events: Events) -> None:
    heard = events.subscribe()
    ended = threading.Thread(target=lambda: list(heard))
    ended.start()
    heard.close()
    ended.join(5)
    assert not ended.is_alive() and heard.ended
    events.publish("container", "create", "c1")
    assert heard.take(0) is None


def test_the_end_of_all_ends_every_subscription(events: Events) -> None:
    several = [events.subscribe() for _ in range(3)]
    events.close()
    assert [list(each) for each in several] == [[], [], []]


def test_who_does_not_wait_is_called(events: Events) -> None:
    calls: list[str] = []
    with events.subscribe(ready=lambda: calls.append("ready")) as heard:
        events.publish("container", "create", "c1")
        assert calls == ["ready"] and heard.take(0)
    assert calls == ["ready", "ready"]  # its end is something to look at, too


def test_a_listener_who_does_not_listen_holds_up_nobody_and_misses_the_oldest(events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WAITING", 10)
    with events.subscribe() as heard:
        for number in range(25):
            events.publish("container", "create", str(number))
        assert next(heard).ID == "15"


WEB = Event("container", "start", "4cfc314c4980", {"name": "web", "image": "nginx:1.25", "course": "os"})
PULL = Event("image", "pull", "nginx:latest", {"name": "nginx"})
JOIN = Event("network", "connect", "9d1c", {"name": "none", "container": "4cfc314c4980"})
EXEC = Event("container", "exec_create: sh -c true", "4cfc", {"name": "web"})


@pytest.mark.parametrize(
    ("filters", "passing"),
    [
        ({}, [WEB, PULL, JOIN, EXEC]),
        ({"type": ("container",)}, [WEB, EXEC]),
        ({"type": ("image", "network")}, [PULL, JOIN]),
        ({"event": ("start", "pull")}, [WEB, PULL]),
        ({"event": ("exec_create",)}, [EXEC]),
        ({"container": ("web",)}, [WEB, EXEC]),
        ({"container": ("4cfc314",)}, [WEB, JOIN]),
        ({"image": ("nginx",)}, [WEB, PULL]),
        ({"network": ("none",)}, [JOIN]),
        ({"label": ("course",)}, [WEB]),
        ({"label": ("course=os",), "event": ("start",)}, [WEB]),
        ({"label": ("course=db",)}, []),
        ({"volume": ("x",)}, []),
        ({"type": (), "scope": ("local",)}, [WEB, PULL, JOIN, EXEC]),
    ],
)
def test_events_are_filtered_as_docker_does_it(filters: dict[str, tuple[str, ...]], passing: list[Event]) -> None:
    assert [event for event in (WEB, PULL, JOIN, EXEC) if matches(event, filters)] == passing


def test_a_filter_that_there_is_not_is_refused(events: Events) -> None:
    with pytest.raises(InvalidInput, match="Invalid filter 'bogus'"):
        events.subscribe(filters={"bogus": ("x",)})
