"""Processes: what ``/proc/PID/stat`` says of one, and signals and waiting that cannot hit the wrong one.

    >>> from labkit.linux import processes
    >>> processes.stat(1).command, processes.alive(1)
    ('systemd', True)
    >>> processes.send(4711, processes.signal_number("TERM"), start_time=81236)

A PID is a number that the kernel gives out again. Two things make it safe to keep one. The *start time* in
``/proc/PID/stat`` never changes while a process lives, so (pid, start time) names a process for good, even in a file. A
*pidfd* is a descriptor of the process itself: it can be polled for its end, and a signal sent through it reaches that
process or nobody (``man 2 pidfd_open``).

            fork              exit                      parent waits
    (none) ──────▶ running ──────────▶ zombie (state Z) ─────────────▶ (none)
                   alive               not alive: only its exit status is left. How long depends on the parent

Notebook 01-namespaces shows them; ``man 5 proc`` describes the file.
"""

from __future__ import annotations

import os
import select
import signal
from errno import EINVAL, ENOENT, ESRCH

from labkit.errors import InvalidInput, KernelError, NotFound
from labkit.records import record

# No process has this PID; the number cannot be a PID; it is the number of a thread.
_GONE = frozenset({ESRCH, EINVAL, ENOENT})


@record
class Stat:
    """A process as ``/proc/PID/stat`` shows it."""

    pid: int
    ppid: int
    state: str
    """One letter: R running, S sleeping, D waiting for a disk, T stopped, Z zombie, I idle kernel thread, X dead."""
    start_time: int
    """In clock ticks since boot, of which there are 100 a second."""
    command: str
    """The name of the program, cut to 15 bytes."""


def stat(pid: int) -> Stat | None:
    """The process with this PID, or None if there is none."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            line = os.read(fd, 4096)
        finally:
            os.close(fd)
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command stands in parentheses and may itself hold spaces and parentheses: the last one closes it.
    head, _, tail = line.rpartition(b") ")
    field = tail.split()
    command = os.fsdecode(head.partition(b" (")[2])
    return Stat(pid, int(field[1]), field[0].decode(), int(field[19]), command)


def alive(pid: int, start_time: int | None = None) -> bool:
    """Whether the process still runs; with ``start_time``, whether it is still the same process. A zombie is not alive."""
    try:
        fd = pidfd(pid, start_time)
    except NotFound:
        return False
    # Rather than look for state Z: that is also what a process shows whose first thread has ended before the others.
    ended = wait(fd, timeout=0)
    os.close(fd)
    return not ended


def children(pid: int) -> tuple[int, ...]:
    """The PIDs of the children of a process, zombies included, lowest first."""
    everyone = (stat(int(name)) for name in os.listdir("/proc") if name.isdecimal())
    return tuple(sorted(found.pid for found in everyone if found and found.ppid == pid))


def pidfd(pid: int, start_time: int | None = None) -> int:
    """A descriptor of the process, for ``wait``, ``setns`` or ``poll``; the caller closes it. ``NotFound`` if it is gone.

    A zombie still has one, and waiting for it returns at once.
    """
    try:
        fd = os.pidfd_open(pid)
    except OSError as error:
        if error.errno in _GONE:
            raise NotFound(f"no process {pid}") from None
        raise KernelError.of(error, "pidfd_open", str(pid)) from None
    if start_time is None:
        return fd
    # Looked at after the descriptor is open: if the process is the right one now, it was the right one then.
    found = stat(pid)
    if found is None or found.start_time != start_time:
        os.close(fd)
        raise NotFound(f"no process {pid} that started at {start_time}")
    return fd


def wait(pidfd: int, timeout: float | None = None) -> bool:
    """Wait until the process behind a pidfd has ended, at most ``timeout`` seconds; whether it has."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))


def send(pid: int, number: int, start_time: int | None = None) -> None:
    """Send a signal; ``NotFound`` if the process has ended or, with ``start_time``, if its PID now belongs to another."""
    fd = pidfd(pid, start_time)
    try:
        if wait(fd, timeout=0):
            raise ProcessLookupError
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        raise NotFound(f"process {pid} has ended") from None
    except OSError as error:
        raise KernelError.of(error, f"signal {number} to", str(pid)) from None
    finally:
        os.close(fd)


def signal_number(text: str) -> int:
    """The number of a signal called ``TERM``, ``SIGTERM``, ``sigterm``, ``RTMIN+3`` or ``15`` (``man 7 signal``)."""
    name, plus, offset = text.upper().removeprefix("SIG").partition("+")
    number = -1
    if text.isdecimal():
        number = int(text)
    elif not plus:
        number = signal.Signals.__members__.get(f"SIG{name}", -1)
    elif name == "RTMIN" and offset.isdecimal():
        number = signal.SIGRTMIN + int(offset)
    if not 0 <= number <= signal.SIGRTMAX:
        raise InvalidInput(f"signal: there is none called {text!r} (`kill -l` lists them)")
    return int(number)


def exit_code(status: int) -> int:
    """A wait status as a shell shows it: the exit code, or 128 + the number of the signal that ended the process."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
