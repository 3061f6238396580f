"""One container of the engine's: what it is, and what can be done with it.

    >>> web = engine.containers.get("web")
    >>> web.start()
    True
    >>> exited = web.wait()                       # a concurrent.futures.Future: ask it, or go on with something else
    >>> web.stop(timeout=3)
    True
    >>> exited.result()
    Exit(StatusCode=0, Error='')

``record`` is a frozen snapshot: read it as often as you like, without a lock. Each method that changes something does so under the
container's own lock, has it on the disk before it tells anybody, and leaves the rest of the engine alone. What they do is in
``lifecycle`` (start, end), ``stopping``, ``changes`` (pause, resize, update) and ``removal``. Errors are Docker's, in Docker's words.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Protocol

from labkit.engine import changes, container_file, lifecycle, oci, removal, status, stopping, times
from labkit.engine.container_file import Record, State
from labkit.errors import Conflict, InvalidInput, KernelError, LabError
from labkit.linux import cgroups
from labkit.records import record
from labkit.runtime import state

if TYPE_CHECKING:
    from labkit.engine.config import Update
    from labkit.engine.engine import Engine
    from labkit.engine.streams import Attachment
    from labkit.engine.supervision import Timer

_log = logging.getLogger(__name__)

Condition = Literal["not-running", "next-exit", "removed"]


@record
class Exit:
    """How a container ended; ``Error`` says why waiting for it was in vain."""

    StatusCode: int
    Error: str = ""


class Attacher(Protocol):
    """Somebody who waits for the container's output before it runs: told where its monitor is, or that there will be none."""

    def connect(self, directory: str) -> None:
        """The monitor listens at ``monitor.sock`` in ``directory``, and the program has not begun yet."""

    def give_up(self) -> None:
        """The container could not be started, or was removed."""


class Follower(Protocol):
    """A part of the engine that goes along with containers while they run, such as health checks. Called with the container's lock held."""

    def started(self, container: Container) -> None:
        """Its program runs; or it did when this engine came up."""

    def ended(self, container: Container) -> None:
        """It has ended."""


class Container:
    """A container. There is one object for each, and ``engine.containers`` has it; once removed, its ``record`` stays as it was."""

    def __init__(self, engine: Engine, record: Record) -> None:
        self.engine = engine
        self.record = record
        self.lock = threading.RLock()
        self.is_removed = False
        self.exited = threading.Event()
        """Set while there are no processes in it."""
        self.health: object | None = None
        """What the health checks have found, where the container has any: ``labkit.engine.health`` keeps it here."""
        self.restart_timer: Timer | None = None
        self.backoff = 0.0
        """Seconds that its restart policy waited the last time; 0 if it has not."""
        self.pending: list[Attacher] = []
        self.waiting: dict[Condition, list[Future[Exit]]] = {"not-running": [], "next-exit": [], "removed": []}
        self.keeps_when_stopped = False
        """It is being restarted by hand: its end is no reason to remove it."""
        if not record.State.alive:
            self.exited.set()

    def __repr__(self) -> str:
        return f"<container {self.short_id} {self.name}: {self.state.Status}>"

    # What it is

    @property
    def id(self) -> str:
        """64 hexadecimal digits."""
        return self.record.Id

    @property
    def short_id(self) -> str:
        """The first twelve of them, as ``docker ps`` shows it."""
        return self.record.Id[:12]

    @property
    def name(self) -> str:
        """Its name, without a slash."""
        return self.record.Name

    @property
    def state(self) -> State:
        """How it is."""
        return self.record.State

    @property
    def directory(self) -> str:
        """Its files: container.json, the bundle, the log."""
        return f"{self.engine.containers.directory}/{self.id}"

    @property
    def run_directory(self) -> str:
        """The runtime's state of it, while there is a process: state.json, monitor.sock."""
        return state.directory(self.engine.runtime_root, self.id)

    @property
    def log_path(self) -> str:
        """Its log; "" if it has none."""
        return "" if self.record.HostConfig.LogConfig.Type == "none" else f"{self.directory}/{self.id}-json.log"

    @property
    def cgroup(self) -> cgroups.Cgroup:
        """Its control group; that exists while there are processes in it."""
        return cgroups.Cgroup(oci.cgroup_path(self.record, self.engine.cgroup_parent).strip("/"))

    @property
    def stop_signal(self) -> str:
        """What ``stop`` sends first."""
        return self.record.Config.StopSignal or "SIGTERM"

    @property
    def status_text(self) -> str:
        """Its state in the words of ``docker ps``: "Up 8 seconds", "Exited (0) 2 minutes ago"."""
        return status.status_text(self)

    @property
    def attributes(self) -> Mapping[str, str]:
        """What every event of it tells: labels, image, name."""
        return {**self.record.Config.Labels, "image": self.record.Config.Image, "name": self.name}

    # What can be done with it

    def start(self) -> bool:
        """Execute its program; False if it runs already. Raises why it cannot be."""
        return lifecycle.start(self)

    def stop(self, timeout: float | None = None, signal: str | None = None) -> bool:
        """Ask it to end, after ``timeout`` seconds (None: its own ``StopTimeout``, else 10; negative: never) kill it; False if it has."""
        return stopping.stop(self, timeout, signal)

    def kill(self, signal: str = "KILL") -> None:
        """Send its first process a signal. With KILL it has ended when this returns."""
        stopping.kill(self, signal)

    def restart(self, timeout: float | None = None, signal: str | None = None) -> None:
        """Stop it, if it runs, and start it."""
        stopping.restart(self, timeout, signal)

    def pause(self) -> None:
        """Let all its processes stand still."""
        changes.pause(self)

    def unpause(self) -> None:
        """Let them go on."""
        changes.unpause(self)

    def resize(self, height: int, width: int) -> None:
        """Set the size of its terminal, in characters. ``Conflict`` if it does not run."""
        changes.resize(self, height, width)

    def rename(self, name: str) -> None:
        """Give it another name. ``Conflict`` if that is taken."""
        self.engine.containers.rename(self, name)

    def update(self, wanted: Update) -> tuple[str, ...]:
        """Change limits and restart policy, of a running one at once; warnings."""
        return changes.update(self, wanted)

    def remove(self, force: bool = False, volumes: bool = False) -> None:
        """Remove it, with ``force`` even if it runs; ``volumes``: its anonymous ones with it."""
        removal.remove(self, force=force, volumes=volumes)

    def wait(self, condition: str = "not-running") -> Future[Exit]:
        """How it ends: ``not-running`` now if it does not run, ``next-exit`` of its next or present run, ``removed`` when it is gone.

        Whoever loses interest cancels the future.
        """
        if condition not in self.waiting:
            raise InvalidInput(f'invalid condition: "{condition}"')
        future: Future[Exit] = Future()
        wanted: Condition = condition
        with self.lock:
            if self.is_removed or (condition == "not-running" and not self.state.running):
                future.set_result(Exit(self.state.ExitCode))
                return future
            self.waiting[wanted].append(future)
        future.add_done_callback(lambda _done: self._forget(wanted, future))
        return future

    def _forget(self, condition: Condition, future: Future[Exit]) -> None:
        """Nobody is interested in it any more."""
        with suppress(ValueError):
            self.waiting[condition].remove(future)

    def attend(self, attacher: Attacher) -> None:
        """Let ``attacher`` connect to the monitor: now if it runs, else at the next start, before the program is executed."""
        with self.lock:
            if self.is_removed:
                raise Conflict(f"container {self.id} is marked for removal and cannot be attached to")
            if not self.state.alive:
                self.pending.append(attacher)
                return
        attacher.connect(self.run_directory)

    def attach(
        self,
        *,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        logs: bool = False,
        stream: bool = True,
        detach_keys: str = "",
    ) -> Attachment:
        """A line to its program: now, or when it starts. ``logs``: what it has written before comes first; not ``stream``: only that."""
        from labkit.engine import streams

        return streams.attach(self, stdin=stdin, stdout=stdout, stderr=stderr, logs=logs, stream=stream, detach_keys=detach_keys)

    def let_go(self) -> None:
        """The engine closes: who waits for this container waits in vain."""
        with self.lock:
            futures = [future for waiting in self.waiting.values() for future in waiting]
            attachers, self.pending[:] = list(self.pending), []
        for future in futures:
            future.cancel()
        for attacher in attachers:
            attacher.give_up()

    # For the modules of the engine, which hold the lock

    def save(self, **changes: object) -> None:
        """Change the record, on the disk first."""
        changed = replace(self.record, **changes)  # type: ignore[arg-type]  # the names of its fields
        if not self.is_removed:
            try:
                container_file.save(self.directory, changed)
            except KernelError:
                if not os.path.isdir(self.directory):
                    raise Conflict(f"container {self.id}: {self.directory} is gone: somebody has removed it by hand") from None
                raise
        self.record = changed

    def note(self, **changes: object) -> bool:
        """Change the record for what has happened, whether we like it or not: if the disk is full, it is remembered. Whether it is not."""
        try:
            self.save(**changes)
        except LabError:
            _log.exception("container %s: its state could not be written", self.short_id)
            self.record = replace(self.record, **changes)  # type: ignore[arg-type]  # the names of its fields
            return False
        return True

    def turn(self, status: str) -> None:
        """It is so now: paused, running, exited."""
        self.note(State=replace(self.state, Status=status))

    def become(self, **changes: object) -> None:
        """Change the state, on the disk first."""
        self.save(State=replace(self.state, **changes))  # type: ignore[arg-type]

    def tell(self, action: str, **attributes: str) -> None:
        """Publish an event of it."""
        self.engine.events.publish("container", action, self.id, {**self.attributes, **attributes})

    def notify(self, *conditions: Condition) -> None:
        """Tell those who wait how it has ended."""
        for condition in conditions:
            futures, self.waiting[condition][:] = list(self.waiting[condition]), []
            for future in futures:
                if future.set_running_or_notify_cancel():
                    future.set_result(Exit(self.state.ExitCode))

    @property
    def age(self) -> int:
        """When it was made, in nanoseconds since 1970."""
        return times.parse(self.record.Created)
