"""The step that filters a container's system calls: ``man 2 seccomp``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

from labkit.linux import seccomp
from labkit.records import record
from labkit.runtime.plans import Step

if TYPE_CHECKING:
    from labkit.runtime.context import Context


@record
class LoadSeccomp(Step):
    """A filter of system calls, compiled to BPF when the plan was made."""

    man: ClassVar[str] = "seccomp(2)"
    program: bytes
    flags: tuple[str, ...]
    listener: str = ""
    metadata: str = ""

    def __str__(self) -> str:
        return f"load a seccomp filter of {len(self.program) // 8} BPF instructions"

    @property
    def why(self) -> str:
        return "system calls that the program never needs are refused at the door, whatever bug the kernel has behind it"

    def apply(self, context: Context) -> None:
        if not self.listener:
            seccomp.load(self.program, self.flags)
            return
        # Some calls are for an agent to judge; the host side hands it the descriptor on which they arrive.
        descriptor = seccomp.listen(self.program, self.flags)
        context.channel.send({"listener": self.listener, "metadata": self.metadata}, descriptor)
        os.close(descriptor)

    def shell(self) -> str:
        return "# no program of util-linux loads a seccomp filter: the script runs without one"
