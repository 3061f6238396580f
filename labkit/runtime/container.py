"""The life of a container, from the outside: create, start, exec, kill, pause, delete.

    create ──▶ created ──start──▶ running ──(its program ends, or kill)──▶ stopped ──delete──▶ gone

These functions act in the calling process, as ``runc`` does: whoever creates is the parent of the container's init. They are
for the command line and for monitors, which have a single thread; a notebook uses ``labkit.runtime.run`` and its friends.

Source: OCI runtime-spec 1.1, runtime.md. Taught in notebook 04-a-container-from-parts.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from labkit.errors import Conflict, InvalidInput, KernelError, LabError, NotFound
from labkit.linux import cgroups, processes
from labkit.runtime import planner, spec, state
from labkit.runtime.conduct import conduct, withdraw
from labkit.runtime.handshake import give_word, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from labkit.runtime.context import Context
    from labkit.runtime.plans import Plan, Run
    from labkit.runtime.spec import Hook, Process
    from labkit.runtime.state import State
    from labkit.runtime.steps.filesystem import MountRoot


PATIENCE = 10.0
"""Seconds until labkit gives up on the end of processes that it has killed."""


def plan(bundle: str, id: str, root: str = state.ROOT, rootfs: Sequence[MountRoot] = ()) -> Plan:
    """The plan of the container that the bundle describes; nothing is done yet. Raises ``InvalidInput`` with the field."""
    return planner.create_plan(spec.load(bundle), state.check_id(id), bundle, root, rootfs)


def create(context: Context, pace: Callable[[Run], None] | None = None) -> State:
    """Apply a container's plan up to the point where its init waits to be started. On failure nothing is left."""
    plan = context.plan
    born = state.reserve(plan, _now())
    try:
        _refuse_company(plan)
    except LabError:
        state.forget(plan.root, plan.id)  # and undo nothing: to undo a group is to kill whoever is in it
        raise
    try:
        context.start_socket = _listener(plan.directory)
        conduct(context, pace)
        context.start_socket.close()
        born = state.with_pid(born, context.pid)
        state.save(plan.root, born)
        give_word(context)
    except BaseException:
        withdraw(context)
        state.forget(plan.root, plan.id)
        _run_hooks(born, "poststop", _told(born, "stopped"))
        raise
    return born


def _listener(directory: str) -> socket.socket:
    """Where init hears that it is started."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        with state.short(directory) as short:
            listener.bind(f"{short}/start.sock")
    except OSError as error:
        raise KernelError.of(error, "bind", f"{directory}/start.sock") from None
    listener.listen(1)
    return listener


def _refuse_company(plan: Plan) -> None:
    """A container's group is its own: it is limited, frozen, killed and removed with it."""
    group = cgroups.Cgroup(plan.container.cgroup)
    if pids := group.processes():
        raise Conflict(
            f"cgroup {group.path}: processes {', '.join(map(str, pids))} are in it already;"
            " a container needs one of its own (linux.cgroupsPath)"
        )


def start(root: str, id: str) -> None:
    """Let a created container's init execute its program. Raises ``KernelError`` if it cannot; the container is stopped then."""
    container = state.load(root, id)
    hear_started(knock(root, id))
    _run_hooks(container, "poststart", _told(container, "running"))


def knock(root: str, id: str) -> socket.socket:
    """Connect to the init of a created container and give it the word; the connection ends when its program is executed."""
    where = state.directory(root, id)
    try:
        os.rename(f"{where}/start.sock", f"{where}/starting.sock")  # of two who start it, one gets it
    except FileNotFoundError:
        status = state.status(root, state.load(root, id))
        raise Conflict(f"container {id}: cannot be started: it is {status}, not created") from None
    starter = socket.socket(socket.AF_UNIX)
    with state.short(where) as directory:
        try:
            starter.connect(f"{directory}/starting.sock")
        except ConnectionRefusedError:
            raise Conflict(f"container {id}: cannot be started: its init was killed") from None
        finally:
            os.unlink(f"{directory}/starting.sock")
    starter.sendall(b"start")
    return starter


def hear_started(starter: socket.socket) -> None:
    """Wait until init has executed its program. Raises what kept it from doing so."""
    with starter, starter.makefile("rb") as answer:
        error = answer.read()  # ends when execve closes init's end
    if error:
        raise unpacked(json.loads(error)["failed"])


def execute(context: Context) -> int:
    """Apply the plan of one more process in a container; its PID. It is the caller's child."""
    try:
        conduct(context)
    except BaseException:
        withdraw(context)
        raise
    return context.pid


def exec_plan(root: str, id: str, program: Process) -> Plan:
    """The plan of one more process in a running container."""
    container = state.load(root, id)
    status = state.status(root, container)
    if status not in ("created", "running"):
        raise Conflict(f"container {id}: cannot execute in it: it is {status}")
    return planner.exec_plan(spec.load(container.bundle), program, container, root)


def kill(root: str, id: str, signal_name: str = "TERM", everyone: bool = False) -> None:
    """Send a signal to the container's init, or to every process in it. ``Conflict`` if it is stopped."""
    number = processes.signal_number(signal_name)
    container = state.load(root, id)
    if everyone:
        for pid in cgroups.Cgroup(container.cgroup).processes():
            try:
                processes.send(pid, number)
            except NotFound:
                continue
        return
    try:
        processes.send(container.pid, number, container.startTime)
    except NotFound:
        raise Conflict(f"container {id}: cannot be sent a signal: it is {state.status(root, container)}") from None


def delete(root: str, id: str, force: bool = False) -> None:
    """Remove what is left of a stopped container; with ``force`` kill it first, and do not mind if there is none."""
    try:
        container = state.load(root, id)
    except NotFound:
        if not force:
            raise
        state.undo(root, id)
        return
    status = state.status(root, container)
    if status in ("creating", "running", "paused") and not force:
        raise Conflict(f"container {id}: cannot be deleted: it is {status} (stop it, or use --force)")
    if status != "stopped" and container.pid:
        _end(container)
    state.undo(root, id)
    _run_hooks(container, "poststop", _told(container, "stopped"))


def _end(container: State) -> None:
    """Kill init, with it its PID namespace, and wait for its end. Raises ``LabError`` if that takes longer than it can."""
    try:
        pidfd = processes.pidfd(container.pid, container.startTime)
    except NotFound:
        return
    try:
        cgroup = cgroups.Cgroup(container.cgroup)
        members = cgroup.processes()
        processes.send(container.pid, 9, container.startTime)
        if cgroup.frozen:
            cgroup.thaw()  # a frozen process dies when it is thawed
        deadline = time.monotonic() + PATIENCE
        while not processes.wait(pidfd, 0.05):
            # Init's end waits until all others in its PID namespace are reaped: by us, where we are a subreaper that they fell to.
            for pid in members:
                with suppress(ChildProcessError):
                    if pid != container.pid:
                        os.waitpid(pid, os.WNOHANG)
            if time.monotonic() > deadline:
                raise LabError(f"container {container.id}: its processes {members} are killed, but their parents do not wait for them")
    except NotFound:
        return
    finally:
        os.close(pidfd)


def pause(root: str, id: str) -> None:
    """Freeze every process of a running container."""
    container = state.load(root, id)
    status = state.status(root, container)
    if status not in ("running", "created"):
        raise Conflict(f"container {id}: cannot be paused: it is {status}")
    cgroups.Cgroup(container.cgroup).freeze()


def resume(root: str, id: str) -> None:
    """Let a paused container go on."""
    container = state.load(root, id)
    status = state.status(root, container)
    if status != "paused":
        raise Conflict(f"container {id}: cannot be resumed: it is {status}, not paused")
    cgroups.Cgroup(container.cgroup).thaw()


def members(root: str, id: str) -> tuple[int, ...]:
    """The PIDs, on the host, of all processes in the container."""
    return cgroups.Cgroup(state.load(root, id).cgroup).processes()


def update(root: str, id: str, resources: str) -> None:
    """Change the limits of a container; ``resources`` is JSON as in ``linux.resources``."""
    from labkit import codec
    from labkit.runtime.limits import limits
    from labkit.runtime.spec_linux import Resources

    container = state.load(root, id)
    try:
        wanted = codec.decode(Resources, json.loads(resources), "linux.resources")
    except ValueError as error:
        raise InvalidInput(f"linux.resources: is not JSON: {error}") from None
    cgroups.Cgroup(container.cgroup).limit(limits(wanted))


def describe(root: str, id: str) -> dict[str, object]:
    """The container's state in the specification's words, and what runc adds to them."""
    container = state.load(root, id)
    told = _told(container, state.status(root, container))
    return {**told, "rootfs": container.rootfs, "created": container.created, "owner": ""}


def _told(container: State, status: str) -> dict[str, object]:
    """The state as hooks are told it (runtime.md#state)."""
    return {
        "ociVersion": "1.1.0",
        "id": container.id,
        "pid": 0 if status == "stopped" else container.pid,
        "status": status,
        "bundle": container.bundle,
        "annotations": dict(container.annotations),
    }


def destroy_all(root: str) -> list[str]:
    """Kill and delete every container under a root, those included whose creation died half-way; their ids."""
    found = state.ids(root)
    for id in found:
        try:
            delete(root, id, force=True)
        except LabError:
            state.undo(root, id)
    return found


def _run_hooks(container: State, moment: str, told: dict[str, object]) -> None:
    """Hooks after the fact: the specification wants their failure to be a warning and no more."""
    hooks: Sequence[Hook] = getattr(container.hooks, moment)
    if not hooks:
        return
    from labkit.runtime.steps.hooks import run_hook

    for hook in hooks:
        try:
            run_hook(moment, hook, told)
        except LabError as error:
            print(f"labkit: warning: {error}", file=sys.stderr)


def _now() -> str:
    nanoseconds = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(nanoseconds // 10**9)) + f".{nanoseconds % 10**9:09d}Z"
