"""What a daemon has open and takes, for tests that it is the same before and after."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.daemons import Daemon, ask
from tests.patience import PATIENCE

SECONDS = 30.0 * PATIENCE


@contextlib.contextmanager
def is_as_it_was(daemon: Daemon) -> Iterator[None]:
    """At the end there is no container, no descriptor more than before, and no word in the log that is one of Python's."""
    before, log = descriptors(daemon), daemon.log.stat().st_size
    yield
    wait_until(lambda: ask(daemon.socket, "GET", "/containers/json?all=1")[1].strip() == b"[]")
    wait_until(lambda: descriptors(daemon) <= before + 2, lambda: f"{before} descriptors before, now {open_files(daemon)}")
    said = daemon.log.read_bytes()[log:].decode()
    assert "Traceback" not in said, said[-3000:]


def pid_of(daemon: Daemon) -> int:
    return int((daemon.place / "run/daemon/pid").read_text())


def open_files(daemon: Daemon) -> list[str]:
    found = []
    for fd in os.listdir(directory := f"/proc/{pid_of(daemon)}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"{directory}/{fd}"))
    return found


def descriptors(daemon: Daemon) -> int:
    return len(os.listdir(f"/proc/{pid_of(daemon)}/fd"))


def memory(daemon: Daemon) -> int:
    """MB that the daemon has to itself."""
    status = Path(f"/proc/{pid_of(daemon)}/smaps_rollup").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("Private_Dirty:"))) >> 10


def wait_until(condition: Callable[[], bool], what: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.02)
