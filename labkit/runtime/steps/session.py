"""Steps that set up the process around the program: session, terminal, resource limits, scheduling."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

from labkit.errors import KernelError
from labkit.linux import rlimits, syscalls
from labkit.records import record
from labkit.runtime.plans import Side, Step

if TYPE_CHECKING:
    from labkit.runtime.context import Context


@record
class NewSession(Step):
    """A session and a session keyring of its own."""

    man: ClassVar[str] = "setsid(2)"

    def __str__(self) -> str:
        return "setsid, new session keyring"

    @property
    def why(self) -> str:
        return "ctrl-c in the terminal of whoever started it must not reach it, nor must the keys in their keyring"

    def apply(self, context: Context) -> None:
        os.setsid()
        try:
            syscalls.join_session_keyring()
        except KernelError as error:
            context.warn(str(error))  # the quota of keys is small; what was shared before stays shared

    def shell(self) -> str:
        return "# setsid(1) and keyctl(1) would do this; the script stays in your terminal's session"


@record
class SetRlimits(Step):
    """What this one process may use; a control group limits the container as a whole."""

    man: ClassVar[str] = "setrlimit(2)"
    values: tuple[tuple[str, int, int], ...]

    def __str__(self) -> str:
        return "setrlimit " + ", ".join(f"{name.removeprefix('RLIMIT_').lower()} {soft}:{hard}" for name, soft, hard in self.values)

    @property
    def why(self) -> str:
        return "limits that a process hands down to its children: open files, core size, stack"

    def apply(self, context: Context) -> None:
        for name, soft, hard in self.values:
            rlimits.set(name, soft, hard)

    def shell(self) -> str:
        words = (f"--{name.removeprefix('RLIMIT_').lower()}={soft}:{hard}" for name, soft, hard in self.values)
        return "prlimit --pid $$ " + " ".join(words)


@record
class SetRlimitsFromHost(SetRlimits):
    """The same while init waits: in a user namespace of its own it may not raise a limit any more."""

    side: ClassVar[Side] = "host"

    def apply(self, context: Context) -> None:
        for name, soft, hard in self.values:
            rlimits.set(name, soft, hard, context.pid)


@record
class SetOomScore(Step):
    """How readily the kernel picks this process when memory runs out: -1000 never, 1000 first."""

    man: ClassVar[str] = "proc(5)"
    adjustment: int

    def __str__(self) -> str:
        return f"oom_score_adj {self.adjustment}"

    @property
    def why(self) -> str:
        return "who is killed first when the whole machine runs out of memory"

    def apply(self, context: Context) -> None:
        self.write("self")

    def write(self, pid: int | str) -> None:
        """Set it for a process."""
        try:
            with open(f"/proc/{pid}/oom_score_adj", "w") as file:
                file.write(str(self.adjustment))
        except OSError as error:
            hint = "going below the value that you have takes CAP_SYS_RESOURCE"
            raise KernelError.of(error, "write oom_score_adj", str(self.adjustment), hint) from None

    def shell(self) -> str:
        return f"echo {self.adjustment} > /proc/self/oom_score_adj"


@record
class SetOomScoreFromHost(SetOomScore):
    """The same while init waits: until it is the program, its files in /proc are nobody's in a user namespace of its own."""

    side: ClassVar[Side] = "host"

    def apply(self, context: Context) -> None:
        self.write(context.pid)


@record
class SetScheduling(Step):
    """CPU policy (``sched_setattr``), I/O priority (``ioprio_set``) and execution domain (``personality``), where asked for."""

    man: ClassVar[str] = "sched(7)"
    scheduler: tuple[int, int, int, int, int, int, int] | None = None
    io: tuple[int, int] | None = None
    personality: int | None = None

    def __str__(self) -> str:
        names = {"sched_setattr": self.scheduler, "ioprio_set": self.io, "personality": self.personality}
        return ", ".join(name for name, value in names.items() if value is not None)

    @property
    def why(self) -> str:
        return "as asked for: how the kernel schedules this process, its I/O, and which kernel it pretends to be"

    def apply(self, context: Context) -> None:
        if self.personality is not None:
            syscalls.personality(self.personality)
        if self.io is not None:
            syscalls.ioprio_set(*self.io)
        if self.scheduler is not None:
            syscalls.sched_setattr(*self.scheduler)

    def shell(self) -> str:
        return "# chrt(1), ionice(1) and setarch(1) do this"
