"""A plan applied one step at a time, with the kernel's state before and after each: the debugger of a container's birth.

    >>> plan = runtime.plan("/tmp/bundle")
    >>> plan.step()
    1/38 host: mkdir labkit/box in 9 cgroup hierarchies
      + control group labkit/box
    >>> while plan.next: print(plan.step())
    >>> plan.finish().stdout

The steps are applied where they always are, in a monitor and in the process that becomes the container; it only waits for the
word before each. What the kernel says of that process is read from outside, in ``/proc``. Notebook 04 steps with it.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from labkit.errors import Conflict, LabError
from labkit.linux import capabilities, cgroups, links, mountinfo, namespaces, processes
from labkit.runtime.client import Finished, Job
from labkit.runtime.spawner import Request
from labkit.runtime.steps.groups import MakeCgroup, SetCgroupFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labkit.linux.namespaces import Namespace
    from labkit.runtime.plans import Plan, Step


@dataclass(frozen=True)
class Observation:
    """What the kernel says of the container's process; of the host, as long as there is none."""

    pid: int
    command: str = ""
    namespaces: Mapping[str, Namespace] = field(default_factory=dict)
    mounts: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    """By the kernel's number for the mount: target, and "type (rw)" or "type (ro)"."""
    links: tuple[str, ...] = ()
    hostname: str = ""
    cgroup: str = ""
    effective: int = 0
    bounding: int = 0
    user: str = ""
    cwd: str = ""
    seccomp: str = ""
    no_new_privileges: str = ""
    group_files: Mapping[str, str] = field(default_factory=dict)
    """The container's cgroup files that the plan sets, if the group is there."""


@dataclass(frozen=True)
class Progress:
    """One step that was applied: its number, and what changed."""

    number: int
    total: int
    step: Step
    before: Observation
    after: Observation

    @property
    def changes(self) -> tuple[str, ...]:
        """What differs, a line each, in words that are the same on every machine."""
        return tuple(differences(self.before, self.after))

    def __str__(self) -> str:
        lines = [f"{self.number}/{self.total} {self.step.side}: {self.step}", *(f"  {change}" for change in self.changes)]
        return "\n".join(lines)

    __repr__ = __str__


class Session:
    """A stepped plan: its monitor, and how far it has come."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.applied = 0
        self.job = Job(Request(plan, stepped=True, remove=True))
        self.job.hear("applied")
        self.now = observe(plan, 0)

    def step(self) -> Progress:
        """Apply the next step. Raises what it raised, and then the plan is undone and as new."""
        if self.applied == len(self.plan):
            raise Conflict("the plan is applied to its end: plan.finish() waits for the program, plan.abandon() kills it")
        step = self.plan[self.applied]
        before = self.now
        try:
            self.job.say("step")
            # The monitor speaks again when it is done, with the last step of all by saying that the container runs.
            self.job.hear("created" if self.applied == len(self.plan) - 1 else "applied")
        except (LabError, OSError):
            self.job.close()
            self.plan._session = None
            raise
        self.applied += 1
        self.now = observe(self.plan, self.job.pid or before.pid)
        return Progress(self.applied, len(self.plan), step, before, self.now)

    def finish(self) -> Finished:
        """The rest at full speed, and the program's end."""
        if self.applied < len(self.plan):
            self.job.say("rest")
        try:
            return self.job.finish()
        finally:
            self.job.close()

    def abandon(self) -> None:
        """Kill what was born; its monitor undoes the rest. Returns when that is done."""
        if self.applied == len(self.plan) and processes.alive(self.now.pid):
            processes.send(self.now.pid, 9)
        else:
            self.job.socket.shutdown(socket.SHUT_WR)
        try:
            self.job.finish()
        except LabError:
            pass  # "given up", as it should
        self.job.close()


def observe(plan: Plan, pid: int) -> Observation:
    """Look at the process ``pid``, or at ourselves if it is 0, and at the control group of the plan."""
    files = {}
    for step in plan:
        if isinstance(step, MakeCgroup) and os.path.isdir(step.directories[0]):
            files[step.path] = "there"
        if isinstance(step, SetCgroupFile) and os.path.exists(step.setting.file):
            with open(step.setting.file) as file:
                files[step.setting.file] = file.read().strip()
    looked_at = pid or os.getpid()
    try:
        status = _status(looked_at)
        with namespaces.entered(looked_at, "uts"):
            hostname = socket.gethostname()
        return Observation(
            pid,
            command=status["Name"],
            namespaces=namespaces.of(looked_at),
            mounts={each.id: (each.target, f"{each.fstype} ({'ro' if each.readonly else 'rw'})") for each in mountinfo.table(looked_at)},
            links=links.names(looked_at),
            hostname=hostname,
            cgroup=cgroups.of(looked_at).get("memory") or cgroups.of(looked_at).get("unified", ""),
            effective=len(capabilities.of(looked_at).effective),
            bounding=len(capabilities.of(looked_at).bounding),
            user=status["Uid"].split()[1],
            cwd=os.readlink(f"/proc/{looked_at}/cwd"),
            seccomp={"0": "none", "2": "filter"}.get(status.get("Seccomp", "0"), "strict"),
            no_new_privileges=status.get("NoNewPrivs", "0"),
            group_files=files,
        )
    except (LabError, OSError):
        return Observation(pid, command="(ended)", group_files=files)


def _status(pid: int) -> dict[str, str]:
    with open(f"/proc/{pid}/status") as file:
        return {name: value.strip() for name, _, value in (line.partition(":") for line in file)}


def differences(before: Observation, after: Observation) -> list[str]:
    """What changed between two observations, a line each."""
    lines = []
    for name, value in after.group_files.items():
        old = before.group_files.get(name)
        if value == "there" and old is None:
            lines.append(f"+ control group {name}")
        elif value != "there" and old not in (None, value):
            lines.append(f"{name} is now {value}")
    if not before.pid and after.pid:
        return [*lines, "+ a process that will become the container; still in every namespace of the host"]
    if before.pid != after.pid:
        lines.append("+ init; the process that it was born from has ended")
    for kind, namespace in after.namespaces.items():
        if before.namespaces.get(kind) not in (None, namespace):
            lines.append(f"another {kind} namespace: {namespaces.KINDS[kind].holds}")
    if before.links != after.links:
        lines.append(f"links: only {', '.join(after.links)}")
    lines += _mount_changes(before.mounts, after.mounts, same_table=before.namespaces.get("mnt") == after.namespaces.get("mnt"))
    for what in ("cgroup", "hostname", "effective", "bounding", "user", "cwd", "seccomp", "no_new_privileges", "command"):
        old, new = getattr(before, what), getattr(after, what)
        if old != new:
            lines.append(f"{_WORDS.get(what, what)} is now {new}")
    return lines


_WORDS = {
    "cgroup": "control group",
    "hostname": "host name",
    "effective": "number of effective capabilities",
    "bounding": "number of capabilities in the bounding set",
    "cwd": "working directory",
    "no_new_privileges": "no_new_privs",
    "command": "program",
}


def _mount_changes(before: Mapping[int, tuple[str, str]], after: Mapping[int, tuple[str, str]], same_table: bool) -> list[str]:
    """Mounts that came, went, moved or changed. A new mount namespace begins as a copy, in which nothing has changed yet."""
    if not same_table:
        return []
    lines = [f"+ mount {kind.split()[0]} on {target}" for id, (target, kind) in after.items() if id not in before]
    moved = [id for id in after if id in before and before[id][0] != after[id][0]]
    if moved:
        lines.append(f"{len(moved)} mounts moved from {before[moved[0]][0]} to {after[moved[0]][0]}")
    for id, (target, kind) in after.items():
        if id in before and before[id][1] != kind:
            lines.append(f"mount {target} is now {kind}")
    gone = [target for id, (target, _) in before.items() if id not in after]
    if gone:
        lines.append(f"− mount {gone[0]}" if len(gone) == 1 else "− every mount of the host")
    return lines
