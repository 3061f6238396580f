"""One thread waits for processes and for the clock."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from labkit.engine.supervision import Supervisor

SECONDS = 10


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    made = Supervisor()
    yield made
    made.close()


def test_the_end_of_a_process_is_noticed(supervisor: Supervisor) -> None:
    ended = threading.Event()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        supervisor.watch(os.pidfd_open(process.pid), ended.set)
        assert not ended.wait(0.02)
    assert ended.wait(SECONDS)


def test_many_ends_are_noticed_each_once(supervisor: Supervisor) -> None:
    heard: list[int] = []
    done = threading.Semaphore(0)

    def hear(pid: int) -> None:
        heard.append(pid)
        done.release()

    many = [subprocess.Popen(["cat"], stdin=subprocess.PIPE) for _ in range(20)]
    for process in many:
        supervisor.watch(os.pidfd_open(process.pid), lambda pid=process.pid: hear(pid))  # type: ignore[misc]
    for process in many:
        with process:
            pass
    assert all(done.acquire(timeout=SECONDS) for _ in many)
    assert sorted(heard) == sorted(process.pid for process in many)


def test_what_is_to_happen_later_happens_in_order_and_not_before(supervisor: Supervisor) -> None:
    heard: list[tuple[str, float]] = []
    began, done = time.monotonic(), threading.Event()
    supervisor.later(0.1, lambda: (heard.append(("second", time.monotonic())), done.set()))  # type: ignore[func-returns-value]
    supervisor.later(0.02, lambda: heard.append(("first", time.monotonic())))
    cancelled = supervisor.later(0.05, lambda: heard.append(("never", 0)))
    assert cancelled.cancel() and not cancelled.cancel()
    assert done.wait(SECONDS)
    assert [name for name, _ in heard] == ["first", "second"]
    assert heard[0][1] - began >= 0.02 and heard[1][1] - began >= 0.1


def test_what_goes_wrong_is_logged_and_stops_nothing(supervisor: Supervisor, caplog: pytest.LogCaptureFixture) -> None:
    done = threading.Event()
    with caplog.at_level(logging.ERROR):
        supervisor.later(0, lambda: 1 // 0)
        supervisor.later(0.01, done.set)
        assert done.wait(SECONDS)
    assert "ZeroDivisionError" in caplog.text


def test_closing_waits_for_what_is_being_done_and_leaves_no_descriptor() -> None:
    before = os.listdir("/proc/self/fd")
    supervisor = Supervisor()
    begun, finished = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        threading.Event().wait(0.05)
        finished.set()

    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        supervisor.watch(os.pidfd_open(process.pid), lambda: None)
        supervisor.later(0, work)
        supervisor.later(1000, lambda: None)
        assert begun.wait(SECONDS)
        supervisor.close()
        assert finished.is_set()
        supervisor.watch(os.pidfd_open(process.pid), lambda: None)
    assert os.listdir("/proc/self/fd") == before
