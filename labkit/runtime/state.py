"""What labkit remembers of a container: a directory of files that ``cat`` can read.

    /run/labkit/runtime/ID/
        state.json     who it is, and the journal: what must be undone when it is gone  (written by rename, first of all)
        start.sock     init listens here until it is started; its being there tells "created" from "running"
        monitor.sock   the monitor's door, if it has one
        exit.json      how it ended, by its monitor

A container's status is not stored but seen, as OCI runtime-spec 1.1 defines it (runtime.md#state):

    creating ──▶ created ──▶ running ──▶ stopped        paused: running, and its control group is frozen
    no pid yet   start.sock  no start.sock  no live init
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping  # not only for types: codec evaluates State's annotations
from contextlib import contextmanager, suppress
from dataclasses import field, replace
from typing import TYPE_CHECKING

from labkit import codec
from labkit.errors import Conflict, InvalidInput, KernelError, NotFound
from labkit.linux import processes
from labkit.records import record
from labkit.runtime.spec import Hooks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.runtime.plans import Plan, Step

ROOT = "/run/labkit/runtime"
LESSONS = "/run/labkit/lessons"


@record
class State:
    """A container on this machine. ``startTime`` makes ``pid`` safe: the kernel gives numbers out again."""

    id: str
    bundle: str
    rootfs: str
    cgroup: str
    created: str = ""
    pid: int = 0
    startTime: int = 0
    annotations: Mapping[str, str] = field(default_factory=dict)
    hooks: Hooks = Hooks()
    journal: tuple[Mapping[str, object], ...] = ()
    """The steps to be undone, last first: ``{"step": "MakeCgroup", …}``."""


def check_id(id: str) -> str:
    """The id, if it can name a directory and a cgroup. Raises ``InvalidInput``."""
    if not id or not all(c.isascii() and (c.isalnum() or c in "_+-.") for c in id) or id in (".", "..") or len(id) > 200:
        raise InvalidInput(f"container id: {id!r} must be made of letters, digits and _ + - . (at most 200)")
    return id


def directory(root: str, id: str) -> str:
    """Where the container's files are."""
    return f"{root}/{check_id(id)}"


def reserve(plan: Plan, created: str) -> State:
    """Take the id, and write down what will have to be undone: before anything is done. ``Conflict`` if it is taken."""
    try:
        os.makedirs(plan.root, mode=0o711, exist_ok=True)
    except OSError as error:
        raise KernelError.of(error, "mkdir", plan.root) from None
    try:
        os.mkdir(plan.directory, 0o711)
    except FileExistsError:
        raise Conflict(f"container {plan.id}: there is one of that id (`labkit runtime delete {plan.id}` removes it)") from None
    except OSError as error:
        raise KernelError.of(error, "mkdir", plan.directory) from None
    journal = tuple({"step": _name(step), **_fields(step)} for step in plan.journal())
    reserved = replace(plan.container, created=created, journal=journal)
    try:
        save(plan.root, reserved)
    except KernelError:
        forget(plan.root, plan.id)
        raise
    return reserved


def _name(step: Step) -> str:
    """What ``steps.undoable`` finds the step's class by: its name, with its module if that is not the runtime's own."""
    kind = type(step)
    return kind.__name__ if kind.__module__.startswith("labkit.runtime.") else f"{kind.__module__}.{kind.__name__}"


def _fields(step: Step) -> dict[str, object]:
    encoded = codec.encode(step)
    assert isinstance(encoded, dict)
    return encoded


def save(root: str, state: State) -> None:
    """Write ``state.json``."""
    _write(f"{directory(root, state.id)}/state.json", codec.encode(state))


def record_exit(root: str, id: str, code: int) -> None:
    """Write ``exit.json``: the exit code, or 128 + the signal, and when (seconds since 1970)."""
    try:
        _write(f"{directory(root, id)}/exit.json", {"code": code, "time": time.time()})
    except FileNotFoundError:
        pass  # deleted while it ran


def exit_code(root: str, id: str) -> int | None:
    """How the container's init ended, if its monitor saw it."""
    try:
        with open(f"{directory(root, id)}/exit.json") as file:
            return int(json.load(file)["code"])
    except FileNotFoundError:
        return None


def load(root: str, id: str) -> State:
    """What is known of a container; ``NotFound`` if there is none of that id."""
    try:
        with open(f"{directory(root, id)}/state.json") as file:
            return codec.decode(State, json.load(file))
    except FileNotFoundError:
        raise NotFound(f"container {id}: does not exist") from None


def ids(root: str) -> list[str]:
    """The ids of all containers under a root, in order."""
    try:
        return sorted(name for name in os.listdir(root) if os.path.exists(f"{root}/{name}/state.json"))
    except FileNotFoundError:
        return []


def status(root: str, state: State) -> str:
    """creating, created, running, paused or stopped, from what the kernel says now."""
    if not state.pid:
        return "creating"
    if not processes.alive(state.pid, state.startTime):
        return "stopped"
    if os.path.exists(f"{directory(root, state.id)}/start.sock"):
        return "created"
    from labkit.linux import cgroups

    return "paused" if cgroups.Cgroup(state.cgroup).frozen else "running"


def with_pid(state: State, pid: int) -> State:
    """The state of a container whose init is born."""
    found = processes.stat(pid)
    return replace(state, pid=pid, startTime=found.start_time if found else 0)


def undo(root: str, id: str) -> None:
    """Undo what the journal of a container lists, and forget it. Works for one whose creation died half-way, too."""
    for step in _journaled(root, id):
        step.undo()
    forget(root, id)


def shut(root: str, id: str) -> None:
    """Undo what leads others to a container that has ended; the rest waits for whoever made it, who wants to know how it ended."""
    for step in _journaled(root, id):
        if step.leads_in:
            step.undo()


def _journaled(root: str, id: str) -> Iterator[Step]:
    """The steps that its journal lists; none if it died before it had done anything."""
    from labkit.runtime import steps

    with suppress(NotFound):
        for entry in load(root, id).journal:
            fields = dict(entry)
            yield codec.decode(steps.undoable(str(fields.pop("step"))), fields)


def forget(root: str, id: str) -> None:
    """Remove the container's directory; what is gone is fine."""
    where = directory(root, id)
    going = f"{root}/.{id}.gone"
    try:
        os.rename(where, going)  # at once, so that a monitor that writes down the exit finds either all or nothing
    except FileNotFoundError:
        return
    _clear(going)


@contextmanager
def short(directory: str) -> Iterator[str]:
    """A name of a directory that fits into a socket's address, which holds 107 bytes (``man 7 unix``)."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def finish_forgetting(root: str) -> None:
    """Remove what is left of directories whose removal was interrupted."""
    for name in os.listdir(root) if os.path.isdir(root) else ():
        if name.startswith(".") and name.endswith(".gone"):
            _clear(f"{root}/{name}")


def _clear(going: str) -> None:
    try:
        for name in os.listdir(going):
            os.unlink(f"{going}/{name}")
        os.rmdir(going)
    except FileNotFoundError:
        pass  # whoever had begun goes on with it


def _write(path: str, data: object) -> None:
    temporary = f"{path}.new"
    try:
        with open(temporary, "w") as file:
            file.write(json.dumps(data) + "\n")  # in one piece: with an indent json is ten times slower
        os.rename(temporary, path)
    except FileNotFoundError:
        raise  # the container is deleted
    except OSError as error:
        raise KernelError.of(error, "write", path) from None
