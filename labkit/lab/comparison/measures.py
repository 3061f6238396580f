"""What is measured of a side, and how: every time on the host's clock, from outside, the same commands on both.

    start      echo; from the request to the first byte              ── a side that ends at once
    serve      from the request to the first page                    ┐
    memory     at rest, with 32 MiB in use, after these are freed    │
    requests   a page after another, each on a connection of its own ├─ one side, in this order
    work       hash, system calls, a file read                       ┘

A command of the work is started through ``docker exec`` or the machine's line, which costs a few milliseconds: that is measured with
nothing to do, and taken off. Notebook 08.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from labkit.errors import LabError
from labkit.lab.comparison import sides
from labkit.records import record

if TYPE_CHECKING:
    from labkit.lab.comparison.bench import Bench
    from labkit.lab.comparison.sides import Side

MIB = 1 << 20
Opener = Callable[..., "Side"]

_PATIENCE = 60.0
_REQUESTS = 20
_LOAD, _READ = 32 * MIB, 8 * MIB
_LONG_ENOUGH = 0.2
_FILE = "/labkit-comparison"


@record
class Measure:
    """The name of a value and its unit; the value itself is found by ``started`` and ``served``."""

    key: str
    title: str
    unit: str
    more_is_better: bool = False
    note: str = ""


MEASURES = (
    Measure("start", "first output", "s"),
    Measure("serve", "first web page", "s"),
    Measure("memory", "memory at rest", "bytes", note="the container's monitor and what its control group is charged; all of QEMU"),
    Measure("memory-loaded", "with 32 MiB in use", "bytes"),
    Measure("memory-freed", "after these are freed", "bytes", note="what a guest has once had of its host's memory, it keeps"),
    Measure(
        "request",
        "one page, one connection",
        "s",
        note="over a bridge, with the firewall's translation; through QEMU's own network, a program",
    ),
    Measure("hash", "SHA-256", "bytes/s", more_is_better=True),
    Measure("system-call", "one read or write", "s"),
    Measure("read", "reading a file from the cache", "bytes/s", more_is_better=True),
)


def started(place: Bench, opener: Opener) -> Iterator[tuple[str, float]]:
    """Start a side that says one word."""
    with opener(place, ("echo", "hello"), speaks=True) as side:
        yield "start", side.first_output


def served(place: Bench, opener: Opener) -> Iterator[tuple[str, float]]:
    """Start a side that serves, and measure all the rest on it."""
    began = time.monotonic()
    with opener(place, place.server, serves=True) as side:
        sides.get(side, place.port, _PATIENCE)
        yield "serve", time.monotonic() - began
        yield "memory", side.memory().total
        yield from _loaded(side)
        yield "request", _median(lambda: _fetched(side, place.port), _REQUESTS)
        yield from _worked(side)


def at_rest(place: Bench, opener: Opener, count: int) -> list[float]:
    """Bytes that one, two, … ``count`` sides take together, which serve and do nothing."""
    totals: list[float] = []
    running: list[Side] = []
    try:
        for _ in range(count):
            running.append(opener(place, place.server, serves=True))
            sides.get(running[-1], place.port, _PATIENCE)
            totals.append(sum(side.memory().total for side in running))
    finally:
        for side in running:
            side.close()
    return totals


def _loaded(side: Side) -> Iterator[tuple[str, float]]:
    """Fill memory from inside, with a file that is nowhere else, and free it."""
    _done(side, "dd", "if=/dev/zero", "of=/dev/shm/load", f"bs={MIB}", f"count={_LOAD // MIB}")
    yield "memory-loaded", side.memory().total
    _done(side, "rm", "/dev/shm/load")
    yield "memory-freed", side.memory().total


def _worked(side: Side) -> Iterator[tuple[str, float]]:
    yield "hash", MIB * _rate(side, f"dd if=/dev/zero bs={MIB} count={{}} 2>/dev/null | sha256sum", 8)
    yield "system-call", 1 / (2 * _rate(side, "dd if=/dev/zero of=/dev/null bs=1 count={} 2>/dev/null", 20_000))
    _done(side, "dd", "if=/dev/zero", f"of={_FILE}", f"bs={MIB}", f"count={_READ // MIB}")
    yield "read", _READ * _rate(side, f"for turn in $(seq {{}}); do dd if={_FILE} of=/dev/null bs=65536 2>/dev/null; done", 2)
    _done(side, "rm", _FILE)


def _rate(side: Side, command: str, amount: int) -> float:
    """How much of a command's work is done in a second: of so much that it takes long enough for the start not to matter."""

    def spent(amount: int) -> float:
        return _timed(lambda: _done(side, "sh", "-c", command.format(amount)))

    nothing = min(spent(0) for _ in range(3))
    while (whole := spent(amount)) < _LONG_ENOUGH:
        amount *= 4
    return amount / max(whole - nothing, 1e-6)


def _done(side: Side, *arguments: str) -> None:
    done = side.run(*arguments)
    if done.code != 0:
        raise LabError(f"{' '.join(arguments)} in the {type(side).__name__}: exit code {done.code}: {done.output.strip()[-200:]}")


def _fetched(side: Side, port: int) -> None:
    sides.get(side, port, 5)


def _timed(action: Callable[[], None]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


def _median(action: Callable[[], None], count: int) -> float:
    return statistics.median(_timed(action) for _ in range(count))
