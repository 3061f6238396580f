"""What a decoded ``config.json`` must be beyond its types: the MUSTs of OCI runtime-spec 1.1, as far as Linux goes.

    >>> validate.spec(dataclasses.replace(spec, hostname="student-7", linux=Linux()))
    InvalidInput: hostname: needs a uts namespace of the container's own, or it would rename the host (add one to linux.namespaces)

Each check names the field and says what would be right. They run before the first step of a plan, so that what is
refused has left nothing behind. What only the kernel can tell (does the limit fit? is there such a device?) is left to it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable

from labkit.errors import InvalidInput, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from labkit.linux.idmaps import IdMap
    from labkit.linux.seccomp import Profile
    from labkit.runtime.spec import Hooks, Mount, Process, Scheduler, Spec
    from labkit.runtime.spec_linux import Linux, Namespace, Resources

NAMESPACES = ("cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts")
PROPAGATIONS = tuple(prefix + kind for kind in ("private", "shared", "slave", "unbindable") for prefix in ("", "r"))
SCHEDULERS = tuple("SCHED_" + name for name in ("BATCH", "DEADLINE", "FIFO", "IDLE", "ISO", "OTHER", "RR"))
SCHEDULER_FLAGS = tuple(
    "SCHED_FLAG_" + name
    for name in ("DL_OVERRUN", "KEEP_PARAMS", "KEEP_POLICY", "RECLAIM", "RESET_ON_FORK", "UTIL_CLAMP_MAX", "UTIL_CLAMP_MIN")
)
IO_CLASSES = ("IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE", "IOPRIO_CLASS_RT")

LARGEST_ID = 2**32 - 2  # 2**32 - 1 is -1 to setuid(2): "leave it as it is"


def spec(spec: Spec) -> None:
    """A whole configuration."""
    version = spec.ociVersion.split(".")
    if len(version) < 3 or version[0] != "1":
        _refuse("ociVersion", f"{spec.ociVersion!r} is not a version 1.x.y, which is what labkit understands")
    process(spec.process)
    if not spec.root.path:
        _refuse("root.path", "must name a directory")
    for index, mount in enumerate(spec.mounts):
        _mount(f"mounts[{index}]", mount, spec.linux)
    if spec.hooks:
        _hooks(spec.hooks)
    if "" in spec.annotations:
        _refuse("annotations", "a key must not be empty")
    _linux(spec.linux)
    types = {namespace.type for namespace in spec.linux.namespaces}
    for name, value in (("hostname", spec.hostname), ("domainname", spec.domainname)):
        if len(value.encode()) > 64:
            _refuse(name, f"{value!r} is longer than 64 bytes")
        if value and "uts" not in types:
            _refuse(name, "needs a uts namespace of the container's own, or it would rename the host (add one to linux.namespaces)")


def root_directory(spec: Spec, bundle: str) -> None:
    """The root file system of a bundle is there."""
    path = os.path.join(bundle, spec.root.path)
    if not os.path.isdir(path):
        _refuse("root.path", f"{path} {'is not a directory' if os.path.lexists(path) else 'does not exist'}")


def process(process: Process, path: str = "process") -> None:
    """What is to be executed, in ``config.json`` or in the file of ``exec --process``."""
    if not process.args:
        _refuse(f"{path}.args", "must not be empty")
    if not process.args[0]:
        _refuse(f"{path}.args[0]", "must name a program")
    _absolute(f"{path}.cwd", process.cwd)
    _environment(f"{path}.env", process.env)
    user = process.user
    _between(f"{path}.user.uid", user.uid, 0, LARGEST_ID)
    _between(f"{path}.user.gid", user.gid, 0, LARGEST_ID)
    for index, gid in enumerate(user.additionalGids):
        _between(f"{path}.user.additionalGids[{index}]", gid, 0, LARGEST_ID)
    _between(f"{path}.user.umask", user.umask, 0, 0o777)
    if process.consoleSize:
        _between(f"{path}.consoleSize.height", process.consoleSize.height, 0, 2**16 - 1)
        _between(f"{path}.consoleSize.width", process.consoleSize.width, 0, 2**16 - 1)
    _rlimits(f"{path}.rlimits", process)
    _between(f"{path}.oomScoreAdj", process.oomScoreAdj, -1000, 1000)
    if process.scheduler:
        _scheduler(f"{path}.scheduler", process.scheduler)
    if process.ioPriority:
        _one_of(f"{path}.ioPriority.class", process.ioPriority.class_, IO_CLASSES)
        _between(f"{path}.ioPriority.priority", process.ioPriority.priority, 0, 7)
    if process.apparmorProfile not in ("", "unconfined"):
        raise Unsupported(f"{path}.apparmorProfile: labkit does not set AppArmor profiles; leave it empty or say unconfined")
    if process.selinuxLabel:
        raise Unsupported(f"{path}.selinuxLabel: labkit does not set SELinux labels; leave it empty")


def _rlimits(path: str, process: Process) -> None:
    if not process.rlimits:
        return
    from labkit.linux import rlimits

    seen = set()
    for index, limit in enumerate(process.rlimits):
        here = f"{path}[{index}]"
        _one_of(f"{here}.type", limit.type, rlimits.NAMES)
        if limit.type in seen:
            _refuse(f"{here}.type", f"{limit.type} is there twice")
        seen.add(limit.type)
        _between(f"{here}.hard", limit.hard, 0, 2**64 - 1)
        _between(f"{here}.soft", limit.soft, 0, limit.hard)


def _scheduler(path: str, scheduler: Scheduler) -> None:
    _one_of(f"{path}.policy", scheduler.policy, SCHEDULERS)
    _between(f"{path}.nice", scheduler.nice, -20, 19)
    _between(f"{path}.priority", scheduler.priority, 0, 99)
    for index, flag in enumerate(scheduler.flags):
        _one_of(f"{path}.flags[{index}]", flag, SCHEDULER_FLAGS)
    for name in ("runtime", "deadline", "period"):
        value = getattr(scheduler, name)
        _between(f"{path}.{name}", value, 0, 2**64 - 1)
        if value and scheduler.policy != "SCHED_DEADLINE":
            _refuse(f"{path}.{name}", "is for SCHED_DEADLINE alone")


def _mount(path: str, mount: Mount, linux: Linux) -> None:
    # A relative destination starts at "/": deprecated, but config.md still says that it MAY be, and runc takes it.
    if not mount.destination:
        _refuse(f"{path}.destination", "must be a path inside the container")
    bind = "bind" in mount.options or "rbind" in mount.options
    if bind and not mount.source:
        _refuse(f"{path}.source", "must name what to bind")
    if not bind and not mount.type and "remount" not in mount.options:
        _refuse(f"{path}.type", "must name a file system (only a bind mount needs none: add the option bind or rbind)")
    if bool(mount.uidMappings) != bool(mount.gidMappings):
        _refuse(path, "must have both uidMappings and gidMappings, or neither")
    _id_maps(f"{path}.uidMappings", mount.uidMappings)
    _id_maps(f"{path}.gidMappings", mount.gidMappings)
    if mount.uidMappings and not bind:
        _refuse(f"{path}.uidMappings", "are for bind mounts alone")
    if ("idmap" in mount.options or "ridmap" in mount.options) and not (mount.uidMappings or linux.uidMappings):
        _refuse(f"{path}.uidMappings", "must say how to map: the option idmap asks for it, and there is no user namespace to follow")


def _hooks(hooks: Hooks) -> None:
    for moment in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"):
        for index, hook in enumerate(getattr(hooks, moment)):
            path = f"hooks.{moment}[{index}]"
            _absolute(f"{path}.path", hook.path)
            _environment(f"{path}.env", hook.env)
            _between(f"{path}.timeout", hook.timeout, 1, 2**31 - 1)


def _linux(linux: Linux) -> None:
    types = _namespaces(linux.namespaces)
    for name, maps in (("uidMappings", linux.uidMappings), ("gidMappings", linux.gidMappings)):
        _id_maps(f"linux.{name}", maps)
        if maps and "user" not in types:
            _refuse(f"linux.{name}", "needs a user namespace (add one to linux.namespaces)")
        if not maps and types.get("user") == "":
            _refuse(f"linux.{name}", "must not be empty: without them nobody is anybody in the new user namespace")
    _time_offsets(linux, types)
    for index, device in enumerate(linux.devices):
        path = f"linux.devices[{index}]"
        _one_of(f"{path}.type", device.type, ("b", "c", "p", "u"))
        _absolute(f"{path}.path", device.path)
        _between(f"{path}.fileMode", device.fileMode, 0, 2**32 - 1)
        _between(f"{path}.uid", device.uid, 0, LARGEST_ID)
        _between(f"{path}.gid", device.gid, 0, LARGEST_ID)
    if linux.rootfsPropagation:
        _one_of("linux.rootfsPropagation", linux.rootfsPropagation, PROPAGATIONS)
    if linux.seccomp:
        _seccomp(linux.seccomp)
    _sysctls(linux, types)
    for name, paths in (("maskedPaths", linux.maskedPaths), ("readonlyPaths", linux.readonlyPaths)):
        if paths and "mount" not in types:
            _refuse(f"linux.{name}", "needs a mount namespace, or the host would lose them too (add one to linux.namespaces)")
        for index, hidden in enumerate(paths):
            _absolute(f"linux.{name}[{index}]", hidden)
    if linux.personality:
        _one_of("linux.personality.domain", linux.personality.domain, ("LINUX", "LINUX32"))
        if linux.personality.flags:
            _refuse("linux.personality.flags", "must be empty: the specification defines none yet")
    if linux.mountLabel:
        raise Unsupported("linux.mountLabel: labkit does not set SELinux labels; leave it empty")
    if linux.intelRdt:
        raise Unsupported("linux.intelRdt: labkit does not divide caches; leave it out")
    _resources("linux.resources", linux.resources)


def _namespaces(namespaces: Iterable[Namespace]) -> dict[str, str]:
    """Type and path of each; a type that is named twice is an error."""
    types: dict[str, str] = {}
    for index, namespace in enumerate(namespaces):
        path = f"linux.namespaces[{index}]"
        _one_of(f"{path}.type", namespace.type, NAMESPACES)
        if namespace.type in types:
            _refuse(f"{path}.type", f"{namespace.type} is there twice")
        if namespace.path:
            _absolute(f"{path}.path", namespace.path)
        types[namespace.type] = namespace.path
    return types


def _id_maps(path: str, maps: Iterable[IdMap]) -> None:
    for index, id_map in enumerate(maps):
        _between(f"{path}[{index}].containerID", id_map.containerID, 0, LARGEST_ID)
        _between(f"{path}[{index}].hostID", id_map.hostID, 0, LARGEST_ID)
        _between(f"{path}[{index}].size", id_map.size, 1, 2**32 - 1)


def _time_offsets(linux: Linux, types: dict[str, str]) -> None:
    for clock, offset in linux.timeOffsets.items():
        if clock not in ("boottime", "monotonic"):
            _refuse("linux.timeOffsets", f"{clock!r} is not one of boottime, monotonic")
        _between(f"linux.timeOffsets[{clock!r}].nanosecs", offset.nanosecs, 0, 999_999_999)
    if linux.timeOffsets and types.get("time") != "":
        _refuse("linux.timeOffsets", "needs a new time namespace (add one to linux.namespaces, without a path)")


def _sysctls(linux: Linux, types: dict[str, str]) -> None:
    if not linux.sysctl:
        return
    from labkit.linux import namespaces, sysctls

    for name in linux.sysctl:
        path = f"linux.sysctl[{name!r}]"
        try:
            kind = sysctls.namespaced(name)
        except InvalidInput:
            _refuse(path, "is not the name of a setting, such as net.ipv4.ip_forward")
        if kind is None:
            _refuse(path, "belongs to the whole machine, not to a namespace: it cannot be set for a container")
        if name.replace("/", ".") == "kernel.hostname":
            _refuse(path, "is set by hostname")
        if namespaces.kind(kind).oci not in types:
            _refuse(path, f"needs a {namespaces.kind(kind).oci} namespace, or it would change the host (add one to linux.namespaces)")


def _resources(path: str, resources: Resources) -> None:
    for index, rule in enumerate(resources.devices):
        _one_of(f"{path}.devices[{index}].type", rule.type, ("", "a", "b", "c"))
        if set(rule.access) - set("rwm"):
            _refuse(f"{path}.devices[{index}].access", f"{rule.access!r} is not made of r, w and m")
    if memory := resources.memory:
        for name in ("limit", "reservation", "swap", "kernel", "kernelTCP"):
            _between(f"{path}.memory.{name}", getattr(memory, name), -1, 2**63 - 1)
        _between(f"{path}.memory.swappiness", memory.swappiness, 0, 100)
    if cpu := resources.cpu:
        for name in ("shares", "burst", "period", "realtimePeriod"):
            _between(f"{path}.cpu.{name}", getattr(cpu, name), 0, 2**64 - 1)
        _between(f"{path}.cpu.idle", cpu.idle, 0, 1)
    if resources.blockIO and resources.blockIO.weight:  # 0 is what tools write that mean to leave it alone
        _between(f"{path}.blockIO.weight", resources.blockIO.weight, 10, 1000)
    for index, huge in enumerate(resources.hugepageLimits):
        number = huge.pageSize.removesuffix("B")
        if not (number[:-1].isdecimal() and number[-1:] in ("K", "M", "G")) or number == huge.pageSize:
            _refuse(f"{path}.hugepageLimits[{index}].pageSize", f"{huge.pageSize!r} is not a size such as 64KB, 2MB or 1GB")
        _between(f"{path}.hugepageLimits[{index}].limit", huge.limit, 0, 2**64 - 1)
    if resources.network:
        _between(f"{path}.network.classID", resources.network.classID, 0, 2**32 - 1)
    for file in resources.unified:
        if not file or "/" in file:
            _refuse(f"{path}.unified", f"{file!r} is not the name of a control group's file, such as memory.high")


def _seccomp(profile: Profile) -> None:
    from labkit.linux import seccomp

    _one_of("linux.seccomp.defaultAction", profile.defaultAction, seccomp.ACTIONS)
    for index, rule in enumerate(profile.syscalls):
        path = f"linux.seccomp.syscalls[{index}]"
        if not rule.names:
            _refuse(f"{path}.names", "must not be empty")
        _one_of(f"{path}.action", rule.action, seccomp.ACTIONS)
        for number, arg in enumerate(rule.args):
            _between(f"{path}.args[{number}].index", arg.index, 0, 5)
            _one_of(f"{path}.args[{number}].op", arg.op, seccomp.OPERATORS)


def _refuse(path: str, complaint: str) -> NoReturn:
    raise InvalidInput(f"{path}: {complaint}")


def _one_of(path: str, value: str, allowed: Collection[str]) -> None:
    if value not in allowed:
        _refuse(path, f"{value!r} is not one of {', '.join(filter(None, allowed))}")


def _between(path: str, value: int | None, low: int, high: int) -> None:
    if value is not None and not low <= value <= high:
        _refuse(path, f"{value} is not between {low} and {high}")


def _absolute(path: str, value: str) -> None:
    if not value.startswith("/"):
        _refuse(path, f"must be absolute, not {value!r}")


def _environment(path: str, variables: Iterable[str]) -> None:
    for index, variable in enumerate(variables):
        if variable.find("=") < 1:
            _refuse(f"{path}[{index}]", f"must be NAME=value, not {variable!r}")
