"""One thread that waits for all ends at once: those of monitors, by pidfd, and those of pauses, by the clock.

    watch(pidfd, then) ─┐                        ┌─▶ then(), in one of a few workers
    later(0.1, then)  ──┴─▶ poll: pidfds, clock ─┘

    >>> from labkit.engine.supervision import Supervisor
    >>> supervisor = Supervisor()
    >>> supervisor.watch(os.pidfd_open(4711), lambda: print("4711 has ended"))
    >>> supervisor.later(0.1, lambda: print("a moment has passed"))

What is called may take its time and take locks. What it raises is logged, and nothing else happens. Source: ``man 2 pidfd_open``.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import select
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

_log = logging.getLogger(__name__)
_WORKERS = 4


class Timer:
    """Something that is to happen later, unless it is cancelled."""

    def __init__(self, then: Callable[[], None]) -> None:
        self._then: Callable[[], None] | None = then
        self._lock = threading.Lock()

    def cancel(self) -> bool:
        """Let it not happen; whether that came in time."""
        with self._lock:
            then, self._then = self._then, None
        return then is not None

    def _fire(self) -> None:
        with self._lock:
            then, self._then = self._then, None
        if then:
            then()


class Supervisor:
    """Waits until it is closed. What happens after that is for the next one to find out."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll.register(self._wake, select.EPOLLIN)
        self._watched: dict[int, Callable[[], None]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._closed = False
        self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="labkit-ends")
        self._thread = threading.Thread(target=self._run, name="labkit-supervisor", daemon=True)
        self._thread.start()

    def watch(self, pidfd: int, then: Callable[[], None]) -> None:
        """Call ``then`` when the process behind ``pidfd`` has ended. The descriptor is the supervisor's from now on."""
        with self._lock:
            if self._closed:
                os.close(pidfd)
                return
            self._watched[pidfd] = then
            self._poll.register(pidfd, select.EPOLLIN | select.EPOLLONESHOT)

    def later(self, seconds: float, then: Callable[[], None]) -> Timer:
        """Call ``then`` after so many seconds."""
        timer = Timer(then)
        with self._lock:
            heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), timer))
        os.eventfd_write(self._wake, 1)
        return timer

    def close(self) -> None:
        """Stop waiting; what is being done is finished."""
        with self._lock:
            self._closed = True
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        self._workers.shutdown()
        for pidfd in self._watched:
            os.close(pidfd)
        self._poll.close()
        os.close(self._wake)

    def _run(self) -> None:
        while not self._closed:
            for fd, _ in self._poll.poll(self._patience()):
                if fd == self._wake:
                    os.eventfd_read(self._wake)
                    continue
                with self._lock:
                    then = self._watched.pop(fd)
                self._poll.unregister(fd)
                os.close(fd)
                self._do(then)
            for timer in self._due():
                self._do(timer._fire)

    def _patience(self) -> float | None:
        with self._lock:
            return max(self._timers[0][0] - time.monotonic(), 0) if self._timers else None

    def _due(self) -> list[Timer]:
        due = []
        with self._lock:
            while self._timers and self._timers[0][0] <= time.monotonic():
                due.append(heapq.heappop(self._timers)[2])
        return due

    def _do(self, then: Callable[[], None]) -> None:
        self._workers.submit(_logged, then)


def _logged(then: Callable[[], None]) -> None:
    try:
        then()
    except Exception:
        _log.exception("after the end of a container")
