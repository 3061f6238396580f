"""What a container has written: ``docker logs``, from its log; with ``follow`` as it is written, until the container ends.

    >>> with logs.Log(engine.containers.get("web"), tail=10, timestamps=True) as log:
    ...     for stream, lines in log:
    ...         print(stream, b"".join(lines))
    1 b'2026-11-24T01:55:28.067484879Z hello\\n'

    ID-json.log ──▶ Cursor ──▶ jsonlog.decode ──▶ streams, times that are wanted ──▶ lines, many at once
         └ inotify: something was written ──▶ on

An event loop waits for ``fileno`` and then calls ``take(0)``; a thread calls ``next``. Lines come in lists because there may be millions.
Source: moby's ``daemon/logs.go`` and ``daemon/logger/loggerutils``; Docker Engine API v1.47, ContainerLogs. Shown in notebook 06.
"""

from __future__ import annotations

import os
import re
import select
import threading
from collections import deque
from typing import TYPE_CHECKING, Self

from labkit.engine import times
from labkit.engine.log_files import Cursor
from labkit.errors import InvalidInput, KernelError, Unsupported
from labkit.linux import inotify
from labkit.runtime import jsonlog

if TYPE_CHECKING:
    from concurrent.futures import Future

    from labkit.engine.config import LogConfig
    from labkit.engine.container import Container, Exit

Batch = tuple[int, list[bytes]]
"""Lines of one stream, 1 or 2, in a row, each with its newline; a line longer than 16 KiB is in pieces, without."""

_CHANGES = inotify.MODIFY | inotify.CREATE | inotify.MOVED_TO
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?", re.IGNORECASE)


class Log:
    """An iterator of batches. ``close``, from any thread, ends it; a ``with`` block does so at its end."""

    def __init__(
        self,
        container: Container,
        *,
        stdout: bool = True,
        stderr: bool = True,
        follow: bool = False,
        tail: int = -1,
        since: int = 0,
        until: int = 0,
        timestamps: bool = False,
    ) -> None:
        """``tail``: the last so many lines, -1 for all. ``since``, ``until``: nanoseconds since 1970, 0 for none.

        Raises ``InvalidInput`` if no stream is wanted, and ``Unsupported`` for a container without a log.
        """
        if not (stdout or stderr):
            raise InvalidInput("you must choose at least one stream")
        if not container.log_path:
            raise Unsupported("configured logging driver does not support reading")
        self._wanted = {stream for stream, is_wanted in ((1, stdout), (2, stderr)) if is_wanted}
        self._since = times.text(since).encode() if since else b""
        self._until, self._until_text = until, times.text(until).encode() if until else b""
        self._timestamps = timestamps
        self._batches: deque[Batch] = deque()
        self._closed = self._over = False
        self._lock, self._waking = threading.Lock(), threading.Lock()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.epoll()
        self._poll.register(self._wake, select.EPOLLIN)
        self._watch: inotify.Watch | None = None
        self._exit: Future[Exit] | None = None
        self._cursor = Cursor(container.log_path, tail, follow)
        if follow:
            try:
                self._begin_to_follow(container)
            except KernelError:
                self.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        batch = self.take()
        if batch is None:
            self.close()
            raise StopIteration
        return batch

    def fileno(self) -> int:
        """Readable when there may be something new to take, or when it is over."""
        return self._poll.fileno()

    @property
    def ended(self) -> bool:
        """Whether nothing comes any more."""
        return self._closed or (self._over and not self._batches)

    def take(self, timeout: float | None = None) -> Batch | None:
        """The next batch; None at the end, or after so many seconds without one."""
        with self._lock:
            while not self._batches and not self._over and not self._closed:
                has_ended = self._exit is None or self._exit.done()  # before we look for the last time
                block = self._cursor.read()
                if block:
                    self._select(block)
                elif has_ended or (self._until and times.now() > self._until):
                    self._over = True
                elif not self._wait(timeout):
                    return None
            return self._batches.popleft() if self._batches and not self._closed else None

    def close(self) -> None:
        """End it, and let go whoever waits in ``take``."""
        if self._closed:
            return
        self._closed = True
        self._stir()
        if self._exit:
            self._exit.cancel()
        with self._lock, self._waking:
            self._cursor.close()
            self._poll.close()
            if self._watch:
                self._watch.close()
            wake, self._wake = self._wake, -1
            if wake >= 0:
                os.close(wake)

    def _begin_to_follow(self, container: Container) -> None:
        """Watch the log of a container that runs. One that does not writes nothing."""
        with container.lock:
            if container.state.alive:
                self._exit = container.wait("next-exit")
        if self._exit:
            self._watch = inotify.Watch(container.directory, _CHANGES)
            self._poll.register(self._watch.fileno(), select.EPOLLIN)
            self._exit.add_done_callback(lambda _ended: self._stir())

    def _stir(self) -> None:
        """Wake whoever waits: the container has ended, or nobody wants to know any more."""
        with self._waking:
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def _wait(self, timeout: float | None) -> bool:
        """Wait until something may have been written; False if nothing was in time."""
        left = max(0.0, (self._until - times.now()) / times.SECOND) if self._until else None
        patience = min((limit for limit in (timeout, left) if limit is not None), default=None)
        ready = self._poll.poll(patience)
        if self._watch:
            self._watch.clear()
        return bool(ready) or patience != timeout

    def _select(self, block: bytes) -> None:
        """Take from a block of entries what is wanted."""
        for stream, lines, stamps in jsonlog.decode(block, bool(self._timestamps or self._since or self._until)):
            if self._since and min(stamps) < self._since:
                later = [stamp >= self._since for stamp in stamps]
                lines = [line for line, is_later in zip(lines, later, strict=True) if is_later]
                stamps = [stamp for stamp, is_later in zip(stamps, later, strict=True) if is_later]
            if self._until and stamps and max(stamps) > self._until_text:
                lines = lines[: next(index for index, stamp in enumerate(stamps) if stamp > self._until_text)]
                self._over = True
            if self._timestamps:
                lines = [stamp + b" " + line for stamp, line in zip(stamps, lines, strict=False)]
            if lines and stream in self._wanted:
                self._batches.append((stream, lines))
            if self._over:
                return


def rotation(config: LogConfig) -> tuple[int, int]:
    """What ``--log-opt max-size`` and ``max-file`` say: bytes after which the log is begun anew (0: never), and how many files are kept."""
    size = _SIZE.fullmatch(config.Config.get("max-size", ""))
    bytes_ = float(size[1]) * 1000 ** ("kmgtp".index(size[2].lower()) + 1 if size[2] else 0) if size else 0
    return int(bytes_), int(config.Config.get("max-file", "1"))


def trouble(container: Container) -> str:
    """What keeps the monitor from writing the log of a container that runs, such as a full disk; "" if nothing does."""
    try:
        with open(f"{container.run_directory}/trouble") as file:
            return file.read().strip()
    except OSError:
        return ""
