"""The check of notebook 00: the machine is put back."""

from __future__ import annotations

from collections.abc import Callable

from labkit.lessons.stage import RUN
from labkit.lessons.verdict import Verdict, failed, passed
from labkit.linux import cgroups, mounts

LEFTOVER = f"{RUN}/00/leftover"


def put_back() -> Verdict:
    """Neither the leftover mount nor the leftover control group is there any more."""
    if mounts.at(LEFTOVER):
        return failed(
            f"{LEFTOVER} is still mounted: `findmnt {LEFTOVER}` shows it.",
            "one of labkit's commands puts the machine back; `labkit --help` in a terminal lists them.",
        )
    if cgroups.Cgroup("labkit/00/leftover").exists():
        return failed("The control group labkit/00/leftover is still there.", "`labkit reset` removes groups, too.")
    return passed("Nothing is mounted there any more, and the control group is gone. Your files are as they were.")


CHECKS: dict[str, Callable[[], Verdict]] = {"put-back": put_back}
