"""Who listens on a port, so that a message can say whom to stop.

    >>> from labkit.lab import listeners
    >>> listeners.on(5000)
    (Listener(pid=812, command='docker-registry'),)
    >>> listeners.described(5000)
    'docker-registry (PID 812) listens: stop that first (`systemctl disable --now docker-registry`)'

The kernel lists sockets with an inode number each (``man 5 proc``, /proc/net/tcp), and a process that holds one shows
``socket:[INODE]`` among its descriptors. Processes of another PID namespace are not shown, so there can be a socket and nobody.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from labkit.linux import processes

_LISTENING = "0A"


@dataclass(frozen=True)
class Listener:
    """A process that listens."""

    pid: int
    command: str


def on(port: int) -> tuple[Listener, ...]:
    """The processes that listen on a TCP port, whatever the address; empty if there is none, or none that we may see."""
    sockets = {f"socket:[{inode}]" for inode in _inodes(port)}
    pids = (int(name) for name in os.listdir("/proc") if name.isdecimal()) if sockets else iter(())
    holders = ((pid, processes.stat(pid)) for pid in pids if sockets & _descriptors(pid))
    return tuple(Listener(pid, stat.command) for pid, stat in sorted(holders) if stat)


def described(port: int) -> str:
    """Who listens there, and what to do about it: the end of a sentence."""
    found = on(port)
    if not found:
        return "a process listens that cannot be seen from here: `ss -ltnp` outside of this container names it"
    names = " and ".join(f"{each.command} (PID {each.pid})" for each in found)
    remedy = f"kill {' '.join(str(each.pid) for each in found)}"
    if any(_is_debian_s_service(each.pid) for each in found):
        remedy = "systemctl disable --now docker-registry"
    return f"{names} listens: stop that first (`{remedy}`)"


def _inodes(port: int) -> set[str]:
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if os.path.exists(table):  # a kernel may be without IPv6
            with open(table) as file:
                rows = [line.split() for line in file.readlines()[1:]]
            inodes |= {row[9] for row in rows if row[3] == _LISTENING and int(row[1].rpartition(":")[2], 16) == port}
    return inodes


def _descriptors(pid: int) -> set[str]:
    found: set[str] = set()
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            found.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    except OSError:
        pass  # it has ended, or closed something meanwhile, or is not ours to look at
    return found


def _is_debian_s_service(pid: int) -> bool:
    """systemd names the control group of a service after it."""
    try:
        with open(f"/proc/{pid}/cgroup") as file:
            return "/docker-registry.service" in file.read()
    except OSError:
        return False
