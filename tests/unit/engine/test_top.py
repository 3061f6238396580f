"""What ps has written, and what of it belongs to a container."""

from __future__ import annotations

import pytest

from labkit.engine import top
from labkit.engine.top import Top
from labkit.errors import InvalidInput, LabError

FULL = """\
UID          PID    PPID  C STIME TTY          TIME CMD
root           1       0  0 08:00 ?        00:00:01 /sbin/init
www          123     100  0 08:00 ?        00:00:00 nginx: worker  process
root         124     123  0 08:00 pts/0    00:00:00 sh -c sleep 5
"""
THREADS = """\
  PID   TID CMD
  123     - nginx
    -   123 -
    -   125 -
  200     - other
    -   200 -
"""


def test_only_the_containers_processes_are_shown_with_their_commands_whole() -> None:
    assert top.parsed(FULL, (123, 124)) == Top(
        ("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"),
        (
            ("www", "123", "100", "0", "08:00", "?", "00:00:00", "nginx: worker process"),
            ("root", "124", "123", "0", "08:00", "pts/0", "00:00:00", "sh -c sleep 5"),
        ),
    )


def test_threads_go_with_their_process() -> None:
    assert [row[1] for row in top.parsed(THREADS, (123,)).Processes] == ["-", "123", "125"]
    assert top.parsed(THREADS, ()).Processes == ()


def test_a_column_of_pids_there_must_be() -> None:
    with pytest.raises(InvalidInput, match=r"^Couldn't find PID field in ps output$"):
        top.parsed("COMMAND\ninit\n", (1,))
    with pytest.raises(LabError, match=r"^Unexpected pid 'x'"):
        top.parsed("PID CMD\nx init\n", (1,))


@pytest.mark.parametrize("arguments", ["-o ppid=PID,comm", "-o  comm= PID", "-eo pid=PID,args=PIDS -o user=PID"])
def test_no_other_column_may_be_called_pid(arguments: str) -> None:
    with pytest.raises(InvalidInput, match=r'^specifying "\S+=PID\S*" is not allowed$'):
        top._check(arguments)
    top._check("-o pid=PID")
