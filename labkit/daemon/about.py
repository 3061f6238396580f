"""What this machine is, and what the engine has on it: ``docker info``.

Source: Docker Engine API v1.47, SystemInfo.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from labkit.engine import times
from labkit.linux import cgroups

if TYPE_CHECKING:
    from labkit.daemon.settings import Settings
    from labkit.engine.engine import Engine


def info(engine: Engine, configured: Settings) -> dict[str, object]:
    """All of it."""
    uname = os.uname()
    containers = engine.containers.list(all=True)
    states = [container.state.Status for container in containers]
    memory = {name: int(rest.split()[0]) << 10 for name, _, rest in (line.partition(":") for line in _lines("/proc/meminfo")) if rest}
    cgroup = cgroups.detect()
    settings = engine.images.settings
    return {
        "ID": _machine_id(),
        "Containers": len(containers),
        "ContainersRunning": sum(container.state.running and not container.state.paused for container in containers),
        "ContainersPaused": states.count("paused"),
        "ContainersStopped": sum(not container.state.running for container in containers),
        "Images": len(engine.images.images.list()),
        "Driver": "overlay2",
        "DriverStatus": [["Root directory", engine.root]],
        "SystemStatus": None,
        "Plugins": {"Volume": ["local"], "Network": ["bridge", "host", "null"], "Authorization": None, "Log": ["json-file", "none"]},
        "MemoryLimit": True,
        "SwapLimit": True,
        "KernelMemory": False,
        "KernelMemoryTCP": False,
        "CpuCfsPeriod": True,
        "CpuCfsQuota": True,
        "CPUShares": True,
        "CPUSet": True,
        "PidsLimit": True,
        "IPv4Forwarding": _lines("/proc/sys/net/ipv4/ip_forward") == ["1"],
        "BridgeNfIptables": True,
        "BridgeNfIp6tables": True,
        "Debug": configured.debug,
        "NFd": len(os.listdir("/proc/self/fd")),
        "OomKillDisable": cgroup.mode != "v2",
        "NGoroutines": 0,
        "SystemTime": times.text(times.now()),
        "LoggingDriver": configured.log_driver,
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": "2" if cgroup.mode == "v2" else "1",
        "NEventsListener": engine.events.listeners,
        "KernelVersion": uname.release,
        "OperatingSystem": _release().get("PRETTY_NAME", "Linux"),
        "OSVersion": _release().get("VERSION_ID", ""),
        "OSType": "linux",
        "Architecture": uname.machine,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": _registries(settings.registry_mirrors, settings.insecure_registries),
        "NCPU": len(os.sched_getaffinity(0)),
        "MemTotal": memory.get("MemTotal", 0),
        "GenericResources": None,
        "DockerRootDir": engine.root,
        "HttpProxy": os.environ.get("HTTP_PROXY", ""),
        "HttpsProxy": os.environ.get("HTTPS_PROXY", ""),
        "NoProxy": os.environ.get("NO_PROXY", ""),
        "Name": uname.nodename,
        "Labels": [*configured.labels],
        "ExperimentalBuild": False,
        "ServerVersion": labkit_version(),
        "Runtimes": {"labkit": {"path": "labkit"}},
        "DefaultRuntime": "labkit",
        "Swarm": {"NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": False, "Error": ""},
        "LiveRestoreEnabled": True,
        "Isolation": "",
        "InitBinary": "docker-init",
        "ContainerdCommit": {"ID": "", "Expected": ""},
        "RuncCommit": {"ID": "", "Expected": ""},
        "InitCommit": {"ID": "", "Expected": ""},
        "SecurityOptions": ["name=seccomp,profile=builtin"],
        "Warnings": None,
    }


def _registries(mirrors: Sequence[str], insecure: Sequence[str]) -> dict[str, object]:
    hub = {"Name": "docker.io", "Mirrors": [f"{each}/" for each in mirrors], "Secure": True, "Official": True}
    others = {each: {"Name": each, "Mirrors": [], "Secure": False, "Official": False} for each in insecure if "/" not in each}
    return {
        "InsecureRegistryCIDRs": ["127.0.0.0/8", "::1/128", *(each for each in insecure if "/" in each)],
        "IndexConfigs": {"docker.io": hub, **others},
        "Mirrors": hub["Mirrors"] or None,
    }


@cache
def labkit_version() -> str:
    """The version of this package."""
    from importlib import metadata

    try:
        return metadata.version("labkit")
    except metadata.PackageNotFoundError:
        return "unknown"


def _lines(path: str) -> list[str]:
    try:
        with open(path) as file:
            return file.read().splitlines()
    except OSError:
        return []


def _machine_id() -> str:
    return (_lines("/etc/machine-id") or [""])[0]


@cache
def _release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}
