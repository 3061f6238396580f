"""Who a user is in a container: names are looked up in the container's own /etc/passwd and /etc/group.

    >>> from labkit.engine import passwd
    >>> passwd.resolve("www-data", (), files)
    User(uid=33, gid=33, umask=None, additionalGids=(33,))

"" is root. ``USER``, ``USER:GROUP``, numbers in place of either; a number needs no entry, a name does. Who says no group gets those of
the entry, the supplementary ones of /etc/group included. Source: ``man 5 passwd``, ``man 5 group``; runc's ``user.GetExecUser``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence

from labkit.errors import InvalidInput, KernelError, NotFound
from labkit.linux import syscalls
from labkit.runtime.spec import User
from labkit.storage import union

LARGEST_ID = (1 << 31) - 1
"""Docker's; the kernel takes twice as many."""
_LARGEST_FILE = 1 << 20

Reader = Callable[[str], str]
"""Gives the text of a file of the container's by its path; "" if there is none."""


def in_layers(layers: Sequence[str]) -> Reader:
    """Reads from a stack of layers that is not mounted, topmost first. A file that is a symbolic link counts as missing."""

    def read(path: str) -> str:
        index = union.provider(layers, path)
        return "" if index is None else _text(layers[index], path)

    return read


def in_root(root: str) -> Reader:
    """Reads below a directory, such as a mounted image."""
    return lambda path: _text(root, path)


def in_process(pid: int) -> Reader:
    """Reads what a process that runs sees as its root."""
    return in_root(f"/proc/{pid}/root")


def _text(root: str, path: str) -> str:
    """A regular file below a root that strangers have made: no link leads out of it, and no pipe makes us wait."""
    try:
        directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fd = syscalls.openat2(directory, path, os.O_RDONLY | os.O_NONBLOCK, syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS)
        finally:
            os.close(directory)
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return ""
            return file.read(_LARGEST_FILE).decode(errors="replace")
    except (OSError, KernelError):
        return ""


def resolve(wanted: str, more: Sequence[str], read: Reader) -> User:
    """The user that ``wanted`` means, in the groups ``more`` besides (``--group-add``). ``NotFound`` in Docker's words."""
    name, colon, group = wanted.partition(":")
    uid, gid, known = _user(name or "0", read)
    others: tuple[int, ...] = ()
    if colon and group:
        gid = group_number(group, read)
    elif known:
        others = tuple(number for number, members in _groups(read).values() if known in members)
    extra = (group_number(each, read) for each in more)
    # Its own group among the others, or who gave it up with setgid could have what is denied to it (CVE-2022-36109).
    return User(uid, gid, additionalGids=tuple(dict.fromkeys((gid, *others, *extra))))


def _user(name: str, read: Reader) -> tuple[int, int, str]:
    """uid, gid and the name, "" if there is no entry."""
    for entry in _entries(read("/etc/passwd"), 4):
        if (entry[0] == name or entry[2] == name) and entry[2].isdecimal() and entry[3].isdecimal():
            return int(entry[2]), int(entry[3]), entry[0]
    if name.isdecimal():
        return _number(name), 0, ""
    raise NotFound(f"unable to find user {name}: no matching entries in passwd file")


def user_number(name: str, read: Reader) -> int:
    """The uid of a user; ``NotFound``."""
    return _user(name, read)[0]


def group_number(name: str, read: Reader) -> int:
    """The gid of a group, by name or number; ``NotFound``."""
    found = _groups(read).get(name)
    if found:
        return found[0]
    if name.isdecimal():
        return _number(name)
    raise NotFound(f"unable to find group {name}: no matching entries in group file")


def _groups(read: Reader) -> dict[str, tuple[int, list[str]]]:
    """Groups by name: number and members."""
    return {entry[0]: (int(entry[2]), entry[3].split(",")) for entry in _entries(read("/etc/group"), 4) if entry[2].isdecimal()}


def _number(text: str) -> int:
    if len(text) > 10 or int(text) > LARGEST_ID:
        raise InvalidInput(f"uids and gids must be in range 0-{LARGEST_ID}")
    return int(text)


def _entries(text: str, columns: int) -> Iterator[list[str]]:
    for line in text.splitlines():
        entry = line.strip().split(":")
        if len(entry) >= columns and not line.startswith("#"):
            yield entry
