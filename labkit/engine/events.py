"""What happens in the engine, told to whoever listens: ``docker events``.

    container create, attach ─▶ network connect ─▶ start ─▶ die ─▶ network disconnect ─▶ destroy        (docker run --rm)

    publish ──▶ the last 256 are kept ──▶ since … until      ┐
            └─▶ every subscription's queue ──────────────────┴▶ iterator

    >>> with engine.events.subscribe(filters={"type": ("container",)}) as subscription:
    ...     engine.containers.get("web").start()
    ...     next(subscription).Action
    'start'

An iterator waits for the next event; ``close()`` from another thread ends it. Nobody who publishes waits for a listener: one who has
not taken the last 4096 misses the oldest of them. Source: Docker Engine API v1.47, SystemEvents. Shown in notebook 06.
"""

from __future__ import annotations

import fnmatch
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Self

from labkit.engine import times
from labkit.errors import InvalidInput
from labkit.records import record

KEPT = 256
"""How many events can be asked for after the fact, as in Docker."""

_WAITING = 4096
_FILTERS = frozenset({"config", "container", "daemon", "event", "image", "label", "network", "node", "plugin", "scope", "secret", "service",
                      "type", "volume"})  # fmt: skip


@record
class Event:
    """Something that happened: to an object of this ``Type`` and ``ID``; ``time`` in nanoseconds since 1970."""

    Type: str
    Action: str
    ID: str
    Attributes: Mapping[str, str] = field(default_factory=dict)
    time: int = 0
    scope: str = "local"


class Events:
    """The engine's memory of what happened, and who listens."""

    def __init__(self) -> None:
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._subscriptions: list[Subscription] = []
        self._lock = threading.Lock()

    def publish(self, type: str, action: str, id: str, attributes: Mapping[str, str] | None = None) -> Event:
        """Tell everybody, in the order in which it is called."""
        with self._lock:
            event = Event(type, action, id, dict(attributes or {}), times.now())
            self._kept.append(event)
            listeners = list(self._subscriptions)
            for listener in listeners:
                listener._take(event)
        return event

    def subscribe(
        self,
        since: int | None = None,
        until: int | None = None,
        filters: Mapping[str, Sequence[str]] | None = None,
        ready: Callable[[], None] | None = None,
    ) -> Subscription:
        """Events from now on, and those kept ``since`` a moment, ``until`` another (nanoseconds since 1970).

        ``filters`` by type, event, container, image, network, volume, label, scope, daemon: within one any of the values, and all of
        them together. ``ready`` is called, from another thread, whenever there is something to take.
        """
        unknown = sorted(set(filters or ()) - _FILTERS)
        if unknown:
            raise InvalidInput(f"Invalid filter '{unknown[0]}'")
        with self._lock:
            # What is to come is only asked for without an end, or with one that lies ahead.
            subscription = Subscription(self, until, dict(filters or {}), ready)
            if since is not None or until is not None:
                for event in self._kept:
                    if event.time >= (since or 0):
                        subscription._take(event)
            self._subscriptions.append(subscription)
        return subscription

    @property
    def listeners(self) -> int:
        """How many listen."""
        with self._lock:
            return len(self._subscriptions)

    def close(self) -> None:
        """End every subscription."""
        with self._lock:
            listeners = list(self._subscriptions)
        for listener in listeners:
            listener.close()


class Subscription:
    """An iterator of events; a ``with`` block closes it at its end."""

    def __init__(self, events: Events, until: int | None, filters: dict[str, Sequence[str]], ready: Callable[[], None] | None) -> None:
        self._events, self._until, self._filters, self._ready = events, until, filters, ready
        self._queue: deque[Event] = deque(maxlen=_WAITING)
        self._changed = threading.Condition()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        event = self.take()
        if event is None:
            raise StopIteration
        return event

    @property
    def ended(self) -> bool:
        """Whether nothing comes any more but what waits to be taken."""
        return self._closed or (self._until is not None and times.now() >= self._until)

    def take(self, timeout: float | None = None) -> Event | None:
        """The next event; None at the end, or after so many seconds without one."""
        with self._changed:
            while not self._queue:
                if self.ended:
                    return None
                left = None if self._until is None else (self._until - times.now()) / times.SECOND
                patience = min((limit for limit in (timeout, left) if limit is not None), default=None)
                if not self._changed.wait(patience) and patience == timeout:
                    return None
            return self._queue.popleft()

    def close(self) -> None:
        """Stop listening; whoever waits in ``next`` is let go."""
        with self._events._lock:
            if self in self._events._subscriptions:
                self._events._subscriptions.remove(self)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._ready:
            self._ready()

    def _take(self, event: Event) -> None:
        if (self._until is not None and event.time > self._until) or not matches(event, self._filters):
            return
        with self._changed:
            self._queue.append(event)
            self._changed.notify()
        if self._ready:
            self._ready()


def matches(event: Event, filters: Mapping[str, Sequence[str]]) -> bool:
    """Whether an event passes: each filter holds for one of its values."""
    return all(not values or any(_holds(event, name, value) for value in values) for name, values in filters.items())


def _holds(event: Event, name: str, value: str) -> bool:
    match name:
        case "type":
            return event.Type == value
        case "event":
            return value in (event.Action, event.Action.partition(":")[0])
        case "scope":
            return event.scope == value
        case "label":
            key, equals, wanted = value.partition("=")
            found = event.Attributes.get(key)
            return found is not None and (not equals or found == wanted)
        case "image":
            names = (event.ID, event.Attributes.get("name", "")) if event.Type == "image" else (event.Attributes.get("image", ""),)
            return any(fnmatch.fnmatchcase(each, value) or each.partition(":")[0] == value for each in names if each)
        case "daemon" | "container" | "network" | "volume" if event.Type == name:
            return event.Attributes.get("name") == value or (bool(value) and event.ID.startswith(value))
        case "container":  # a network's or a volume's event that concerns it
            return bool(value) and event.Attributes.get("container", "").startswith(value)
    return False
