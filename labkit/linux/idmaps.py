"""Id maps of a user namespace: who "user 0" inside is for the rest of the machine.

A process in a new user namespace has no ids until a map is written, once, to ``/proc/PID/uid_map`` and ``gid_map``:

    inside          0 ............ 65535
                    │  containerID 0, hostID 100000, size 65536
    outside    100000 ........... 165535

    >>> from labkit.linux import idmaps, namespaces
    >>> whole = (idmaps.IdMap(0, 100000, 65536),)
    >>> with namespaces.new("user", uids=whole, gids=whole) as box: print(*idmaps.read(box.pid)[0])
    0 100000 65536

Source: ``man 7 user_namespaces``; the field names are the OCI runtime-spec's. Shown in notebook 01.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations

from labkit.errors import InvalidInput, KernelError, NotFound, Unsupported
from labkit.linux import syscalls
from labkit.records import record


@record
class IdMap:
    """``size`` ids, from ``containerID`` inside the user namespace and from ``hostID`` in its parent."""

    containerID: int
    hostID: int
    size: int

    def __str__(self) -> str:
        return f"{self.containerID} {self.hostID} {self.size}"


def write(pid: int | str, uids: Sequence[IdMap], gids: Sequence[IdMap]) -> None:
    """Give the user namespace of a process its maps; possible once. Root may map any ids, others only themselves, as one id."""
    _check("uidMappings", uids)
    _check("gidMappings", gids)
    if gids and os.geteuid() != 0:
        # Else a user could drop a group that is there to deny them something (CVE-2014-8989).
        _write(f"/proc/{pid}/setgroups", "deny")
    for name, maps in ("uid_map", uids), ("gid_map", gids):
        if maps:
            _write(f"/proc/{pid}/{name}", "\n".join(map(str, maps)))


def read(pid: int | str = "self") -> tuple[tuple[IdMap, ...], tuple[IdMap, ...]]:
    """The uid and the gid maps of a process's user namespace, as seen from ours."""
    return _read(f"/proc/{pid}/uid_map"), _read(f"/proc/{pid}/gid_map")


@contextmanager
def namespace(uids: Sequence[IdMap], gids: Sequence[IdMap]) -> Iterator[int]:
    """A descriptor of a new user namespace with these maps: what ``mount_setattr(2)`` maps the owners of files by.

    A namespace needs somebody in it to be made: a child that lives as long as this takes. Forks: for processes with one thread.
    """
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            syscalls.unshare(syscalls.CLONE_NEWUSER)
            os.write(told, b"!")
            signal.pause()
        finally:
            os._exit(1)
    try:
        os.close(told)
        if not os.read(ready, 1):
            raise Unsupported("user namespace: the kernel refuses to make one (sysctl user.max_user_namespaces)")
        write(pid, uids, gids)
        fd = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(ready)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    try:
        yield fd
    finally:
        os.close(fd)


def _check(field: str, maps: Sequence[IdMap]) -> None:
    for index, each in enumerate(maps):
        if each.size < 1 or min(each.containerID, each.hostID) < 0 or max(each.containerID, each.hostID) + each.size > 2**32 - 1:
            raise InvalidInput(f"{field}[{index}]: {each}: ids go from 0 to 4294967294, and size is at least 1")
    for (first, a), (second, b) in combinations(enumerate(maps), 2):
        for side, x, y in ("containerID", a.containerID, b.containerID), ("hostID", a.hostID, b.hostID):
            if x < y + b.size and y < x + a.size:
                raise InvalidInput(f"{field}[{second}].{side}: overlaps {field}[{first}]")


def _write(path: str, text: str) -> None:
    try:
        # One write(2) for all lines: the kernel takes no second one.
        with open(path, "wb", buffering=0) as file:
            file.write(text.encode())
    except (FileNotFoundError, ProcessLookupError):
        raise NotFound(f"{path}: no such process") from None
    except OSError as error:
        hint = ""
        if error.errno == errno.EPERM:
            hint = "a map is written once" if os.geteuid() == 0 else "mapping more than one's own id takes root"
        raise KernelError.of(error, "write", path, hint) from None


def _read(path: str) -> tuple[IdMap, ...]:
    try:
        with open(path, encoding="ascii") as file:
            return tuple(IdMap(*map(int, line.split())) for line in file)
    except (FileNotFoundError, ProcessLookupError):
        raise NotFound(f"{path}: no such process") from None
