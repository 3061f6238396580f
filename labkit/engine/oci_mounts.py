"""What is mounted in a container: what Docker mounts unasked, the three files of /etc, and what the user asked for.

    /proc  /dev  /dev/pts  /sys  /sys/fs/cgroup  /dev/mqueue  /dev/shm        file systems of the container's own
    /etc/resolv.conf  /etc/hostname  /etc/hosts                               files of its directory on the host
    volumes, binds, tmpfs                                                     in the order of depth: /data before /data/log

A user's mount takes the place of Docker's own on the same path. Source: moby's ``oci/defaults.go``, ``daemon/oci_linux.go``.
"""

from __future__ import annotations

import os
import posixpath

from labkit.engine.config import HostConfig
from labkit.engine.container_file import MountPoint, Record
from labkit.errors import Unsupported
from labkit.runtime.spec import Mount

SHM_SIZE = 64 << 20
INIT = "/sbin/docker-init"
"""Where ``--init`` puts the little init of the host's in a container."""
FILES = {"/etc/resolv.conf": "resolv.conf", "/etc/hostname": "hostname", "/etc/hosts": "hosts"}


def mounts(container: Record, directory: str, files: str, init: bool) -> tuple[Mount, ...]:
    """All mounts of a container in ``directory``; hosts and resolv.conf are in ``files``; ``init`` binds the host's little init."""
    host = container.HostConfig
    taken = {posixpath.normpath(point.Destination) for point in container.Mounts}
    own = [mount for mount in _system(host, directory) if mount.destination not in taken]
    own += [_file(f"{files}/{name}", path) for path, name in FILES.items() if path not in taken]
    if init:
        own.append(Mount(INIT, "bind", init_program(), ("bind", "ro")))
    asked = sorted(container.Mounts, key=lambda point: len(_parts(point.Destination)))
    return (*own, *(_asked(point) for point in asked))


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def _file(source: str, path: str) -> Mount:
    return Mount(path, "bind", source, ("rbind", "rprivate"))


def _system(host: HostConfig, directory: str) -> list[Mount]:
    writable = () if host.Privileged else ("ro",)
    sys = Mount("/sys", "sysfs", "sysfs", ("nosuid", "noexec", "nodev", *writable))
    if host.NetworkMode == "host":  # a new sysfs would show the network devices of a namespace that the container is not in
        sys = Mount("/sys", "bind", "/sys", ("rbind", "rprivate", "nosuid", "noexec", "nodev", *writable))
    found = [
        Mount("/proc", "proc", "proc", ("nosuid", "noexec", "nodev")),
        Mount("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
        Mount("/dev/pts", "devpts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")),
        sys,
        Mount("/sys/fs/cgroup", "cgroup", "cgroup", ("nosuid", "noexec", "nodev", *writable)),
        Mount("/dev/mqueue", "mqueue", "mqueue", ("nosuid", "noexec", "nodev")),
    ]
    if host.PidMode == "host":
        found[0] = Mount("/proc", "bind", "/proc", ("rbind", "rprivate"))
    if host.IpcMode == "host":
        found[-1] = (
            Mount("/dev/mqueue", "bind", "/dev/mqueue", ("rbind", "nosuid", "noexec", "nodev")) if _has("/dev/mqueue") else found[-1]
        )
    if shm := _shm(host, directory):
        found.append(shm)
    return found


def _shm(host: HostConfig, directory: str) -> Mount | None:
    """Shared memory belongs to the IPC namespace, so it is shared with it."""
    if host.IpcMode == "none":
        return None
    if host.IpcMode == "host" and _has("/dev/shm"):
        return Mount("/dev/shm", "bind", "/dev/shm", ("rbind", "nosuid", "noexec", "nodev"))
    if host.IpcMode.startswith("container:") or host.IpcMode == "shareable":
        return Mount("/dev/shm", "bind", shm_directory(directory), ("rbind", "rprivate"))
    options = ("nosuid", "noexec", "nodev", "mode=1777", f"size={host.ShmSize or SHM_SIZE}")
    return Mount("/dev/shm", "tmpfs", "shm", options)


def shm_directory(directory: str) -> str:
    """Where the shared memory of a container is that shares it with others: a tmpfs on the host, or a link to that of the other one."""
    return os.path.realpath(f"{directory}/shm")


def _has(path: str) -> bool:
    return os.path.isdir(path)


def _asked(point: MountPoint) -> Mount:
    if point.Type == "tmpfs":
        return Mount(point.Destination, "tmpfs", "tmpfs", ("nosuid", "nodev", "noexec", *point.Options))
    words = ["bind" if "norecursive" in point.Options else "rbind", point.Propagation or "rprivate"]
    if not point.RW:
        words.append("ro")
    return Mount(point.Destination, "bind", point.Source, tuple(words))


def init_program() -> str:
    """The little init that ``--init`` puts first, a static program of the host's. ``Unsupported`` if there is none."""
    for path in ("/usr/bin/docker-init", "/usr/libexec/docker/docker-init", "/usr/bin/tini-static", "/usr/bin/catatonit"):
        if os.path.exists(path):
            return path
    raise Unsupported("--init: this machine has neither docker-init nor tini-static (apt-get install tini)")
