"""What this machine has and lacks for the lab: ``labkit doctor``.

    >>> from labkit.lab import doctor
    >>> rows = doctor.rows()
    >>> doctor.lacking(rows)                        # what the lab cannot do without; the class can start
    ()
    >>> [row.name for row in rows if row.state is doctor.State.LIMITED]
    ['swap limit', 'virtual machines']

A kernel that was built with a feature may still refuse it: to a container, by a sysctl, on this file system. So what can be
tried is tried, with the calls that the lab itself makes, and what comes out is reported, not what should:

    rows()  ──▶  python -m labkit.lab.doctor      a process of its own, with one thread
                   └─ tried("pid namespace", …)   ──fork──▶  does it, tells how it went, and ends: nothing stays

Notebook 00-start-here shows it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from enum import Enum

from labkit.errors import LabError
from labkit.linux import mounts, namespaces


class State(Enum):
    """How it stands with one subject."""

    FINE = "✔"
    LIMITED = "!"
    """The lab runs, but not all of it; ``found`` says what is amiss."""
    LACKING = "✘"
    """The lab cannot do without it."""


@dataclass(frozen=True)
class Row:
    """One subject: how it stands with it, what was found, and what to do about it ("" where there is nothing to do)."""

    name: str
    state: State
    found: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        return {**asdict(self), "state": self.state.name.lower(), "mark": self.state.value}


def rows() -> tuple[Row, ...]:
    """Look the machine over; takes about a second. Raises ``LabError`` if the looking itself breaks."""
    command = [sys.executable, "-I", "-m", "labkit.lab.doctor"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"the doctor's own process failed: {done.stderr.strip().splitlines()[-1:]}")
    return tuple(Row(row["name"], State(row["mark"]), row["found"], row["remedy"]) for row in json.loads(done.stdout))


def lacking(rows: Iterable[Row]) -> tuple[Row, ...]:
    """The rows of what the lab cannot do without and this machine does not have."""
    return tuple(row for row in rows if row.state is State.LACKING)


def tried(name: str, attempt: Callable[[], str], remedy: str, needed: bool = True) -> Row:
    """Try ``attempt`` in a forked child, which says what it found, or raises; the row that results.

    Only for a process with one thread, and as root: others are told that it was not tried.
    """
    if os.geteuid() != 0:
        return Row(name, State.LIMITED, "not tried: that takes root", "sudo labkit doctor")
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = f"+{attempt()}"
        except Exception as error:  # whatever it is, it is the finding
            answer = f"-{error or type(error).__name__}"
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(pid, 0)
    if answer.startswith("+"):
        return Row(name, State.FINE, answer[1:])
    found = answer[1:] or f"the attempt ended with wait status {status}"
    return Row(name, State.LACKING if needed else State.LIMITED, found, remedy)


def private_tmp() -> None:
    """For an attempt: mounts of its own, and an empty /tmp among them, both gone with the child."""
    namespaces.unshare("mnt")
    mounts.make_private()
    mounts.mount("tmpfs", "/tmp", "tmpfs")
