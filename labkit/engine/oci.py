"""From a container's record to the OCI configuration that the runtime runs: all that Docker gives a container unasked is said here.

    Record (Config, HostConfig, Mounts)  ┐
    Setting: user, files, namespaces …   ├─ configuration ──▶ Spec ──▶ labkit.runtime: the plan, step by step
    Docker's defaults                    ┘

    process         command, environment, user, capabilities, limits of the process          this file
    mounts          /proc, /dev, /sys, the three files of /etc, volumes                       oci_mounts.py
    resources       limits of the control group, devices                                      oci_resources.py

    >>> print(runtime.plan(engine.containers.get("web").directory))       # config.json there is what this made

Source: moby's ``oci/defaults.go`` and ``daemon/oci_linux.go``; OCI runtime-spec 1.1. Shown in notebook 06; notebook 04 takes one apart.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from functools import cache

from labkit import codec
from labkit.engine import oci_mounts, oci_resources
from labkit.engine.config import Config, HostConfig
from labkit.engine.container_file import Record
from labkit.errors import InvalidInput, KernelError, Unsupported
from labkit.linux import capabilities, cgroups, seccomp
from labkit.records import record
from labkit.runtime import validate
from labkit.runtime.spec import Capabilities, ConsoleSize, Process, Rlimit, Root, Spec, User
from labkit.runtime.spec_linux import Linux, Namespace

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

MASKED = (
    *("/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list"),
    *("/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"),
)
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


@record
class Setting:
    """What a configuration needs to know of the moment in which the container starts.

    ``directory`` is the bundle, ``files`` where its hosts and resolv.conf are; ``user`` who ``Config.User`` means in its root file system;
    ``joined`` the PIDs of the containers whose namespaces it shares, by kind (pid, ipc, network); ``parent`` the control group above it.
    """

    directory: str
    files: str
    user: User
    hostname: str
    parent: str = "labkit/containers"
    joined: Mapping[str, int] = field(default_factory=dict)


def configuration(container: Record, setting: Setting) -> Spec:
    """The configuration of a container. ``InvalidInput`` and ``Unsupported`` name what is wrong."""
    host = container.HostConfig
    namespaces = _namespaces(host, setting.joined)
    own_hostname = any(each.type == "uts" for each in namespaces)
    spec = Spec(
        ociVersion="1.1.0",
        process=process(container, setting),
        root=Root("rootfs", readonly=host.ReadonlyRootfs),
        hostname=setting.hostname if own_hostname else "",
        domainname=container.Config.Domainname if own_hostname else "",
        mounts=oci_mounts.mounts(container, setting.directory, setting.files, bool(host.Init)),
        annotations=dict(host.Annotations),
        linux=Linux(
            namespaces=namespaces,
            cgroupsPath=cgroup_path(container, setting.parent),
            resources=oci_resources.resources(host),
            devices=oci_resources.devices(host),
            sysctl=dict(host.Sysctls),
            seccomp=_seccomp(host),
            maskedPaths=_paths(host, host.MaskedPaths, MASKED),
            readonlyPaths=_paths(host, host.ReadonlyPaths, READONLY),
        ),
    )
    validate.spec(spec)
    return spec


def text(spec: Spec) -> str:
    """``spec`` as the text of a ``config.json``. What takes longest, the seccomp profile, is written once for all containers."""
    profile = spec.linux.seccomp
    if profile is None:
        return json.dumps(codec.encode(spec))
    head = codec.encode(replace(spec, linux=replace(spec.linux, seccomp=None)))
    assert isinstance(head, dict)
    body = json.dumps(head)
    assert body.endswith("}}"), "linux is the last field of a Spec, and is never empty"
    return f'{body[:-2]}, "seccomp": {_profile_text(profile)}}}}}'


@cache
def _profile_text(profile: seccomp.Profile) -> str:
    return json.dumps(codec.encode(profile))


def cgroup_path(container: Record, parent: str) -> str:
    """The control group of a container, an absolute path as the runtime wants it."""
    return f"/{(container.HostConfig.CgroupParent or parent).strip('/')}/{container.Id}"


def process(container: Record, setting: Setting) -> Process:
    """The container's first process."""
    config, host = container.Config, container.HostConfig
    command = (oci_mounts.INIT, "--", *config.command) if host.Init else config.command
    rows, columns = host.ConsoleSize
    return Process(
        terminal=config.Tty,
        consoleSize=ConsoleSize(rows, columns) if config.Tty and rows and columns else None,
        user=setting.user,
        args=command,
        env=environment(config, setting.hostname, config.Tty),
        cwd=config.WorkingDir or "/",
        capabilities=granted(host),
        rlimits=tuple(Rlimit(f"RLIMIT_{each.Name.upper()}", each.Hard, each.Soft) for each in host.Ulimits),
        noNewPrivileges=no_new_privileges(host),
        oomScoreAdj=host.OomScoreAdj or None,
    )


def environment(config: Config, hostname: str, terminal: bool, more: Sequence[str] = ()) -> tuple[str, ...]:
    """The environment: Docker's own three, over them the container's, over them ``more``, as ``exec -e`` gives it.

    A name without a value takes the variable away.
    """
    wanted: dict[str, str] = {}
    for entry in (PATH, f"HOSTNAME={hostname}", *(("TERM=xterm",) if terminal else ()), *config.Env, *more):
        name, equals, _ = entry.partition("=")
        if equals:
            wanted[name] = entry
        else:
            wanted.pop(name, None)
    return tuple(wanted.values())


def granted(host: HostConfig, privileged: bool = False) -> Capabilities:
    """The capabilities of its processes: all that there are for a privileged one, else Docker's fourteen with what is added and dropped."""
    if host.Privileged or privileged:
        names = tuple(sorted(_ours()))
    else:
        added, dropped = capability_names("CapAdd", host.CapAdd), capability_names("CapDrop", host.CapDrop)
        kept = frozenset[str]() if "ALL" in dropped else capabilities.DEFAULT
        kept = (_ours() if "ALL" in added else kept) - dropped
        names = tuple(sorted(kept | (added - {"ALL"})))
    return Capabilities(bounding=names, effective=names, permitted=names)


@cache
def _ours() -> frozenset[str]:
    """Nobody can give what they do not have: on some machines even root lacks a few."""
    return capabilities.of().bounding


def capability_names(option: str, given: Sequence[str]) -> frozenset[str]:
    """Capabilities with their full names; ``InvalidInput`` in Docker's words."""
    names = set()
    for each in given:
        name = each.upper()
        if name != "ALL" and not name.startswith("CAP_"):
            name = f"CAP_{name}"
        if name == "CAP_ALL":
            name = "ALL"
        if name != "ALL" and name not in capabilities.NAMES:
            raise InvalidInput(f'invalid {option}: unknown capability: "{name:.200}"')
        names.add(name)
    return frozenset(names)


def security_options(host: HostConfig) -> dict[str, str]:
    """``--security-opt`` by name; ``InvalidInput`` for what is none."""
    found: dict[str, str] = {}
    for option in host.SecurityOpt:
        name, separator, value = option.partition("=") if "=" in option else option.partition(":")
        if option == "no-new-privileges":
            name, separator, value = option, "=", "true"
        if not separator or name not in ("apparmor", "label", "no-new-privileges", "seccomp", "systempaths", "writable-cgroups"):
            raise InvalidInput(f'invalid --security-opt 2: "{option}"' if separator else f'invalid --security-opt 1: "{option}"')
        if name == "label" and value != "disable":
            raise Unsupported("security-opt label: labkit does not set SELinux labels; leave it out")
        if name == "apparmor" and value not in ("unconfined", "docker-default", ""):
            raise Unsupported(f"security-opt apparmor: labkit does not load AppArmor profiles such as {value}; leave it out")
        found[name] = value
    return found


def no_new_privileges(host: HostConfig) -> bool:
    """Whether setuid programs stay without effect."""
    return security_options(host).get("no-new-privileges", "false").lower() in ("true", "1", "t")


def _seccomp(host: HostConfig) -> seccomp.Profile | None:
    """Docker's default profile, or the one that was given as JSON; none for ``unconfined`` and privileged containers."""
    wanted = security_options(host).get("seccomp", "")
    if wanted == "unconfined" or (host.Privileged and wanted in ("", "builtin")):
        return None
    sets = granted(host)
    if wanted in ("", "builtin"):
        return seccomp.default_profile(sets.bounding)
    try:
        data = json.loads(wanted)
    except ValueError as error:
        raise InvalidInput(f"Decoding seccomp profile failed: {error}") from None
    try:
        return seccomp.profile(data, sets.bounding)
    except InvalidInput as error:
        raise InvalidInput(f"Decoding seccomp profile failed: {error}") from None


def _paths(host: HostConfig, wanted: tuple[str, ...] | None, default: tuple[str, ...]) -> tuple[str, ...]:
    if host.Privileged:
        return ()
    if wanted is None:
        return () if security_options(host).get("systempaths") == "unconfined" else default
    return wanted


def _namespaces(host: HostConfig, joined: Mapping[str, int]) -> tuple[Namespace, ...]:
    """New ones, but those that are the host's or another container's."""
    modes = {"pid": host.PidMode, "ipc": host.IpcMode, "network": host.NetworkMode, "uts": host.UTSMode, "cgroup": cgroup_mode(host)}
    found = [Namespace("mount")]
    for kind, mode in modes.items():
        if mode.startswith("container:"):
            file = {"network": "net"}.get(kind, kind)
            found.append(Namespace(kind, f"/proc/{joined[kind]}/ns/{file}"))
        elif mode != "host":
            found.append(Namespace(kind))
    return tuple(found)


def cgroup_mode(host: HostConfig) -> str:
    """As in Docker: a namespace of its own where version 2 is all there is."""
    return host.CgroupnsMode or ("private" if cgroups.detect().mode == "v2" else "host")


def write(directory: str, spec: Spec) -> None:
    """Write ``config.json`` into the bundle."""
    path = f"{directory}/config.json"
    try:
        with open(f"{path}.new", "w") as file:
            file.write(text(spec))
        os.rename(f"{path}.new", path)
    except OSError as error:
        raise KernelError.of(error, "write", path) from None
