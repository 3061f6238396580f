"""Sysctls: the kernel's own settings, a file each under ``/proc/sys``.

    >>> from labkit.linux import sysctls
    >>> sysctls.read("net.ipv4.ip_forward")
    '0'
    >>> sysctls.namespaced("net.ipv4.ip_forward"), sysctls.namespaced("vm.swappiness")
    ('net', None)

Most settings are the whole machine's. A few belong to a namespace, so that a container has its own; only those may stand in
its configuration, and only if it has a new namespace of that kind.

``man 8 sysctl`` gives the two ways to write a name: ``net.ipv4.conf.eth0.forwarding`` and, where a part holds a dot itself,
``net/ipv4/conf/eth0.7/forwarding``. Notebook 01-namespaces looks at those of a network namespace.
"""

from __future__ import annotations

import os
from errno import EINVAL

from labkit.errors import InvalidInput, KernelError, Unsupported

_SWAP = str.maketrans("./", "/.")
_IPC = frozenset(
    {"msgmax", "msgmnb", "msgmni", "msg_next_id", "sem", "sem_next_id", "shmall", "shmmax", "shmmni", "shm_next_id", "shm_rmid_forced"}
)


def read(name: str) -> str:
    """The value, as the calling process sees it."""
    path = _path(name)
    try:
        with open(path) as file:
            return file.read().rstrip("\n")
    except FileNotFoundError:
        raise _unknown(name) from None
    except OSError as error:
        raise KernelError.of(error, "read sysctl", name) from None


def write(name: str, value: str) -> None:
    """Set the value, for the machine or for the calling process's namespace."""
    path = _path(name)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)
    except FileNotFoundError:
        raise _unknown(name) from None
    except OSError as error:
        raise KernelError.of(error, "write sysctl", name, f"the kernel refuses {value!r}" if error.errno == EINVAL else "") from None


def namespaced(name: str) -> str | None:
    """The kind of namespace that has this setting for itself, such as ``net``, or None if it is the whole machine's."""
    match _path(name).split("/")[3:]:
        case ["net", _, *_]:
            return "net"
        case ["fs", "mqueue", _]:
            return "ipc"
        case ["kernel", setting] if setting in _IPC:
            return "ipc"
        case ["kernel", setting] if setting in ("hostname", "domainname"):
            return "uts"
        case ["user", _]:
            return "user"
    return None


def _path(name: str) -> str:
    # The first separator decides which of the two ways this name is written in.
    path = name.translate(_SWAP) if "." in name.partition("/")[0] else name
    if {"", ".", ".."} & {*path.split("/")} or "\0" in path:
        raise InvalidInput(f"sysctl: {name!r} is no name of a setting (one looks like net.ipv4.ip_forward)")
    return f"/proc/sys/{path}"


def _unknown(name: str) -> Unsupported:
    return Unsupported(f"sysctl {name}: this kernel has no such setting here (`sysctl -a` lists what it has)")
