from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labkit.errors import NotFound
from labkit.linux import processes

InChild = Callable[[Callable[[], Any]], Any]


@pytest.fixture
def child() -> Iterator[int]:
    """A child that sleeps until a signal ends it; reaped afterwards."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    yield pid
    if processes.stat(pid):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def zombie(pid: int) -> None:
    """Kill a child and see it dead, without reaping it."""
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def test_stat_tells_who_a_process_is(child: int) -> None:
    found = processes.stat(child)
    assert found is not None
    assert (found.pid, found.ppid) == (child, os.getpid())
    with open("/proc/self/comm") as comm:
        assert found.command == comm.read().rstrip()
    mine = processes.stat(os.getpid())
    assert mine is not None and mine.start_time <= found.start_time


def test_a_command_may_hold_spaces_and_parentheses(in_child: InChild) -> None:
    def rename() -> processes.Stat | None:
        with open("/proc/self/comm", "w") as comm:
            comm.write("a) (b) S ")
        return processes.stat(os.getpid())

    found = in_child(rename)
    assert found is not None and (found.command, found.ppid) == ("a) (b) S ", os.getpid())


def test_a_process_is_alive_until_it_is_a_zombie_and_then_gone(child: int) -> None:
    started = processes.stat(child)
    assert started is not None and processes.alive(child) and processes.alive(child, started.start_time)
    zombie(child)
    dead = processes.stat(child)
    assert dead is not None and dead.state == "Z" and not processes.alive(child)
    os.waitpid(child, 0)
    assert processes.stat(child) is None and not processes.alive(child)


def test_a_process_with_another_start_time_is_another_process(child: int) -> None:
    assert not processes.alive(child, start_time=1)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(NotFound, match="started at 1"):
        processes.pidfd(child, start_time=1)
    with pytest.raises(NotFound):
        processes.send(child, signal.SIGKILL, start_time=1)
    assert processes.alive(child)
    assert os.listdir("/proc/self/fd") == before


def test_a_process_lives_on_in_its_threads_when_the_first_has_ended() -> None:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        threading.Thread(target=signal.pause).start()
        os.write(writer, b".")
        exit_of_this_thread = {"x86_64": 60, "aarch64": 93}[os.uname().machine]
        ctypes.CDLL(None).syscall(exit_of_this_thread, 0)
    os.read(reader, 1)
    try:
        while (found := processes.stat(pid)) and found.state != "Z":
            os.sched_yield()
        assert processes.alive(pid)
        fd = processes.pidfd(pid)
        assert not processes.wait(fd, timeout=0)
        processes.send(pid, signal.SIGKILL)
        assert processes.wait(fd, timeout=10)
        os.close(fd)
    finally:
        os.waitpid(pid, 0)
        os.close(reader)
        os.close(writer)


def test_waiting_ends_when_the_process_does(child: int) -> None:
    fd = processes.pidfd(child)
    assert not processes.wait(fd, timeout=0)
    assert not processes.wait(fd, timeout=0.01)
    processes.send(child, signal.SIGTERM)
    assert processes.wait(fd)
    os.close(fd)
    fd = processes.pidfd(child)
    assert processes.wait(fd), "a zombie has nothing to wait for"
    os.close(fd)


def test_a_signal_reaches_its_process_and_its_wait_status_tells_which(child: int) -> None:
    started = processes.stat(child)
    assert started is not None
    processes.send(child, signal.SIGUSR1, started.start_time)
    _, status = os.waitpid(child, 0)
    assert processes.exit_code(status) == 128 + signal.SIGUSR1


def test_a_signal_to_what_has_ended_is_not_found_and_leaves_no_descriptor(child: int) -> None:
    before = os.listdir("/proc/self/fd")
    zombie(child)
    with pytest.raises(NotFound, match="has ended"):
        processes.send(child, signal.SIGTERM)
    os.waitpid(child, 0)
    for nobody in (child, -1, 0):
        with pytest.raises(NotFound, match=f"no process {nobody}"):
            processes.send(nobody, signal.SIGTERM)
    assert os.listdir("/proc/self/fd") == before


def test_a_thread_is_no_process() -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        with pytest.raises(NotFound):
            processes.pidfd(thread.native_id or 0)
    finally:
        done.set()
        thread.join()


def test_children_are_listed_zombies_included(child: int) -> None:
    assert child in processes.children(os.getpid())
    zombie(child)
    assert child in processes.children(os.getpid())
    assert processes.children(child) == ()
