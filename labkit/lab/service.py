"""A program in the background that is found again: what JupyterLab and the lab's registry have in common.

    >>> from labkit.lab import service
    >>> process = service.start(["/usr/bin/docker-registry", "serve", "config.yml"], {}, "/run/labkit/registry")
    >>> service.remember(process, "/run/labkit/registry")
    >>> service.running("/run/labkit/registry", service.Process)
    Process(pid=4711, start_time=81236)

What one run of it needs is in a directory of its own:

    server.json      PID and start time of what runs now, and what else it takes to reach it (mode 0600)
    log              what it printed
    lock             held by whoever is starting or stopping it

          start + remember           wait until it answers
    (none) ───────────────▶ recorded ─────────────────────▶ used ──▶ stop: SIGTERM, time to end, SIGKILL
                               └─ ended, or does not answer: an error with the end of its log

It is known by PID *and* start time, so ``stop`` can never hit a process that was given the same PID later (``man 5 proc``, field 22
of /proc/PID/stat), and nothing is ever found or killed by its name.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from errno import EADDRINUSE
from typing import TypeVar

from labkit.errors import KernelError, LabError, NotFound
from labkit.linux import processes

_STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Process:
    """A process that was started here; what it takes to reach it, a service adds in a class of its own."""

    pid: int
    start_time: int
    """In clock ticks since boot; with the PID it names the process for good."""


Kind = TypeVar("Kind", bound=Process)


@contextlib.contextmanager
def locked(run: str, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Nobody else is at work in this directory meanwhile; makes it. ``waiting`` is called if somebody is, before waiting for them."""
    os.makedirs(run, mode=0o700, exist_ok=True)
    fd = os.open(f"{run}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting:
                waiting()
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def running(run: str, kind: type[Kind]) -> Kind | None:
    """What was started with this directory, if it is still alive."""
    try:
        with open(f"{run}/server.json") as file:
            process = kind(**json.load(file))
    except FileNotFoundError:
        return None
    return process if processes.alive(process.pid, process.start_time) else None


def start(command: list[str], environment: Mapping[str, str], run: str) -> Process:
    """Start a program in a session of its own: closing the terminal, or ctrl-c in it, is none of its business."""
    log = os.open(f"{run}/log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
    files = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), (os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
    pid = os.posix_spawn(command[0], command, environment, file_actions=files, setsid=True)
    os.close(log)
    stat = processes.stat(pid)
    assert stat is not None, "an unreaped child always has a stat"
    return Process(pid, stat.start_time)


def remember(process: Process, run: str) -> None:
    """Record what runs. Before it answers, so that it is found whatever happens to us."""
    with open(f"{run}/server.json.new", "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        json.dump(asdict(process), file)
    os.rename(f"{run}/server.json.new", f"{run}/server.json")


def wait(process: Process, run: str, name: str, url: str, seconds: float, answers: Callable[[], bool] | None = None) -> None:
    """Until ``url`` answers; ``LabError`` with the end of the log if the process ends before, or takes longer than ``seconds``.

    ``answers`` says whether it does, where the URL is none that can be fetched.
    """
    pidfd = processes.pidfd(process.pid, process.start_time)
    pause = 0.005  # a small program is there at once; for a large one the pauses grow to a tenth of a second
    try:
        while not (answers() if answers else fetched(url)):
            if processes.wait(pidfd, timeout=pause):
                raise LabError(f"{name} ended while starting; the end of its log:\n{tail(run)}")
            seconds -= pause
            if seconds < 0:
                raise LabError(f"{name} does not answer on {url.partition('?')[0]}; the end of its log:\n{tail(run)}")
            pause = min(2 * pause, 0.1)
    finally:
        os.close(pidfd)


def fetched(url: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> bytes | None:
    """What this machine itself answers with at ``url``; None if nobody does, or if it is an error."""
    # Not through a proxy: HTTP_PROXY of the environment is not meant for this machine itself.
    browser = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with browser.open(urllib.request.Request(url, headers=dict(headers or {}), method=method), timeout=5) as page:
            return bytes(page.read())
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None


def is_free(host: str, port: int) -> bool:
    """Whether a service could listen there. Raises ``KernelError`` where nobody could."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != EADDRINUSE:
                raise KernelError.of(error, "bind", f"{host}:{port}") from None
            return False
        return True


def stop(process: Process, run: str) -> None:
    """Ask it to stop, and see to it that it and its children have."""
    with contextlib.ExitStack() as closing:
        pidfds = []
        for pid in (process.pid, *processes.children(process.pid)):
            with contextlib.suppress(NotFound):
                pidfd = processes.pidfd(pid)
                closing.callback(os.close, pidfd)
                pidfds.append(pidfd)
        with contextlib.suppress(NotFound):
            processes.send(process.pid, signal.SIGTERM, process.start_time)
        for pidfd in pidfds:
            if not processes.wait(pidfd, timeout=_STOP_SECONDS):
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                processes.wait(pidfd)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process.pid, 0)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{run}/server.json")


def tail(run: str, lines: int = 15) -> str:
    """The end of what the service printed."""
    with open(f"{run}/log", errors="replace") as file:
        return "".join(file.readlines()[-lines:]).rstrip()
