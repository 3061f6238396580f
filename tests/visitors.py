"""Visitors of a web server that is in a daemon's network: one who gets a page, and one with a slow line.

    get(daemon, "/")                                           # (200, "the page")
    visitor = Visitor(daemon, "http://127.0.0.1:8080/film")    # has begun to read, and reads on by himself
    visitor.stays()                                            # (how many bytes he got in the end, the page)

Where nobody listens yet, they ask again.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

from tests.daemons import Daemon
from tests.patience import PATIENCE

PORT = 8080
SECONDS = 20 * PATIENCE
VISIT = """
import sys, time, urllib.request, urllib.error
deadline = time.monotonic() + float(sys.argv[2])
while True:
    try:
        answer = urllib.request.urlopen(sys.argv[1])
        break
    except urllib.error.HTTPError as error:
        answer = error
        break
    except OSError:
        if time.monotonic() > deadline:
            raise
        time.sleep(0.02)
print(answer.status, flush=True)
first = answer.read(1)
print("begun", flush=True)
try:
    body = first + answer.read()
except Exception as error:
    body = first + getattr(error, "partial", b"")
print(len(body))
print(body.decode(), end="")
"""


class Visitor:
    """A visitor in the daemon's network; he has the first byte, and reads on by himself."""

    def __init__(self, daemon: Daemon, url: str) -> None:
        command = daemon.inside(sys.executable, "-c", VISIT, url, str(SECONDS))
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.status = int(self.process.stdout.readline())
        assert self.process.stdout.readline() == "begun\n"

    def stays(self) -> tuple[int, str]:
        """How many bytes he gets, and the page."""
        assert self.process.stdout
        with self.process:
            length, _, page = self.process.stdout.read().partition("\n")
        return int(length), page


def get(daemon: Daemon, path: str = "/", port: int = PORT) -> tuple[int, str]:
    visitor = Visitor(daemon, f"http://127.0.0.1:{port}{path}")
    return visitor.status, visitor.stays()[1]


def get_status(daemon: Daemon, path: str) -> int:
    """Of a page that need not be read to its end."""
    visitor = Visitor(daemon, f"http://127.0.0.1:{PORT}{path}")
    with visitor.process:
        visitor.process.kill()
    return visitor.status


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)
