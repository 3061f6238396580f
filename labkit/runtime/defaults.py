"""The ``config.json`` to start from: what ``labkit runtime spec`` writes, and what ``runc spec`` of runc 1.1 writes too.

    >>> from labkit.runtime import defaults
    >>> mine = dataclasses.replace(defaults.spec(), hostname="student-7")
    >>> print(defaults.text(mine))

A shell as root with three capabilities, a read-only root file system and namespaces of its own for all but cgroups,
users and time. Notebook 04 takes it apart.
"""

from __future__ import annotations

import os
from dataclasses import replace

from labkit import codec
from labkit.runtime.spec import Capabilities, Mount, Process, Rlimit, Root, Spec, User
from labkit.runtime.spec_linux import DeviceRule, Linux, Namespace, Resources

_CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DEVPTS = ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620")
# What the kernel shows of itself and its machine, and no container needs to see.
_MASKED = (
    *("/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list"),
    *("/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"),
)
_READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def spec() -> Spec:
    """A configuration for root, to be changed with ``dataclasses.replace``."""
    return Spec(
        ociVersion="1.1.0",
        process=Process(
            terminal=True,
            user=User(uid=0, gid=0),
            args=("sh",),
            env=(_PATH, "TERM=xterm"),
            cwd="/",
            capabilities=Capabilities(bounding=_CAPABILITIES, effective=_CAPABILITIES, permitted=_CAPABILITIES, ambient=_CAPABILITIES),
            rlimits=(Rlimit("RLIMIT_NOFILE", hard=1024, soft=1024),),
            noNewPrivileges=True,
        ),
        root=Root("rootfs", readonly=True),
        hostname="labkit",
        mounts=(
            Mount("/proc", "proc", "proc"),
            Mount("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
            Mount("/dev/pts", "devpts", "devpts", (*_DEVPTS, "gid=5")),
            Mount("/dev/shm", "tmpfs", "shm", ("nosuid", "noexec", "nodev", "mode=1777", "size=65536k")),
            Mount("/dev/mqueue", "mqueue", "mqueue", ("nosuid", "noexec", "nodev")),
            Mount("/sys", "sysfs", "sysfs", ("nosuid", "noexec", "nodev", "ro")),
            Mount("/sys/fs/cgroup", "cgroup", "cgroup", ("nosuid", "noexec", "nodev", "relatime", "ro")),
        ),
        linux=Linux(
            resources=Resources(devices=(DeviceRule(allow=False, access="rwm"),)),
            namespaces=tuple(map(Namespace, ("pid", "network", "ipc", "uts", "mount"))),
            maskedPaths=_MASKED,
            readonlyPaths=_READONLY,
        ),
    )


def rootless() -> Spec:
    """The same for a caller without privileges, who is root in a user namespace with no id but the caller's own in it.

    The host's network and /sys are kept, for a new /sys takes a new network namespace; there is no group 5 to own
    terminals, and no control group that the caller may change.
    """
    from labkit.linux.idmaps import IdMap

    rooted = spec()
    instead = {
        "/dev/pts": Mount("/dev/pts", "devpts", "devpts", _DEVPTS),
        "/sys": Mount("/sys", "none", "/sys", ("rbind", "nosuid", "noexec", "nodev", "ro")),
    }
    return replace(
        rooted,
        mounts=tuple(instead.get(mount.destination, mount) for mount in rooted.mounts),
        linux=Linux(
            uidMappings=(IdMap(containerID=0, hostID=os.geteuid(), size=1),),
            gidMappings=(IdMap(containerID=0, hostID=os.getegid(), size=1),),
            namespaces=tuple(map(Namespace, ("pid", "ipc", "uts", "mount", "user"))),
            maskedPaths=_MASKED,
            readonlyPaths=_READONLY,
        ),
    )


def with_cgroup_namespace(spec: Spec) -> Spec:
    """``spec`` as runc writes it where control groups are version 2: with a namespace of them, in which the container's own is the root.

    Of version 1 each controller has a hierarchy of its own, and what is mounted is the container's group of each, without a namespace.
    """
    kinds = [namespace.type for namespace in spec.linux.namespaces]
    at = kinds.index("mount") + 1
    kinds.insert(at, "cgroup")
    return replace(spec, linux=replace(spec.linux, namespaces=tuple(map(Namespace, kinds))))


def text(spec: Spec) -> str:
    """``spec`` as the text of a ``config.json``, indented with tabs as runc's is."""
    import json

    return json.dumps(codec.encode(spec), indent="\t", ensure_ascii=False) + "\n"
