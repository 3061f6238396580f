"""A program on a terminal of its own: what it writes is read, what a person would type is typed.

terminal = Terminal(["labkit", "run", "-it", "busybox"], {})
terminal.until("# "); terminal.type("exit 3\n"); assert terminal.end() == 3
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

from tests.patience import PATIENCE

SECONDS = 30.0 * PATIENCE


class Terminal:
    """A program on a terminal of its own, as wide and high as most."""

    def __init__(self, words: list[str], environment: dict[str, str], size: tuple[int, int] = (24, 100)) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        variables = os.environ | environment | {"TERM": "xterm"}
        words = ["setsid", "--ctty", *words]  # what is typed reaches it, ctrl-C as a signal
        self.process = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, env=variables)
        os.close(slave)
        self.seen = ""

    def until(self, text: str) -> str:
        """Read until the program has written ``text``, or has closed the terminal."""
        deadline = time.monotonic() + SECONDS
        while not text or text not in self.seen:
            ready, _, _ = select.select([self.master], [], [], max(deadline - time.monotonic(), 0))
            assert ready, f"{text!r} did not come; but: {self.seen[-500:]!r}"
            try:
                self.seen += os.read(self.master, 1 << 16).decode(errors="replace")
            except OSError:  # EIO: nobody has it open any more
                assert not text, f"{text!r} did not come; but: {self.seen[-500:]!r}"
                break
        return self.seen

    def resize(self, rows: int, columns: int) -> None:
        """The person pulls at the window."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    @property
    def is_raw(self) -> bool:
        """Whether keys go through as they are, ctrl-C as well."""
        return not termios.tcgetattr(self.master)[3] & termios.ISIG

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def end(self) -> int:
        """The rest of what it writes, and its exit code."""
        self.until("")
        os.close(self.master)
        return self.process.wait(SECONDS)

    @property
    def lines(self) -> list[str]:
        """What was written, without what moves the cursor."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.seen).replace("\r", "\n").splitlines()
