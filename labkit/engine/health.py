"""Whether a container does what it is for: HEALTHCHECK, a command that is run in it every now and then.

    start ──▶ starting ──(a check succeeds)──▶ healthy ◀──┐
                 │                                │       │ the next one that succeeds
                 └── retries checks failed ──▶ unhealthy ─┘           in the start period failures do not count

    >>> engine.containers.get("web").health
    Health(Status='healthy', FailingStreak=0, Log=(Result(…), …))

A container with checks has a thread, which waits for the next one, as long as it runs; while it is paused nothing is checked. Each
change of the status is an event, ``health_status: healthy``. Source: moby's ``daemon/health.go``. Shown in notebook 06.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from labkit.engine import times
from labkit.engine.execs import ExecConfig
from labkit.errors import LabError
from labkit.image.container_config import Healthcheck
from labkit.records import record

if TYPE_CHECKING:
    from labkit.engine.container import Container
    from labkit.engine.streams import Attachment

_log = logging.getLogger(__name__)

INTERVAL = TIMEOUT = 30 * times.SECOND
START_INTERVAL = 5 * times.SECOND
RETRIES = 3
_KEPT = 5
_LONGEST = 4096  # bytes of a check's output
_SHELL = ("/bin/sh", "-c")


@record
class Result:
    """One check: when, its exit code (-1: it took too long, or could not be run), and the beginning of what it said."""

    Start: str
    End: str
    ExitCode: int
    Output: str


@record
class Health:
    """``State.Health`` of inspect: ``starting``, ``healthy`` or ``unhealthy``, how many checks in a row failed, and the last five."""

    Status: str = "starting"
    FailingStreak: int = 0
    Log: tuple[Result, ...] = ()


class Checks:
    """Goes along with containers: a ``Follower``."""

    def __init__(self) -> None:
        self._running: dict[str, _Checker] = {}

    def started(self, container: Container) -> None:
        """Begin to check it, if it has checks."""
        check = container.record.Config.Healthcheck
        before, container.health = container.health, None
        if check is not None and command(check, container.record.Config.Shell):
            container.health = Health(Log=before.Log if isinstance(before, Health) else ())
            self._running[container.id] = _Checker(container, check)

    def ended(self, container: Container) -> None:
        """Stop checking."""
        if checker := self._running.pop(container.id, None):
            checker.stop()

    def close(self) -> None:
        """Stop checking all of them."""
        for checker in list(self._running.values()):
            checker.stop()
        self._running.clear()


def command(check: Healthcheck, shell: tuple[str, ...] = ()) -> tuple[str, ...]:
    """What a check executes; nothing if there is none."""
    kind, *words = check.Test or ("NONE",)
    if kind == "CMD-SHELL":
        return (*(shell or _SHELL), *words)
    return tuple(words) if kind == "CMD" else ()


def judged(health: Health, result: Result, retries: int, in_start_period: bool) -> Health:
    """The health after one more check."""
    log = (*health.Log, result)[-_KEPT:]
    if result.ExitCode == 0:
        return Health("healthy", 0, log)
    if health.Status == "starting" and in_start_period:
        return replace(health, Log=log)
    streak = health.FailingStreak + 1
    return Health("unhealthy" if streak >= retries else health.Status, streak, log)


class _Checker(threading.Thread):
    """Checks one container until it is told to stop."""

    def __init__(self, container: Container, check: Healthcheck) -> None:
        super().__init__(name=f"labkit-health-{container.short_id}", daemon=True)
        self._container, self._check = container, check
        self._stopped = threading.Event()
        self._began = times.parse(container.state.StartedAt)
        self.start()

    def stop(self) -> None:
        """Let it end; the last word on a container that does not run is that it is not healthy, as in Docker."""
        self._stopped.set()
        self._container.health = replace(self._health, Status="unhealthy")

    def run(self) -> None:
        """Wait and check, in turn."""
        while not self._stopped.wait(self._pause() / times.SECOND):
            if self._container.state.paused:
                continue
            try:
                self._take_note(self._probe())
            except Exception:
                _log.exception("health check of container %s", self._container.short_id)

    @property
    def _health(self) -> Health:
        health = self._container.health
        return health if isinstance(health, Health) else Health()

    @property
    def _is_in_start_period(self) -> bool:
        return times.now() - self._began < self._check.StartPeriod

    def _pause(self) -> int:
        """Nanoseconds until the next check. In the start period, until one has succeeded, they come more often."""
        if self._health.Status == "starting" and self._is_in_start_period:
            return self._check.StartInterval or START_INTERVAL
        return self._check.Interval or INTERVAL

    def _probe(self) -> Result:
        """Run the command once."""
        config = self._container.record.Config
        wanted = ExecConfig(AttachStdout=True, AttachStderr=True, Cmd=command(self._check, config.Shell))
        execs = self._container.engine.execs
        limit = (self._check.Timeout or TIMEOUT) / times.SECOND
        begin = times.text(times.now())
        try:
            id = execs.create(self._container, wanted)
            with execs.start(id) as line:
                output = _Output(line)
                code = execs.wait(id, limit)
                if code is None:
                    execs.kill(id)
                    return Result(begin, times.text(times.now()), -1, f"Health check exceeded timeout ({limit:g}s)")
                output.join()
        except LabError as error:
            return Result(begin, times.text(times.now()), -1, str(error))
        return Result(begin, times.text(times.now()), code, output.text)

    def _take_note(self, result: Result) -> None:
        with self._container.lock:
            if self._stopped.is_set():
                return  # it has ended, and that is why the check failed
            before = self._health
            began_early = times.parse(result.Start) - self._began < self._check.StartPeriod
            self._container.health = judged(before, result, self._check.Retries or RETRIES, began_early)
            if self._health.Status != before.Status:
                self._container.tell(f"health_status: {self._health.Status}")


class _Output(threading.Thread):
    """Reads what a check says, so that it need not wait; keeps the beginning."""

    def __init__(self, line: Attachment) -> None:
        super().__init__(name="labkit-health-output", daemon=True)
        self._line, self._data = line, b""
        self.start()

    def run(self) -> None:
        while packet := self._line.receive():
            if len(self._data) <= _LONGEST:
                self._data += packet[1]

    @property
    def text(self) -> str:
        """What it said; cut where it is too long."""
        cut = self._data[:_LONGEST].decode(errors="replace")
        return f"{cut}..." if len(self._data) > _LONGEST else cut
