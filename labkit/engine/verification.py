"""What Docker refuses before it makes a container or changes its limits, in Docker's words.

    >>> verification.check_resources(HostConfig(Memory=1 << 20))
    InvalidInput: Minimum memory limit allowed is 6MB

What is unusual but possible is a warning. What the kernel alone can tell, it tells when the container starts. Source: moby's
``daemon/container.go`` and ``daemon/daemon_unix.go``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from labkit.engine import mounting, oci, oci_mounts, oci_resources
from labkit.engine.config import Config, HostConfig, Resources, RestartPolicy
from labkit.errors import InvalidInput
from labkit.linux import processes, rlimits, sysctls

LEAST_MEMORY = 6 << 20
_LOG_OPTIONS = frozenset(
    {"max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "tag", "mode", "max-buffer-size"}
)
_MODE = re.compile(r"container:.+")


def check(config: Config, host: HostConfig) -> tuple[str, ...]:
    """Everything. Raises ``InvalidInput``; returns warnings."""
    _check_process(config)
    _check_modes(host)
    check_restart_policy(host.RestartPolicy, host.AutoRemove)
    _check_log(host)
    warnings = tuple(check_resources(host))
    oci.granted(host)
    oci.security_options(host)
    mounting.check(config, host)
    _check_ports(config, host)
    _check_sysctls(host)
    if host.ShmSize < 0:
        raise InvalidInput("SHM size can not be less than 0")
    if not -1000 <= host.OomScoreAdj <= 1000:
        raise InvalidInput(f"Invalid value {host.OomScoreAdj}, range for oom score adj is [-1000, 1000]")
    if host.Runtime not in ("", "runc", "labkit"):
        raise InvalidInput(f"unknown or invalid runtime name: {host.Runtime}")
    if host.Init:
        oci_mounts.init_program()
    return warnings


def _check_process(config: Config) -> None:
    if config.WorkingDir and not config.WorkingDir.startswith("/"):
        raise InvalidInput(f"the working directory '{config.WorkingDir}' is invalid, it needs to be an absolute path")
    for entry in config.Env:
        if not entry.partition("=")[0]:
            raise InvalidInput(f"invalid environment variable: {entry}")
    if not config.command[0]:
        raise InvalidInput("no command specified")
    if len(config.Hostname) > 63:
        raise InvalidInput(f"invalid hostname: {config.Hostname:.80} is longer than 63 characters")
    if config.StopSignal:
        try:
            processes.signal_number(config.StopSignal)
        except InvalidInput:
            raise InvalidInput(f"Invalid signal: {config.StopSignal}") from None


def _check_modes(host: HostConfig) -> None:
    for what, mode, known in (
        ("PID", host.PidMode, ("", "host", "private")),
        ("IPC", host.IpcMode, ("", "host", "none", "private", "shareable")),
        ("UTS", host.UTSMode, ("", "host")),
        ("cgroup namespace", host.CgroupnsMode, ("", "host", "private")),
    ):
        if mode not in known and not (what in ("PID", "IPC") and _MODE.fullmatch(mode)):
            raise InvalidInput(f"invalid {what} mode: {mode}")


def _check_sysctls(host: HostConfig) -> None:
    """Only settings that a namespace of the container's own has: all others are the machine's."""
    shared = {"net": host.NetworkMode == "host", "ipc": host.IpcMode == "host", "uts": host.UTSMode == "host", "user": True}
    for name in host.Sysctls:
        kind = sysctls.namespaced(name)
        if kind is None or shared[kind]:
            raise InvalidInput(f'sysctl "{name:.200}" is not in a separate kernel namespace')


def check_restart_policy(policy: RestartPolicy, auto_remove: bool = False) -> None:
    """``InvalidInput`` for a policy that is none, or that contradicts itself."""
    if policy.Name not in ("", "no", "always", "unless-stopped", "on-failure"):
        raise InvalidInput(f"invalid restart policy '{policy.Name}'")
    if policy.MaximumRetryCount < 0:
        raise InvalidInput("maximum retry count cannot be negative")
    if policy.MaximumRetryCount and policy.Name not in ("on-failure",):
        raise InvalidInput(f"maximum retry count cannot be used with restart policy '{policy.Name or 'no'}'")
    if auto_remove and policy.Name not in ("", "no"):
        raise InvalidInput("can't create 'AutoRemove' container with restart policy")


def _check_log(host: HostConfig) -> None:
    kind = host.LogConfig.Type
    if kind not in ("", "json-file", "none"):
        raise InvalidInput(f"logger: no log driver named '{kind}' is registered (labkit has json-file and none)")
    for option, value in host.LogConfig.Config.items():
        if option not in _LOG_OPTIONS or kind == "none":
            raise InvalidInput(f"unknown log opt '{option}' for {kind or 'json-file'} log driver")
        if option == "max-file" and (not value.isdecimal() or int(value) < 1):
            raise InvalidInput(f"max-file cannot be less than 1: {value!r}")
        if option == "max-size" and not re.fullmatch(r"\d+(\.\d+)?\s*[kmgtKMGT]?i?[bB]?", value) and value != "-1":
            raise InvalidInput(f"invalid size: '{value}'")


def check_resources(wanted: Resources) -> Iterator[str]:
    """The limits. Raises ``InvalidInput``; yields warnings."""
    for ulimit in wanted.Ulimits:
        if f"RLIMIT_{ulimit.Name.upper()}" not in rlimits.NAMES:
            raise InvalidInput(f"invalid ulimit type: {ulimit.Name}")
        if ulimit.Hard != -1 and (ulimit.Soft > ulimit.Hard or ulimit.Soft == -1):
            raise InvalidInput(f"ulimit soft limit must be less than or equal to hard limit: {ulimit.Soft} > {ulimit.Hard}")
    yield from _check_memory(wanted)
    _check_cpu(wanted)
    if wanted.BlkioWeight and not 10 <= wanted.BlkioWeight <= 1000:
        raise InvalidInput("Range of blkio weight is from 10 to 1000")
    oci_resources.devices(HostConfig(DeviceRequests=wanted.DeviceRequests))
    oci_resources.check_rules(wanted.DeviceCgroupRules)


def _check_memory(wanted: Resources) -> Iterator[str]:
    if wanted.Memory and wanted.Memory < LEAST_MEMORY:
        raise InvalidInput("Minimum memory limit allowed is 6MB")
    if wanted.Memory > 0 and 0 < wanted.MemorySwap < wanted.Memory:
        raise InvalidInput("Minimum memoryswap limit should be larger than memory limit, see usage")
    if not wanted.Memory and wanted.MemorySwap > 0:
        raise InvalidInput("You should always set the Memory limit when using Memoryswap limit, see usage")
    if wanted.MemorySwappiness not in (None, -1) and not 0 <= (wanted.MemorySwappiness or 0) <= 100:
        raise InvalidInput(f"Invalid value: {wanted.MemorySwappiness}, valid memory swappiness range is 0-100")
    if wanted.MemoryReservation and wanted.MemoryReservation < LEAST_MEMORY:
        raise InvalidInput("Minimum memory reservation allowed is 6MB")
    if 0 < wanted.Memory < wanted.MemoryReservation:
        raise InvalidInput("Minimum memory limit can not be less than memory reservation limit, see usage")
    if wanted.OomKillDisable and not wanted.Memory:
        yield (
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources."
        )
    if wanted.KernelMemory:
        yield "Kernel memory limits were taken out of Linux 5.4: KernelMemory is ignored."


def _check_cpu(wanted: Resources) -> None:
    if wanted.NanoCpus and wanted.CpuPeriod:
        raise InvalidInput("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if wanted.NanoCpus and wanted.CpuQuota:
        raise InvalidInput("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
    cpus = len(os.sched_getaffinity(0))
    if wanted.NanoCpus and not 10**7 <= wanted.NanoCpus <= cpus * 10**9:
        raise InvalidInput(f"Range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available")
    if wanted.CpuPeriod and not 1000 <= wanted.CpuPeriod <= 10**6:
        raise InvalidInput("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < wanted.CpuQuota < 1000:
        raise InvalidInput("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    for what, text, available in (("CPUs", wanted.CpusetCpus, _available("cpus")), ("memory nodes", wanted.CpusetMems, _available("mems"))):
        if not text:
            continue
        asked = _numbers(text)
        if asked is None:
            raise InvalidInput(f"Invalid value {text} for cpuset {'cpus' if what == 'CPUs' else 'mems'}")
        if available and not asked <= (_numbers(available) or set()):
            raise InvalidInput(f"Requested {what} are not available - requested {text}, available: {available}")


def _available(what: str) -> str:
    """The CPUs or memory nodes of this machine, as the kernel lists them."""
    try:
        with open({"cpus": "/sys/devices/system/cpu/online", "mems": "/sys/devices/system/node/online"}[what]) as file:
            return file.read().strip()
    except OSError:
        return ""


def _numbers(text: str) -> set[int] | None:
    """A list such as 0-2,7; None if it is none."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or int(last or first) < int(first) or int(last or first) > 8192:
            return None
        found.update(range(int(first), int(last or first) + 1))
    return found


def _check_ports(config: Config, host: HostConfig) -> None:
    for port in (*config.ExposedPorts, *host.PortBindings):
        number, _, protocol = port.partition("/")
        first, dash, last = number.partition("-")
        numbers = [first, last] if dash else [first]
        if not all(each.isdecimal() and 0 < int(each) < 65536 for each in numbers) or protocol not in ("", "tcp", "udp", "sctp"):
            raise InvalidInput(f'invalid port specification: "{port}"')
    for port, bindings in host.PortBindings.items():
        for binding in bindings or ():
            first, dash, last = binding.HostPort.partition("-")
            if binding.HostPort and not all(each.isdecimal() and int(each) < 65536 for each in ([first, last] if dash else [first])):
                raise InvalidInput(f'invalid port specification: "{binding.HostPort}" for {port}')
