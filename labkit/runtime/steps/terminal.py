"""The step that gives a container a terminal: ``man 7 pty``, and ``labkit.linux.pty`` for the picture."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

from labkit.linux import mounts, pty
from labkit.records import record
from labkit.runtime.plans import Step

if TYPE_CHECKING:
    from labkit.runtime.context import Context


@record
class OpenTerminal(Step):
    """A pseudo-terminal of the container's own /dev/pts: the slave becomes standard input and output, the master goes to the host."""

    man: ClassVar[str] = "pty(7)"
    size: tuple[int, int] | None = None
    console: bool = True
    owner: int = 0

    def __str__(self) -> str:
        return "open a terminal" + (f" of {self.size[0]} rows and {self.size[1]} columns" if self.size else "")

    @property
    def why(self) -> str:
        return "a shell asks for a terminal before it shows a prompt; this one is numbered in the container's own /dev/pts"

    def apply(self, context: Context) -> None:
        terminal = pty.new()
        if self.size:
            pty.set_size(terminal.slave, *self.size)
        os.fchown(terminal.slave, self.owner, -1)
        pty.make_controlling(terminal.slave)
        if self.console:
            if not os.path.exists("/dev/console"):
                os.close(os.open("/dev/console", os.O_CREAT | os.O_WRONLY, 0o600))
            mounts.bind(f"/proc/self/fd/{terminal.slave}", "/dev/console", recursive=False)
        for number in range(3):
            os.dup2(terminal.slave, number, inheritable=True)
        context.channel.send({"terminal": terminal.name}, terminal.master)
        os.close(terminal.master)
        os.close(terminal.slave)

    def shell(self) -> str:
        return "# the script keeps the terminal that it was started from"
