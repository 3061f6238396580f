"""Applies a plan: the one executor, for the command line, the daemon's monitors and the notebook's debugger alike.

``conduct`` is the host side: it applies its own steps and gives the container side the word for the others.
``perform`` is the container side: it waits for the word, applies its steps, reports. ``handshake`` draws the two.
"""

from __future__ import annotations

import os
import signal
from errno import EACCES, ENOENT, ENOEXEC
from typing import TYPE_CHECKING

from labkit.errors import KernelError, LabError
from labkit.runtime.handshake import await_done, give_word, packed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from labkit.runtime.context import Context
    from labkit.runtime.plans import Run


def conduct(context: Context, pace: Callable[[Run], None] | None = None) -> None:
    """Apply the plan up to a step that waits, or to its end. Whoever calls it must ``withdraw`` if it raises.

    ``pace`` is called before each run of steps and may wait, or raise to give up: that is how a plan is stepped.
    Only safe in a process with a single thread, since it forks (``syscalls.clone``).
    """
    for run in context.plan.runs(context.single):
        if pace:
            pace(run)
        if run.side == "host":
            for step in run.steps:
                step.apply(context)
        elif run.steps[0].waits:
            return
        else:
            give_word(context)
            await_done(context, is_last=run.steps[-1] is context.plan.steps[-1])


def withdraw(context: Context) -> None:
    """Nothing came of it: kill what was born, wait for its end, undo the plan."""
    if context.pidfd >= 0:
        try:
            signal.pidfd_send_signal(context.pidfd, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has ended already
        context.reap()
    context.plan.undo()


def perform(context: Context, runs: Sequence[Run]) -> None:
    """Container side: apply this side's runs in turn; the last one ends in execve, so this returns only by an error."""
    for run in runs:
        if run.side == "host":
            continue
        message, _ = context.channel.receive()
        if not message:
            raise LabError("the host side is gone")
        for step in run.steps:
            step.apply(context)
        context.channel.send({"done": True})


def become_container(context: Context) -> None:
    """What the container's side does after ``Clone``; never returns."""
    status = 1
    try:
        perform(context, context.plan.runs(context.single))
    except BaseException as error:
        status = exit_code(error)
        _report(context, error)
    finally:
        os._exit(status)


def _report(context: Context, error: BaseException) -> None:
    """Tell whoever listens: the starter if there is one, else the host side."""
    message: dict[str, object] = {"failed": packed(error if isinstance(error, Exception) else LabError(repr(error)))}
    try:
        if context.starter:
            import json

            context.starter.sendall(json.dumps(message).encode())
        else:
            context.channel.send(message)
    except OSError:
        return  # nobody is left to be told


def exit_code(error: BaseException) -> int:
    """As a shell would: 127 for a command, or its directory, that is not there, 126 for one that may not be run."""
    if isinstance(error, KernelError) and error.operation in ("exec", "chdir to"):
        return {ENOENT: 127, EACCES: 126, ENOEXEC: 126}.get(error.errno, 1)
    return 1
