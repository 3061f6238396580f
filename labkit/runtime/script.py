"""A plan as a script for ``sh``, with util-linux, iproute2 and coreutils alone: the container, and nothing of labkit.

    set -eu; ROOT=…                                       what follows on the host: the control group
    ( echo 0 > …/cgroup.procs                             the stage joins it …
      exec unshare --pid --mount … sh -eu /dev/fd/3 )     … and init is born, which reads the rest of the script
    3<<'CONTAINER'
      mount …                                             the container's side
      exec setpriv … env … chroot . PROGRAM               and becomes the program
    CONTAINER

A shell cannot do three things in the plan's order. It must find its tools until the end, so the root is changed last, by
moving the mount and ``chroot``, as an initramfs does; and who the process is and what it may do, which labkit sets by system
calls one after the other, are words before the program: each of ``setpriv``, ``env`` and ``chroot`` executes the next.
"""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from labkit.runtime.steps import birth, execution, filesystem, groups, identity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from labkit.runtime.plans import Plan, Step

# Words before the program, in the order in which they execute each other. Then comes env, after which PATH is the container's,
# and last the step that is a chroot, which leaves the tools behind.
_PREFIXES = (identity.DropBounding, identity.SetCapabilities, identity.NoNewPrivileges)
_HOST, _OWN = 4, 5  # the descriptors of the host's network namespace, and of the container's
_AT_BIRTH = (birth.Clone, groups.JoinCgroup, birth.JoinNamespaces, birth.UnshareTime, birth.CloneSibling, birth.UnshareCgroup)


def script(plan: Plan) -> str:
    """The whole plan. Run it as root; what it leaves on the host it takes back when the program has ended."""
    first = next(number for number, step in enumerate(plan) if isinstance(step, birth.Clone))
    inside = "\n".join([*_inside(plan.steps[first:]), *_end(plan)])
    end = "CONTAINER"
    while f"\n{end}\n" in f"{inside}\n":
        end += "_"  # an argument of the program has such a line
    host = f" {_HOST}</proc/self/ns/net" if any(map(_is_network, plan)) else ""
    return "\n".join([*_outside(plan, first), f") 3<<'{end}'{host}", inside, end, ""])


def _outside(plan: Plan, first: int) -> Iterator[str]:
    yield "#!/bin/sh"
    yield f"# The container {plan.id}, made by hand: {len(plan)} steps. Needs util-linux, iproute2, coreutils; run it as root."
    yield "set -eu"
    yield f"export ROOT={quote(plan.container.rootfs)}"
    undo = [step.shell_undo() for step in reversed(plan.steps) if step.shell_undo()]
    if undo:
        yield f"trap {quote('; '.join(undo))} EXIT"
        yield "trap : HUP INT TERM  # ctrl-c is for the program; this shell goes on when that has ended"
    for step in plan.steps[:first]:
        yield from _commented(step)
    yield from _birth([step for step in plan if isinstance(step, _AT_BIRTH)])


def _inside(steps: Sequence[Step]) -> Iterator[str]:
    late = (filesystem.PivotRoot, execution.Exec, identity.SetUser, *_PREFIXES)
    if any(map(_is_network, steps)):
        # A PID would be this shell's in its own PID namespace, which new versions of ip(8) look up in /proc, the host's.
        yield f"NETNS=/proc/self/fd/{_OWN}; export NETNS; exec {_OWN}</proc/self/ns/net"
    for step in steps:
        if _is_network(step) and step.side == "host":
            yield from _commented(step, f"nsenter --net=/proc/self/fd/{_HOST} sh -eu <<'HOST'\n{step.shell()}\nHOST")
        elif not isinstance(step, (*late, *_AT_BIRTH)):
            yield from _commented(step)


def _is_network(step: Step) -> bool:
    """Whether it connects the container; what such a step does on the host, this shell does by way of the host's namespace."""
    return not type(step).__module__.startswith("labkit.runtime.")


def _commented(step: Step, text: str = "") -> Iterator[str]:
    text = text or step.shell()
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


def _end(plan: Plan) -> Iterator[str]:
    """Change the root, then one chain of programs that ends in the container's own."""
    for step in plan:
        if isinstance(step, filesystem.PivotRoot):
            yield ""
            yield f"# {step.why} ({step.man})"
            yield "# (The plan pivots here. A shell that has pivoted finds no tools any more; this is how an initramfs does it.)"
            yield step.shell()
    (user,) = (step for step in plan if isinstance(step, identity.SetUser))
    (program,) = (step for step in plan if isinstance(step, execution.Exec))
    chain = [_for_chroot(step, user) for kind in _PREFIXES for step in plan if isinstance(step, kind)]
    yield ""
    for step in (*chain, user, program):
        yield f"# {step.why} ({step.man})"
    if user.umask is not None:
        yield f"umask {user.umask:03o}"
    groups = f"--groups={','.join(map(str, user.groups))}" if user.groups else "--clear-groups"
    environment = " ".join(["env -i", *map(quote, program.env)])
    words = [f"setpriv {groups}", *(step.shell() for step in chain), environment, user.shell(), program.shell()]
    close = f" {_HOST}<&- {_OWN}<&-" if any(map(_is_network, plan)) else ""
    yield "exec " + " \\\n    ".join(words) + f" 3<&-{close}"


def _for_chroot(step: Step, user: identity.SetUser) -> Step:
    """chroot(1) is the last to run before the program: in the script, what it needs stays in the bounding set."""
    if not isinstance(step, identity.DropBounding):
        return step
    needed = {"CAP_SYS_CHROOT"} if user.is_root else {"CAP_SYS_CHROOT", "CAP_SETUID", "CAP_SETGID"}
    return identity.DropBounding(step.keep | needed)
