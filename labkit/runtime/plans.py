"""A container as a list of small steps: data first, effects after.

    >>> from labkit import runtime
    >>> plan = runtime.plan("/tmp/bundle")      # pure: reads config.json, touches nothing
    >>> print(plan)                             # a table: what, why, and the man page that says more
    >>> print(plan.shell())                     # the same as a script that needs no labkit
    >>> plan.step()                             # apply the first step, and stop before the second

Every step is a frozen dataclass that knows four things: how to ``apply`` itself, how to ``undo`` what it left outside
the container, the same in ``shell``, and ``why``. It belongs to one of two sides: the *host* side runs in the process
that wants the container, the *container* side in the process that becomes it (``handshake.py`` draws the two).

Taught in notebook 04-a-container-from-parts; the idea is bubblewrap's and Terraform's: plan, then apply.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, ClassVar, Literal

from labkit.errors import InvalidInput
from labkit.records import record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    from labkit.runtime.client import Finished
    from labkit.runtime.context import Context
    from labkit.runtime.state import State
    from labkit.runtime.stepping import Progress, Session
else:
    Protocol = object  # what it is good for, the type checker sees; classes of typing's own take longer to make

Side = Literal["host", "container"]


class Step(Protocol):
    """One system call or a few that belong together. Subclasses are frozen dataclasses; ``steps/`` holds them all, and
    ``labkit.network.steps`` those that connect a container, which know the same things without being subclasses.

    They have no ``__eq__`` and ``__repr__`` of their own: the forty classes are made anew at each start of the command line.
    """

    side: ClassVar[Side] = "container"
    man: ClassVar[str] = ""
    waits: ClassVar[bool] = False
    """Whether ``apply`` blocks until somebody outside acts; such a step begins a run of its own."""
    leads_in: ClassVar[bool] = False
    """Whether it leads others to the container, and must be undone when that has ended, also if nobody else is there to do it."""

    @property
    def why(self) -> str:
        """One sentence: what it is good for."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{self.side}: {self}>"

    def apply(self, context: Context) -> None:
        """Do it. Raises ``LabError``."""
        raise NotImplementedError

    def undo(self) -> None:
        """Take back what outlives the container's processes. What is gone already is fine."""
        return

    def shell(self) -> str:
        """The same for ``sh`` with util-linux, iproute2 and coreutils; a comment where no such program can."""
        raise NotImplementedError

    def shell_undo(self) -> str:
        """What ``undo`` does, for ``sh``; empty if nothing is left behind."""
        return ""

    @property
    def undoable(self) -> bool:
        """Whether ``undo`` does anything: those steps are journaled before the first one is applied."""
        return type(self).undo is not Step.undo


@record
class Run:
    """Consecutive steps of one side, which that side applies without asking the other."""

    side: Side
    steps: tuple[Step, ...]


@dataclass(eq=False)
class Plan:
    """The steps of one container (or of one more process in it), in order; ``step()`` remembers how far it has come."""

    container: State
    root: str
    steps: tuple[Step, ...]
    warnings: tuple[str, ...] = ()
    _session: Session | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __getitem__(self, index: int) -> Step:
        return self.steps[index]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_session": None}

    @property
    def id(self) -> str:
        """The container's name."""
        return self.container.id

    @property
    def directory(self) -> str:
        """Where the container's state is kept, readable with ``cat``."""
        return f"{self.root}/{self.id}"

    def runs(self, single: bool = False) -> list[Run]:
        """The steps cut where the side changes and before a step that waits; or, with ``single``, after every step."""
        if single:
            return [Run(step.side, (step,)) for step in self.steps]
        turns = accumulate(step.waits for step in self.steps)
        groups = groupby(zip(self.steps, turns, strict=True), lambda pair: (pair[0].side, pair[1]))
        return [Run(side, tuple(step for step, _ in pairs)) for (side, _), pairs in groups]

    def journal(self) -> tuple[Step, ...]:
        """The steps that must be undone some day, last first."""
        return tuple(step for step in reversed(self.steps) if step.undoable)

    def undo(self) -> None:
        """Take back all that the plan leaves on the host; harmless when some or all of it was never done."""
        for step in self.journal():
            step.undo()

    def table(self) -> list[tuple[str, str, str, str, str]]:
        """Rows of (number, side, step, why, man page)."""
        return [(str(n), step.side, str(step), step.why, step.man) for n, step in enumerate(self.steps, 1)]

    def __str__(self) -> str:
        """Two lines a step: what, and why."""
        lines = []
        for number, side, step, why, man in self.table():
            lines.append(f"{number:>3}  {side:<9}  {step if len(step) < 88 else step[:87] + '…'}")
            lines.append(f"{'':14}  {why} ({man})")
        return "\n".join(lines)

    def shell(self) -> str:
        """The whole plan as a script for ``sh``, with util-linux, iproute2 and coreutils alone."""
        from labkit.runtime.script import script

        return script(self)

    def step(self) -> Progress:
        """Apply the next step and return it with the kernel's state before and after; ``stepping`` tells more."""
        if self._session is None:
            from labkit.runtime.stepping import Session

            self._session = Session(self)
        return self._session.step()

    def reach(self, kind: type[Step]) -> Progress:
        """Apply all steps up to the first of this kind, and that one, unless that is done already; returns what it changed."""
        target = next((number for number, step in enumerate(self.steps) if isinstance(step, kind)), None)
        if target is None:
            raise InvalidInput(f"the plan of {self.id} has no step {kind.__name__}")
        while len(self.history) <= target:
            self.step()
        return self.history[target]

    def finish(self) -> Finished:
        """Apply the rest at full speed and wait for the program's end: its exit code and what it wrote."""
        if self._session is None:
            self.step()
        assert self._session is not None
        return self._session.finish()

    def abandon(self) -> None:
        """Give up half-way: what was born is killed, what was done is undone, and the plan is as new."""
        if self._session is not None:
            self._session.abandon()

    @property
    def history(self) -> tuple[Progress, ...]:
        """The steps that ``step()`` has applied so far, each with the kernel's state before and after."""
        return tuple(self._session.history) if self._session else ()

    @property
    def next(self) -> Step | None:
        """The step that ``step()`` would apply; None when the program runs."""
        applied = len(self.history)
        return self.steps[applied] if applied < len(self.steps) else None
