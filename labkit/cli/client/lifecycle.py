"""What is done to containers that are there: ``stop``, ``kill``, ``restart``, ``pause``, ``rm``, ``rename``, ``wait``, ``update`` …

    labkit stop -t 3 web                      asks it to end, and ends it 3 seconds later
    labkit kill -s HUP web                    sends a signal
    labkit rm -f web                          however it is

Each is one request for each container; several containers are asked at the same time, and answers printed in the order of the words.
Source: ``docker stop --help`` and so on; engine-api, 3. Shown in notebook 06.
"""

from __future__ import annotations

import click

from labkit import codec
from labkit.cli import exits, human
from labkit.cli.client import answers, api, complete
from labkit.cli.client.body import restart_policy
from labkit.cli.client.grammar import Failed, ask, each, option, say
from labkit.cli.client.values import BYTES, CPUS, FILTER, INT, SWAP, UINT16
from labkit.cli.grammar import switch
from labkit.cli.images import confirmed
from labkit.errors import LabError, NotFound
from labkit.records import record

_MANY = "CONTAINER [CONTAINER...]"
_SIGNAL = "Signal to send to the container"
_TIMEOUT = "Seconds to wait before killing the container"


@ask("stop", _MANY, at_least=1, complete=complete.containers("running", "paused", "restarting"))
@option("-s", "--signal", help=_SIGNAL)
@option("-t", "--timeout", "--time", "timeout", kind=INT, default=None, help=_TIMEOUT)
def stop(words: tuple[str, ...], signal: str, timeout: int | None) -> int:
    """Stop one or more running containers."""
    with api.connect() as daemon:
        return each(words, lambda name: daemon.post(f"/containers/{name}/stop", signal=signal or None, t=timeout))


@ask("restart", _MANY, at_least=1, complete=complete.containers())
@option("-s", "--signal", help=_SIGNAL)
@option("-t", "--timeout", "--time", "timeout", kind=INT, default=None, help=_TIMEOUT)
def restart(words: tuple[str, ...], signal: str, timeout: int | None) -> int:
    """Restart one or more containers."""
    with api.connect() as daemon:
        return each(words, lambda name: daemon.post(f"/containers/{name}/restart", signal=signal or None, t=timeout))


@ask("kill", _MANY, at_least=1, complete=complete.containers("running", "paused"))
@option("-s", "--signal", help=_SIGNAL)
def kill(words: tuple[str, ...], signal: str) -> int:
    """Kill one or more running containers."""
    with api.connect() as daemon:
        return each(words, lambda name: daemon.post(f"/containers/{name}/kill", signal=signal or None))


@ask("pause", _MANY, at_least=1, complete=complete.containers("running"))
def pause(words: tuple[str, ...]) -> int:
    """Pause all processes within one or more containers."""
    with api.connect() as daemon:
        return each(words, lambda name: daemon.post(f"/containers/{name}/pause"))


@ask("unpause", _MANY, at_least=1, complete=complete.containers("paused"))
def unpause(words: tuple[str, ...]) -> int:
    """Unpause all processes within one or more containers."""
    with api.connect() as daemon:
        return each(words, lambda name: daemon.post(f"/containers/{name}/unpause"))


@ask("rm", _MANY, at_least=1, complete=complete.containers())
@switch("-f", "--force", help="Force the removal of a running container (uses SIGKILL)")
@switch("-l", "--link", help="Remove the specified link")
@switch("-v", "--volumes", help="Remove anonymous volumes associated with the container")
def rm(words: tuple[str, ...], force: bool, link: bool, volumes: bool) -> int:
    """Remove one or more containers."""

    def remove(name: str) -> str | None:
        try:
            daemon.delete(f"/containers/{name.strip('/')}", force=force or None, link=link or None, v=volumes or None)
        except NotFound as error:
            if not force:
                raise
            say(str(error))  # what should be gone is gone
            return ""
        return None

    with api.connect() as daemon:
        return each(words, remove)


@ask("rename", "CONTAINER NEW_NAME", at_least=2, at_most=2, complete=complete.one_container())
def rename(words: tuple[str, ...]) -> int:
    """Rename a container."""
    old, new = words
    with api.connect() as daemon:
        try:
            daemon.post(f"/containers/{old}/rename", name=new)
        except LabError as error:
            raise Failed(f"{error}\nError: failed to rename container named {old}") from None
    return exits.DONE


@ask("wait", _MANY, at_least=1, complete=complete.containers("running", "paused"))
def wait(words: tuple[str, ...]) -> int:
    """Block until one or more containers stop, then print their exit codes."""
    with api.connect() as daemon:
        return each(words, lambda name: str(codec.decode(answers.Exit, daemon.post(f"/containers/{name}/wait")).StatusCode))


@ask("update", _MANY, at_least=1, complete=complete.containers())
@option("--blkio-weight", kind=UINT16, default=None, help="Block IO (relative weight), between 10 and 1000, or 0 to disable")
@option("--cpu-period", kind=INT, default=None, help="Limit CPU CFS (Completely Fair Scheduler) period")
@option("--cpu-quota", kind=INT, default=None, help="Limit CPU CFS (Completely Fair Scheduler) quota")
@option("--cpu-rt-period", kind=INT, default=None, help="Limit the CPU real-time period in microseconds")
@option("--cpu-rt-runtime", kind=INT, default=None, help="Limit the CPU real-time runtime in microseconds")
@option("-c", "--cpu-shares", kind=INT, default=None, help="CPU shares (relative weight)")
@option("--cpus", kind=CPUS, default=None, help="Number of CPUs")
@option("--cpuset-cpus", default=None, help="CPUs in which to allow execution (0-3, 0,1)")
@option("--cpuset-mems", default=None, help="MEMs in which to allow execution (0-3, 0,1)")
@option("-m", "--memory", kind=BYTES, default=None, help="Memory limit")
@option("--memory-reservation", kind=BYTES, default=None, help="Memory soft limit")
@option("--memory-swap", kind=SWAP, default=None, help="Swap limit equal to memory plus swap: -1 to enable unlimited swap")
@option("--pids-limit", kind=INT, default=None, help="Tune container pids limit (set -1 for unlimited)")
@option("--restart", default=None, help="Restart policy to apply when a container exits")
def update(words: tuple[str, ...], restart: str | None, **given: object) -> int:
    """Update configuration of one or more containers."""
    body = {_FIELDS[name]: value for name, value in given.items() if value is not None}
    if restart is not None:
        body["RestartPolicy"] = restart_policy(restart)
    if not body:
        raise Failed("you must provide one or more flags when using this command")
    warnings: list[str] = []

    def change(name: str) -> None:
        warnings.extend(codec.decode(_Warned, daemon.post(f"/containers/{name}/update", body) or {}).Warnings)

    with api.connect() as daemon:
        code = each(words, change)
    say("\n".join(warnings))
    return code


@ask("prune", at_most=0)
@option("--filter", kind=FILTER, many=True, help='Provide filter values (e.g. "until=<timestamp>")')
@switch("-f", "--force", help="Do not prompt for confirmation")
def prune(filter: tuple[str, ...], force: bool) -> None:
    """Remove all stopped containers."""
    if not force and not confirmed("WARNING! This will remove all stopped containers."):
        return
    with api.connect() as daemon:
        pruned = codec.decode(answers.Pruned, daemon.post("/containers/prune", filters=api.filters(filter)))
    if pruned.ContainersDeleted:
        click.echo("\n".join(("Deleted Containers:", *pruned.ContainersDeleted, "")))
    click.echo(f"Total reclaimed space: {human.size(pruned.SpaceReclaimed, 4)}")


@record
class _Warned:
    Warnings: tuple[str, ...] = ()


_FIELDS = {
    "blkio_weight": "BlkioWeight", "cpu_period": "CpuPeriod", "cpu_quota": "CpuQuota", "cpu_rt_period": "CpuRealtimePeriod",
    "cpu_rt_runtime": "CpuRealtimeRuntime", "cpu_shares": "CpuShares", "cpus": "NanoCpus", "cpuset_cpus": "CpusetCpus",
    "cpuset_mems": "CpusetMems", "memory": "Memory", "memory_reservation": "MemoryReservation", "memory_swap": "MemorySwap",
    "pids_limit": "PidsLimit",
}  # fmt: skip
