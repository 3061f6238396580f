"""What every step of a network is: the same protocol as ``labkit.runtime.plans.Step``, which this package does not import."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from labkit.records import record

if TYPE_CHECKING:
    from typing import Protocol

    class Born(Protocol):
        """As much of the executor's context as a step of a network needs: the container's first process, seen from the host."""

        @property
        def pid(self) -> int:
            """Its number on the host."""


@record
class Somebody:
    """A ``Born`` for steps that are applied outside of a plan: the process whose network is meant, or 0."""

    pid: int = 0


class NetworkStep:
    """One thing that is done to connect a container. Subclasses are frozen records."""

    side: ClassVar[Literal["host", "container"]] = "host"
    man: ClassVar[str] = ""
    waits: ClassVar[bool] = False
    leads_in: ClassVar[bool] = False

    @property
    def why(self) -> str:
        """One sentence: what it is good for."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{self.side}: {self}>"

    def apply(self, context: Born) -> None:
        """Do it: on the host, or in the container's network namespace. Raises ``LabError``."""
        raise NotImplementedError

    def undo(self) -> None:
        """Take back what outlives the container. What is gone already is fine."""

    def shell(self) -> str:
        """The same for ``sh``, with iproute2 and nft."""
        raise NotImplementedError

    def shell_undo(self) -> str:
        """What ``undo`` does, for ``sh``; empty if nothing is left behind."""
        return ""

    @property
    def undoable(self) -> bool:
        """Whether ``undo`` does anything; then the step is journaled before the first one is applied."""
        return type(self).undo is not NetworkStep.undo
