"""A person at a terminal, for cells: runs a command on a real pseudo-terminal, types into it, and shows the screen.

    >>> terminal("docker run -i -t --name=desk busybox", "hostname", "ctrl-p ctrl-q")
    $ docker run -i -t --name=desk busybox
    / # hostname
    3f9c0a51be07
    / # ⟨ctrl-p ctrl-q⟩
    it ended with 0

Each line is typed, with Enter, when the program has written a prompt and fallen silent; keys like ctrl-d are typed as they are. What is
shown is what would be on the screen, cursor moves and all. In JupyterLab a person does the same with their own hands: File, New,
Terminal. ``man 7 pty``, ``man 4 console_codes``. Notebook 06.
"""

from __future__ import annotations

import codecs
import html
import os
import re
import select
import subprocess
import time
from dataclasses import dataclass

from labkit.errors import LabError
from labkit.linux import pty

ROWS, COLUMNS = 24, 80
_KEYS = re.compile(r"ctrl-[a-z]( ctrl-[a-z])*")
_PROMPT = re.compile(r"[#$>] $")
_FRAME = "border:1px solid var(--jp-border-color1,#bdbdbd);border-radius:6px;max-width:54em;padding:.4em .8em;line-height:1.35"
_QUIET = 0.1  # seconds without output, after which a program waits for us
_PATIENCE = 20.0  # seconds until it does, or ends
_ESCAPE = "\x1b"
_CONTROL = re.compile(r"\x1b(?:\[([0-9;?]*)([@-~])|[^[])")


@dataclass(frozen=True, repr=False)
class Screen:
    """What was on the screen in the end, and the exit code of the command."""

    command: str
    text: str
    code: int

    def __repr__(self) -> str:
        return f"$ {self.command}\n{self.text}\nit ended with {self.code}"

    def _repr_html_(self) -> str:
        lines = html.escape(self.text, quote=False)
        return (
            f"<div style='{_FRAME}'><pre style='margin:0'><b>$ {html.escape(self.command, quote=False)}</b>\n{lines}</pre>"
            f"<div style='color:var(--jp-ui-font-color2,#546e7a)'>it ended with {self.code}</div></div>"
        )


def terminal(command: str, *typed: str, seconds: float = _PATIENCE) -> Screen:
    """Run a command line on a terminal of its own, and type these lines or keys until it has ended; it may end before the last.

    ``LabError`` with the screen as it is then, if it neither asks for the next line nor ends for so many ``seconds``, or asks for more.
    """
    ends = pty.new()
    try:
        pty.set_size(ends.slave, ROWS, COLUMNS)
        # setsid makes the terminal the session's own, so that keys like ctrl-c reach whoever is in front.
        process = subprocess.Popen(["setsid", "--ctty", "sh", "-c", command], stdin=ends.slave, stdout=ends.slave, stderr=ends.slave)
    finally:
        os.close(ends.slave)
    picture = Picture()
    try:
        asks = _settle(process, ends.master, picture, seconds)
        for each in typed:
            if not asks:
                break
            keys = _KEYS.fullmatch(each)
            os.write(ends.master, bytes(ord(key[-1]) & 31 for key in each.split()) if keys else f"{each}\n".encode())
            if keys:
                picture.note(f"⟨{each}⟩\r\n")
            picture.is_fresh = False
            asks = _settle(process, ends.master, picture, seconds)
        if asks:
            raise LabError(f"{command}: asks for more; on the screen is\n{picture}")
        code = process.wait(seconds)
        return Screen(command, str(picture), code if code >= 0 else 128 - code)  # killed by a signal: as shells tell it
    except subprocess.TimeoutExpired:
        raise LabError(f"{command}: does not end; on the screen is\n{picture}") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(ends.master)


def _settle(process: subprocess.Popen[bytes], master: int, picture: Picture, seconds: float) -> bool:
    """Show what comes, until the program waits at a prompt; False if it has ended instead.

    ``LabError`` if neither happens in so many seconds.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not select.select([master], [], [], _QUIET)[0]:
            if process.poll() is not None:  # what it has left in the background may have the terminal still
                return False
            if picture.is_fresh and _PROMPT.search(picture.line):
                return True
            continue
        try:
            data = os.read(master, 1 << 16)
        except OSError:  # EIO: nobody has the other end any more
            return False
        picture.show(data)
    raise LabError(f"nothing happens for {seconds:g} seconds; on the screen is\n{picture}")


class Picture:
    """As much of a terminal as shells with line editing make use of: lines, a cursor, and erasing to the right of it."""

    def __init__(self) -> None:
        self._lines = [""]
        self._column = 0
        self._rest = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.is_fresh = False
        """Whether something was shown since the last key."""

    def __str__(self) -> str:
        return "\n".join(line.rstrip() for line in self._lines).strip("\n")

    @property
    def line(self) -> str:
        """The one with the cursor."""
        return self._lines[-1]

    def show(self, data: bytes) -> None:
        """What the program writes. What is cut off in the middle, a character or a command, waits for its rest."""
        text = self._rest + self._decoder.decode(data)
        while text:
            if text.startswith(_ESCAPE):
                found = _CONTROL.match(text)
                if not found:
                    break
                self._obey(found[2], found[1])
                text = text[found.end() :]
            else:
                plain, mark, rest = text.partition(_ESCAPE)
                self._write(plain)
                text = mark + rest
        self._rest = text
        self.is_fresh = True

    def note(self, words: str) -> None:
        """Put in what no program has written."""
        self._write(words)

    def _write(self, text: str) -> None:
        for letter in text:
            if letter == "\n":
                self._lines.append(" " * self._column)
            elif letter == "\r":
                self._column = 0
            elif letter == "\b":
                self._column = max(self._column - 1, 0)
            elif letter >= " ":
                line = self.line.ljust(self._column)
                self._lines[-1] = line[: self._column] + letter + line[self._column + 1 :]
                self._column += 1

    def _obey(self, command: str | None, numbers: str | None) -> None:
        count = int(numbers) if numbers and numbers.isdecimal() else 0
        if command in ("J", "K") and count == 0:
            self._lines[-1] = self.line[: self._column]
        elif command == "D":
            self._column = max(self._column - (count or 1), 0)
        elif command == "C":
            self._column += count or 1
