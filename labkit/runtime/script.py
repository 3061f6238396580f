"""A plan as a script for ``sh``, with util-linux, iproute2 and coreutils alone: the container, and nothing of labkit.

    set -eu; ROOT=…                                       what follows on the host: the control group
    ( echo 0 > …/cgroup.procs                             the stage joins it …
      exec unshare --pid --mount … sh -eu /dev/fd/3 )     … and init is born, which reads the rest of the script
    3<<'CONTAINER'
      mount …                                             the container's side
      exec env … setpriv … chroot . PROGRAM               and becomes the program
    CONTAINER

A shell cannot do three things in the plan's order. It must find its tools until the end, so the root is changed last, by
moving the mount and ``chroot``, as an initramfs does; and who the process is and what it may do, which labkit sets by system
calls one after the other, are words before the program: each of ``env``, ``setpriv`` and ``chroot`` executes the next.
"""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from labkit.runtime.steps import birth, execution, filesystem, groups, identity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from labkit.runtime.plans import Plan, Step

# Words before the program, in the order in which they execute each other; chroot, which leaves the tools behind, is last.
_PREFIXES = (identity.DropBounding, identity.SetCapabilities, identity.NoNewPrivileges, identity.SetUser)
_AT_BIRTH = (birth.Clone, groups.JoinCgroup, birth.JoinNamespaces, birth.UnshareTime, birth.CloneSibling, birth.UnshareCgroup)


def script(plan: Plan) -> str:
    """The whole plan. Run it as root; what it leaves on the host it takes back when the program has ended."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: Plan) -> Iterator[str]:
    yield "#!/bin/sh"
    yield f"# The container {plan.id}, made by hand: {len(plan)} steps. Needs util-linux, iproute2, coreutils; run it as root."
    yield "set -eu"
    yield f"export ROOT={quote(plan.container.rootfs)}"
    undo = [step.shell_undo() for step in plan.journal() if step.shell_undo()]
    if undo:
        yield f"trap {quote('; '.join(undo))} EXIT"
    born = [step for step in plan if isinstance(step, _AT_BIRTH)]
    first = next(number for number, step in enumerate(plan) if isinstance(step, birth.Clone))
    for step in plan.steps[:first]:
        yield from _commented(step)
    yield from _birth(born)
    late = (filesystem.PivotRoot, execution.Exec, *_PREFIXES)
    for step in plan.steps[first:]:
        if not isinstance(step, (*late, *_AT_BIRTH)):
            yield from _commented(step)
    yield from _end(plan)
    yield "CONTAINER"


def _commented(step: Step) -> Iterator[str]:
    text = step.shell()
    if text:
        yield ""
        yield f"# {step.why} ({step.man})"
        yield text


def _birth(born: Sequence[Step]) -> Iterator[str]:
    """A subshell that joins, enters and unshares: what it then executes is init."""
    yield ""
    yield "("
    entered: list[str] = []
    kinds: list[str] = []
    for step in born:
        yield f"# {step.why} ({step.man})"
        if isinstance(step, (birth.JoinNamespaces, birth.UnshareTime)):
            entered.append(step.shell())
        elif step.shell():
            yield step.shell()
        if isinstance(step, (birth.Clone, birth.CloneSibling, birth.UnshareCgroup)):
            kinds += step.kinds
    yield " ".join(["exec", *entered, birth.unshare_words(kinds), "sh -eu /dev/fd/3"])
    yield ") 3<<'CONTAINER'"


def _end(plan: Plan) -> Iterator[str]:
    """Change the root, then one chain of programs that ends in the container's own."""
    for step in plan:
        if isinstance(step, filesystem.PivotRoot):
            yield ""
            yield f"# {step.why} ({step.man})"
            yield "# (The plan pivots here. A shell that has pivoted finds no tools any more; this is how an initramfs does it.)"
            yield step.shell()
    (program,) = (step for step in plan if isinstance(step, execution.Exec))
    chain = [step for kind in _PREFIXES for step in plan if isinstance(step, kind)]
    yield ""
    for step in (*chain, program):
        yield f"# {step.why} ({step.man})"
    environment = " ".join(map(quote, program.env))
    words = [f"exec env -i {environment}", *(step.shell() for step in chain), program.shell()]
    yield " \\\n    ".join(words) + " 3<&-"
