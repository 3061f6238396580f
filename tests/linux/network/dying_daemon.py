"""A daemon that kills itself at a moment of its choice, as ``kill -9`` would:   python dying_daemon.py MOMENT OPTIONS…

    step 7                     the first container's builder has applied seven steps of the plan
    step VethPair              it has applied that one
    module.Class.function      this has returned for the first time

With ``step N`` where the plan has fewer than N steps it ends with exit code 7.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from dataclasses import replace
from importlib import import_module
from typing import NoReturn

from labkit.daemon import __main__ as daemon
from labkit.engine import birth
from labkit.runtime.client import Job
from labkit.runtime.plans import Plan
from labkit.runtime.spawner import Request

NO_SUCH_STEP = 7


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("the dead do not go on")


class Stepped(Job):
    """Has the plan of the first container applied up to some step, and dies."""

    upto = ""

    def __init__(self, request: Request, capture: bool = True) -> None:
        super().__init__(replace(request, stepped=True), capture=capture)
        count = self._count(request.plan)
        if count > len(request.plan.steps) - 2:  # the last two are for who starts it: to wait, and to execute the program
            os._exit(NO_SUCH_STEP)
        self.hear("applied")
        for _ in range(count):
            self.say("step")
            self.hear("applied")
        die()

    def _count(self, plan: Plan) -> int:
        if self.upto.isdecimal():
            return int(self.upto)
        return next(number for number, step in enumerate(plan.steps, 1) if type(step).__name__ == self.upto)


def die_after(name: str) -> None:
    """Patch a function."""
    module, _, rest = name.rpartition(".")
    if module[module.rfind(".") + 1].isupper():
        module, _, kind = module.rpartition(".")
        owner = getattr(import_module(module), kind)
    else:
        owner = import_module(module)
    function = getattr(owner, rest)

    @functools.wraps(function)
    def once(*given: object, **named: object) -> object:
        function(*given, **named)
        die()

    setattr(owner, rest, once)


if __name__ == "__main__":
    moment = sys.argv[1]
    if moment.startswith("step "):
        Stepped.upto = moment.removeprefix("step ")
        birth.Job = Stepped  # type: ignore[misc]
    else:
        die_after(moment)
    sys.exit(daemon.main(sys.argv[2:]))
