"""What docker commands take: labkit's daemon beside dockerd, the same client at both, in one run and in turn.

    make bench                       # or: .venv/bin/python benchmarks/engine.py [rounds]

Each daemon has a directory and a network namespace of its own, and the same image, by the same ID. Each round asks all, one after the
other, so that a busy machine is busy for all. What counts is the ratio of medians; a millisecond means nothing on another machine.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.daemons import HAS_DOCKERD, Daemon, busybox_archive, dockerd, labkit_daemon

MANY = 50
"""Containers that are started one after the other."""
LOG_LINES = 1_000_000
"""Of a hundred bytes each."""
PIPED = 1 << 30
"""Bytes through the standard output of `docker run`."""

Measure = Callable[[Daemon], float]


def seconds(daemon: Daemon, *words: str) -> float:
    """How long a command of docker's takes, its output read and thrown away."""
    command, environment = [*daemon.docker.words, *words], os.environ | daemon.environment
    begin = time.perf_counter()
    subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin


def one(*options: str) -> Measure:
    """Milliseconds of one container that runs ``true`` and is removed."""
    return lambda daemon: 1000 * seconds(daemon, "run", "--rm", *options, "busybox", "true")


def many(*options: str) -> Measure:
    """Seconds of fifty containers, started one after the other."""

    def measure(daemon: Daemon) -> float:
        taken = sum(seconds(daemon, "run", "-d", *options, "busybox", "sleep", "1000") for _ in range(MANY))
        daemon.docker.says("rm", "-f", *daemon.docker.says("ps", "-aq").split())
        return taken

    return measure


def logs(daemon: Daemon) -> float:
    """Seconds of `docker logs`, 100 MB."""
    if not daemon.docker.says("ps", "-aq", "--filter", "name=talker"):
        line = "x" * 99
        daemon.docker.says("run", "--name", "talker", "--network", "none", "-d", "busybox", "sh", "-c", f"yes {line} | head -n {LOG_LINES}")
        daemon.docker.says("wait", "talker")
    return seconds(daemon, "logs", "talker")


def piped(daemon: Daemon) -> float:
    """Seconds of a gigabyte through the client's standard output."""
    return seconds(daemon, "run", "--rm", "--network", "none", "--log-driver", "none", "busybox", "head", "-c", str(PIPED), "/dev/zero")


MEASURES: dict[str, tuple[Measure, int]] = {
    "run --rm true, no network, ms": (one("--network", "none"), 10),
    "run --rm true, bridge, ms": (one(), 10),
    f"{MANY} × run -d, no network, s": (many("--network", "none"), 1),
    f"{MANY} × run -d, bridge, s": (many(), 1),
    "logs, 100 MB, s": (logs, 2),
    "run, 1 GB to stdout, s": (piped, 1),
}
"""What is measured, and how often in a round."""


def resident(pid: int) -> float:
    """Proportional memory (PSS) of a process and all that descend from it, in MB."""
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        own = next(int(line.split()[1]) for line in rollup if line.startswith("Pss:")) / 1024
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        return own + sum(map(resident, map(int, children.read().split())))


def keepers(daemon: Daemon) -> float:
    """Proportional memory in MB of what stays resident for an idle container, among ten of them: its parent process."""
    ids = [daemon.docker.says("run", "-d", "--network", "none", "busybox", "sleep", "1000") for _ in range(10)]
    parents = set()
    for pid in daemon.docker.says("inspect", "--format", "{{.State.Pid}}", *ids).split():
        with open(f"/proc/{pid}/status") as status:
            parents.add(next(int(line.split()[1]) for line in status if line.startswith("PPid:")))
    taken = []
    for pid in parents:
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            taken.append(next(int(line.split()[1]) for line in rollup if line.startswith("Pss:")) / 1024)
    daemon.docker.says("rm", "-f", *ids)
    return sum(taken) / len(ids)


def main() -> None:
    """Print a table of medians and ratios."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    with tempfile.TemporaryDirectory(prefix="labkit-bench-", dir="/var/tmp") as directory, contextlib.ExitStack() as stack:
        place = Path(directory)
        daemons = [stack.enter_context(labkit_daemon(place / "labkit"))]
        if HAS_DOCKERD:
            daemons.append(stack.enter_context(dockerd(place / "dockerd")))
        archive = busybox_archive(place / "image")
        for daemon in daemons:
            daemon.docker.says("load", "-i", str(archive))
        idle = [resident(daemon.pid) for daemon in daemons]
        print(f"{'':36}" + "".join(f"{daemon.name:>10}" for daemon in daemons) + f"{'ratio':>8}")
        for name, (measure, times) in MEASURES.items():
            for daemon in daemons:
                measure(daemon)  # the first warms up and does not count
            taken: dict[str, list[float]] = {daemon.name: [] for daemon in daemons}
            for _ in range(rounds * times):
                for daemon in daemons:
                    taken[daemon.name].append(measure(daemon))
            row(name, [statistics.median(taken[daemon.name]) for daemon in daemons])
        row("memory for an idle container, MB", [keepers(daemon) for daemon in daemons])
        row("memory of the daemon, idle, MB", idle)


def row(name: str, figures: list[float]) -> None:
    """One line of the table: each daemon's figure, and how much of dockerd's labkit takes."""
    ratio = f"{figures[0] / figures[-1]:7.2f}×" if len(figures) > 1 else ""
    print(f"{name:36}" + "".join(f"{figure:10.2f}" for figure in figures) + ratio, flush=True)


if __name__ == "__main__":
    main()
