"""The processes of a container, as the host sees them: ``docker top``.

    >>> from labkit.engine import top
    >>> top.top(web).Titles
    ('UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD')
    >>> top.top(web, "-o pid,comm").Processes
    (('4711', 'nginx'), ('4712', 'nginx'))

The host's ``ps`` does the work, whatever the container has; those that are not of the container are left out by their PID, so one of the
columns must be that. Source: ``man 1 ps``; moby's ``daemon/top_unix.go``. Shown in notebook 06.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from labkit.errors import Conflict, InvalidInput, LabError, Unsupported
from labkit.records import record

if TYPE_CHECKING:
    from labkit.engine.container import Container

ARGUMENTS = "-ef"
_SECONDS = 30
_BLANKS = re.compile(r"[\t\n\v\f\r ]+")


@record
class Top:
    """A table: as many columns in each row as there are titles."""

    Titles: tuple[str, ...]
    Processes: tuple[tuple[str, ...], ...]


def top(container: Container, arguments: str = "") -> Top:
    """What ``ps`` with these arguments (``-ef``) shows of the container's processes. ``Conflict`` if it does not run."""
    if container.state.Status == "restarting":
        raise Conflict(f"Container {container.id} is restarting, wait until the container is running")
    if not container.state.alive:
        raise Conflict(f"Container {container.id} is not running")
    words = (arguments or ARGUMENTS).split(" ")
    _check(arguments)
    pids = container.cgroup.processes()
    found = parsed(_ps(words, pids), pids)
    container.tell("top")
    return found


def _check(arguments: str) -> None:
    """No other column may be called PID: it would be taken for it."""
    for column, title in re.findall(r"\s+(\S*)=\s*(PID\S*)", arguments):
        if column != "pid":
            raise InvalidInput(f'specifying "{column}={title}" is not allowed')


def _ps(words: Sequence[str], pids: Sequence[int]) -> str:
    try:
        return _output([*words, f"-q{','.join(map(str, pids))}"])
    except LabError:
        return _output(words)  # some options, such as f, cannot go with q


def _output(words: Sequence[str]) -> str:
    try:
        done = subprocess.run(["ps", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_SECONDS)
    except FileNotFoundError:
        raise Unsupported("top: this machine has no ps (apt-get install procps)") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"ps: has not ended after {_SECONDS} seconds") from None
    except ValueError:
        raise InvalidInput("ps: an argument holds a zero byte") from None
    if done.returncode:
        said = done.stderr.strip().partition("\n")[0]
        raise InvalidInput(f"ps: {said or f'exit status {done.returncode}'}")
    return done.stdout


def parsed(output: str, pids: Sequence[int]) -> Top:
    """The table that ``ps`` has written, without other processes; threads, which have "-" for a PID, go with theirs."""
    head, *lines = output.split("\n")
    titles = _fields(head)
    if "PID" not in titles:
        raise InvalidInput("Couldn't find PID field in ps output")
    return Top(tuple(titles), tuple(_rows(lines, titles, frozenset(pids))))


def _rows(lines: Sequence[str], titles: Sequence[str], pids: frozenset[int]) -> Iterator[tuple[str, ...]]:
    column, last = titles.index("PID"), len(titles) - 1
    is_ours = False
    for line in lines:
        fields = _fields(line)
        if len(fields) <= column:
            continue
        pid = fields[column]
        if pid != "-":
            if not pid.isdecimal():
                raise LabError(f"Unexpected pid '{pid}' in what ps has written")
            is_ours = int(pid) in pids
        if is_ours:
            yield (*fields[:last], " ".join(fields[last:]))  # a command has blanks of its own


def _fields(line: str) -> list[str]:
    """By blanks as ASCII has them: a name may hold other ones."""
    return [field for field in _BLANKS.split(line) if field]
