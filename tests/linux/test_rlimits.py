from __future__ import annotations

import os
import signal
from collections.abc import Callable
from errno import EPERM
from typing import Any

import pytest

from labkit.errors import KernelError, NotFound
from labkit.linux import capabilities, rlimits
from labkit.linux.capabilities import Capabilities

InChild = Callable[[Callable[[], Any]], Any]


def test_a_program_sees_the_limit_that_was_set(in_child: InChild) -> None:
    def change() -> tuple[int, str]:
        rlimits.set("RLIMIT_NOFILE", 31, 77)
        with os.popen("ulimit -Sn; ulimit -Hn") as shell:
            return len(rlimits.of()), shell.read()

    assert in_child(change) == (16, "31\n77\n")


def test_a_limit_stops_the_process(in_child: InChild) -> None:
    def change() -> None:
        rlimits.set("RLIMIT_NOFILE", 31, 31)
        while True:
            os.dup(0)

    with pytest.raises(OSError, match="Too many open files"):
        in_child(change)


def test_unlimited_is_minus_one_or_the_highest_number_of_a_bundle(in_child: InChild) -> None:
    def change() -> list[tuple[int, int]]:
        found = []
        for unlimited in (-1, 2**63, 2**64 - 1):
            rlimits.set("RLIMIT_CORE", 4096, unlimited)
            found.append(rlimits.of()["RLIMIT_CORE"])
            rlimits.set("RLIMIT_CORE", unlimited, unlimited)
            found.append(rlimits.of()["RLIMIT_CORE"])
        return found

    assert in_child(change) == [(4096, -1), (-1, -1)] * 3


def test_a_limit_may_be_nothing_at_all(in_child: InChild) -> None:
    def change() -> tuple[int, int]:
        rlimits.set("RLIMIT_CORE", 0, 0)
        return rlimits.of()["RLIMIT_CORE"]

    assert in_child(change) == (0, 0)


def test_the_limits_of_another_process_are_set_and_read() -> None:
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    try:
        mine = rlimits.of()
        rlimits.set("RLIMIT_CORE", 1, 2, pid)
        assert rlimits.of(pid) == mine | {"RLIMIT_CORE": (1, 2)}
        assert rlimits.of() == mine
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    with pytest.raises(NotFound):
        rlimits.set("RLIMIT_CORE", 1, 2, pid)
    with pytest.raises(NotFound):
        rlimits.of(pid)


def test_raising_a_hard_limit_takes_a_capability_and_the_error_says_so(in_child: InChild) -> None:
    def change() -> None:
        rlimits.set("RLIMIT_NOFILE", 10, 10)
        capabilities.apply(Capabilities())
        rlimits.set("RLIMIT_NOFILE", 10, 11)

    with pytest.raises(KernelError, match=r"set RLIMIT_NOFILE to 10:11: EPERM .*CAP_SYS_RESOURCE") as caught:
        in_child(change)
    assert caught.value.errno == EPERM
