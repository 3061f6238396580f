"""How a container's processes come about: its configuration, a monitor and an init that waits, and then the word to begin.

    networks, files of /etc, user  ──▶ Spec ──▶ config.json          what ``runtime.plan(container.directory)`` shows
    Spec + the snapshot's overlay  ──▶ Plan ──▶ spawner ──▶ monitor ──▶ init, waiting
    "running" on the disk ──▶ attachers connect ──▶ init executes the program

``bear`` is called with the container's lock held. What it raises has left no process; ``told`` puts it in Docker's words.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from errno import EACCES, ENOENT, ENOEXEC
from typing import TYPE_CHECKING

from labkit.engine import etc_files, logs, oci, oci_mounts, passwd, times
from labkit.engine.container_file import Process, State
from labkit.errors import Conflict, InvalidInput, KernelError, LabError
from labkit.linux import mounts, processes
from labkit.runtime import container as runtime
from labkit.runtime import planner
from labkit.runtime import state as runtime_state
from labkit.runtime.client import Job
from labkit.runtime.spawner import Request
from labkit.runtime.steps.filesystem import MountRoot

if TYPE_CHECKING:
    from labkit.engine.container import Container
    from labkit.runtime.plans import Plan

_PREFIX = "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: "


def bear(container: Container) -> None:
    """Create, connect those who wait for its output, execute the program. Raises ``LabError``, and then nothing is left."""
    engine = container.engine
    runtime.delete(engine.runtime_root, container.id, force=True)  # of a start that was killed half-way
    engine.networks.join(container)
    try:
        rotation = logs.rotation(container.record.HostConfig.LogConfig)
        job = Job(Request(plan(container), start=False, log=container.log_path, rotation=rotation), capture=False)
        try:
            job.hear("created")
        finally:
            job.close()
        init, monitor = _who(job.pid)
        moment = times.text(times.now())
        state = State("running", init, monitor, StartedAt=moment, FinishedAt=container.state.FinishedAt)
        container.save(State=state, HasBeenStarted=True)
        container.exited.clear()
        engine.networks.attend(container)
        while container.pending:
            container.pending.pop(0).connect(container.run_directory)
        if not (container.record.Config.OpenStdin or container.record.Config.Tty):
            _end_input(container)
        runtime.hear_started(runtime.knock(engine.runtime_root, container.id))
    except BaseException:
        runtime.delete(engine.runtime_root, container.id, force=True)
        unshare_memory(container)
        engine.networks.leave(container)
        raise


def plan(container: Container) -> Plan:
    """The plan of the container's birth, from its configuration, which is written into its directory."""
    engine, record = container.engine, container.record
    layers = [layer.upper for layer in engine.store.snapshots.stack(record.Snapshot)]
    joined = _joined(container)
    hostname = _hostname(container)
    user = passwd.resolve(record.Config.User, record.HostConfig.GroupAdd, passwd.in_layers(layers))
    networks = engine.networks
    etc_files.write(container.directory, hostname, record.HostConfig, networks.addresses(container), networks.resolver(container))
    share_memory(container)
    setting = oci.Setting(container.directory, _files(container), user, hostname, engine.cgroup_parent, joined)
    spec = oci.configuration(record, setting)
    oci.write(container.directory, spec)
    overlay = engine.store.snapshots.overlay(record.Snapshot)
    root = MountRoot("overlay", "overlay", f"{container.directory}/rootfs", overlay.options)
    return planner.create_plan(spec, container.id, container.directory, engine.runtime_root, (root,), networks.steps(container))


def _who(pid: int) -> tuple[Process, Process]:
    """Init, and its parent, the monitor."""
    init = processes.stat(pid)
    monitor = processes.stat(init.ppid) if init else None
    if not init or not monitor:
        raise LabError("the container was killed before it was started")
    return Process(init.pid, init.start_time), Process(monitor.pid, monitor.start_time)


def _end_input(container: Container) -> None:
    """Nobody will ever write to it: a program that reads shall find the end, and not wait."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as monitor, runtime_state.short(container.run_directory) as directory:
            monitor.connect(f"{directory}/monitor.sock")
            monitor.send(b"e")
    except OSError as error:
        raise LabError(f"its monitor was killed ({error.strerror})") from None


def _hostname(container: Container) -> str:
    config, host = container.record.Config, container.record.HostConfig
    if host.UTSMode == "host" or (host.NetworkMode == "host" and not config.Hostname):
        return os.uname().nodename
    if host.NetworkMode.startswith("container:"):
        return _hostname(container.engine.containers.get(host.NetworkMode.partition(":")[2]))
    return config.Hostname or container.short_id


def _files(container: Container) -> str:
    """Whose hosts and resolv.conf it has: who is in another container's network knows the same names as that one."""
    mode = container.record.HostConfig.NetworkMode
    return _files(container.engine.containers.get(mode.partition(":")[2])) if mode.startswith("container:") else container.directory


def _joined(container: Container) -> dict[str, int]:
    """The first processes of the containers whose namespaces this one shares, by kind."""
    host = container.record.HostConfig
    found = {}
    for kind, mode in {"network": host.NetworkMode, "pid": host.PidMode, "ipc": host.IpcMode}.items():
        if mode.startswith("container:"):
            other = container.engine.containers.get(mode.partition(":")[2])
            if not other.state.alive:
                what = {"network": "network", "pid": "PID namespace", "ipc": "IPC"}[kind]
                raise Conflict(f"cannot join {what} of a non running container: {other.id}")
            if kind == "ipc" and other.record.HostConfig.IpcMode not in ("shareable", "host"):
                hint = "(hint: use IpcMode:shareable for the donor container)"
                raise InvalidInput(f"cannot join IPC of container {other.id}: non-shareable IPC {hint}")
            found[kind] = other.state.Init.Pid
    return found


def share_memory(container: Container) -> None:
    """The shared memory of a container that shares it lies on the host; one who joins it has a link to the other's."""
    mode, place = container.record.HostConfig.IpcMode, f"{container.directory}/shm"
    if mode == "shareable" and not os.path.ismount(place):
        os.makedirs(place, exist_ok=True)
        size = container.record.HostConfig.ShmSize or oci_mounts.SHM_SIZE
        mounts.mount("shm", place, "tmpfs", ("nosuid", "noexec", "nodev", "mode=1777", f"size={size}"))
    elif mode.startswith("container:"):
        other = container.engine.containers.get(mode.partition(":")[2])
        with suppress(FileNotFoundError):
            os.unlink(place)
        os.symlink(f"{other.directory}/shm" if other.record.HostConfig.IpcMode == "shareable" else "/dev/shm", place)


def unshare_memory(container: Container) -> None:
    """What it shared is gone with it; those who joined keep what they have mounted."""
    if container.record.HostConfig.IpcMode == "shareable" and os.path.ismount(f"{container.directory}/shm"):
        mounts.unmount(f"{container.directory}/shm", lazy=True)


def told(error: Exception) -> LabError:
    """A failure to start in Docker's words, from which clients tell what kind it is."""
    if isinstance(error, KernelError):
        if error.operation == "exec":
            why = error.hint.partition(": it is")[0] or os.strerror(error.errno).lower()
            missing = f"stat {error.object}: " if error.errno == ENOENT and "/" in error.object else ""
            return InvalidInput(f'{_PREFIX}exec: "{error.object}": {missing}{why}: unknown')
        return LabError(f"{_PREFIX}{error}: unknown")
    if isinstance(error, LabError) and type(error) is not LabError:
        return error
    return LabError(f"{_PREFIX}{error}: unknown")


def exit_code(error: Exception) -> int:
    """As a shell has it: 127 for a command that is not there, 126 for one that may not be run, else 128."""
    if isinstance(error, KernelError) and error.operation == "exec":
        return {ENOENT: 127, EACCES: 126, ENOEXEC: 126}.get(error.errno, 128)
    return 128
