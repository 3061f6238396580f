"""A plan applied one step at a time, with the kernel's state before and after each: the debugger of a container's birth.

    >>> plan = runtime.plan("/tmp/bundle")
    >>> plan.step()
    1/38 host: mkdir labkit/box in 9 cgroup hierarchies
      + control group labkit/box
    >>> print(plan.reach(PivotRoot))           # all up to the first step of this kind, and that one
    >>> plan.finish().stdout                   # the rest at full speed

The steps are applied where they always are, in a monitor and in the process that becomes the container; it only waits for the
word before each. What the kernel says of that process is read from outside, in ``/proc``. Whoever begins to step a container
gives up what this program has stepped under the same id before, so a notebook's cells may be run again. Notebook 04 steps with it.
"""

from __future__ import annotations

import os
import socket
from dataclasses import field
from typing import TYPE_CHECKING

from labkit.errors import Conflict, LabError
from labkit.linux import capabilities, cgroups, links, mountinfo, namespaces, processes, rlimits
from labkit.linux.capabilities import Capabilities
from labkit.records import record
from labkit.runtime.client import Finished, Job
from labkit.runtime.spawner import Request
from labkit.runtime.steps.groups import MakeCgroup, SetCgroupFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labkit.linux.namespaces import Namespace
    from labkit.runtime.plans import Plan, Step


@record
class Observation:
    """What the kernel says of the container's process; of the host, as long as there is none."""

    pid: int
    command: str = ""
    namespaces: Mapping[str, Namespace] = field(default_factory=dict)
    mounts: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    """By the kernel's number for the mount: target, and "type (rw)" or "type (ro)"."""
    links: tuple[str, ...] = ()
    """``lo (down)``, ``lo (up)``, …"""
    devices: tuple[str, ...] = ()
    """The names in what is or will be its /dev."""
    hostname: str = ""
    cgroup: str = ""
    capabilities: Capabilities = Capabilities()
    user: str = ""
    session: str = ""
    open_files: int = 0
    """How many files it may have open at once (RLIMIT_NOFILE)."""
    cwd: str = ""
    seccomp: str = ""
    no_new_privileges: str = ""
    group_files: Mapping[str, str] = field(default_factory=dict)
    """The container's cgroup files that the plan sets, if the group is there."""


@record
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
    """A stepped plan: its monitor, and what was done so far."""

    def __init__(self, plan: Plan) -> None:
        former = _open.get(plan.directory)
        if former:
            former.abandon()
        self.plan = plan
        self.history: list[Progress] = []
        self.job = Job(Request(plan, stepped=True, remove=True))
        self.job.hear("applied")
        self.now = observe(plan, 0)
        _open[plan.directory] = self

    @property
    def applied(self) -> int:
        """How many steps are done."""
        return len(self.history)

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
            self._close()
            raise
        self.now = observe(self.plan, self.job.pid or before.pid)
        progress = Progress(self.applied + 1, len(self.plan), step, before, self.now)
        self.history.append(progress)
        return progress

    def finish(self) -> Finished:
        """The rest at full speed, and the program's end."""
        if self.applied < len(self.plan):
            self.job.say("rest")
        try:
            return self.job.finish()
        finally:
            self._close()

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
        self._close()

    def _close(self) -> None:
        self.job.close()
        self.plan._session = None
        _open.pop(self.plan.directory, None)


_open: dict[str, Session] = {}


def sessions() -> tuple[Session, ...]:
    """The plans that this program is stepping."""
    return tuple(_open.values())


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
        with namespaces.entered(looked_at, "net"):
            interfaces = tuple(f"{name} ({'up' if links.is_up(name) else 'down'})" for name in links.names())
        return Observation(
            pid,
            command=status["Name"],
            namespaces=namespaces.of(looked_at),
            mounts={each.id: (each.target, f"{each.fstype} ({'ro' if each.readonly else 'rw'})") for each in mountinfo.table(looked_at)},
            links=interfaces,
            devices=_devices(f"/proc/{looked_at}/root", plan.container.rootfs),
            hostname=hostname,
            cgroup=cgroups.of(looked_at).get("memory") or cgroups.of(looked_at).get("unified", ""),
            capabilities=capabilities.of(looked_at),
            user=status["Uid"].split()[1],
            session="its own" if os.getsid(looked_at) == looked_at else "that of labkit",
            open_files=rlimits.of(looked_at)["RLIMIT_NOFILE"][0],
            cwd=os.readlink(f"/proc/{looked_at}/cwd"),
            seccomp={"0": "none", "2": "filter"}.get(status.get("Seccomp", "0"), "strict"),
            no_new_privileges=status.get("NoNewPrivs", "0"),
            group_files=files,
        )
    except (LabError, OSError):
        return Observation(pid, command="(ended)", group_files=files)


def _devices(root: str, rootfs: str) -> tuple[str, ...]:
    """Before the root is changed, the container's /dev lies below the directory that will be ``/``."""
    for directory in (f"{root}{rootfs}/dev", f"{root}/dev"):
        if os.path.isdir(directory):
            return tuple(sorted(os.listdir(directory)))
    return ()


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
    if not after.namespaces:
        return [*lines, "the process has ended"] if before.namespaces else lines
    is_newborn = bool(after.pid and not before.pid)
    if is_newborn:
        lines.append("+ init, a copy of labkit for now: it will become the container")
    elif before.pid != after.pid:
        lines.append("+ init; the process that it was born from has ended")
    for kind, namespace in after.namespaces.items():
        if before.namespaces.get(kind) not in (None, namespace):
            lines.append(f"another {kind} namespace: {namespaces.KINDS[kind].holds}")
    lines += _mount_changes(before.mounts, after.mounts, same_table=before.namespaces.get("mnt") == after.namespaces.get("mnt"))
    # Of a newborn, what it has from its parent is no news.
    was, now = facts(before), facts(after)
    wanted = ("network", "control group") if is_newborn else tuple(now)
    return lines + [f"{what} is now {now[what]}" for what in wanted if was[what] != now[what]]


def facts(seen: Observation) -> dict[str, str]:
    """What was seen, in words."""
    return {
        "network": ", ".join(seen.links),
        "control group": seen.cgroup,
        "host name": seen.hostname,
        "/dev": " ".join(seen.devices),
        "session": seen.session,
        "limit of open files": str(seen.open_files),
        "working directory": seen.cwd,
        "user": seen.user,
        "bounding set": _count(seen.capabilities.bounding),
        "effective set": _count(seen.capabilities.effective),
        "no_new_privs": seen.no_new_privileges,
        "seccomp": seen.seccomp,
        "program": seen.command,
    }


def _count(names: frozenset[str]) -> str:
    short = [name.removeprefix("CAP_") for name in sorted(names)]
    return f"{len(names)} capabilities" if len(names) > 4 else ", ".join(short) or "empty"


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
