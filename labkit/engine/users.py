"""Who a container's process is: ``USER``'s names looked up in the image's own ``/etc/passwd`` and ``/etc/group``.

    >>> from labkit.engine import users
    >>> users.find("/mnt/root", "www-data")
    User(uid=33, gid=33, umask=None, additionalGids=(33,))

    nobody   nobody:nogroup   65534   65534:65534   65534:nogroup   nothing, which is root

A number that the files do not have is taken as it is; a name that they do not have is ``NotFound``. The root directory is a
stranger's: no link in it leads out. Source: ``man 5 passwd``, ``man 5 group``; Dockerfile reference, "USER". Shown in notebook 09.
"""

from __future__ import annotations

from collections.abc import Iterator

from labkit.errors import InvalidInput, KernelError, NotFound
from labkit.linux import paths
from labkit.runtime.spec import User

_LARGEST = 4 << 20  # bytes that are read of either file
_MAX_ID = (1 << 31) - 1


def find(root: str, name: str) -> User:
    """The process's numbers below the root directory ``root`` for ``name``: a user, or a user and a group behind a colon."""
    user, colon, group = name.partition(":")
    known = next((line for line in _lines(root, "/etc/passwd", 4) if user and user in (line[0], line[2])), None)
    if known is None and not user:
        known = next((line for line in _lines(root, "/etc/passwd", 4) if line[2] == "0"), None)
    uid = _id(known[2]) if known else _number(user or "0")
    if uid is None:
        raise NotFound(f"unable to find user {user}: no matching entries in passwd file")
    if colon and group:
        gid = _group(root, group)
        return User(uid, gid, additionalGids=(gid,))
    gid = _id(known[3]) if known else 0
    also = [_id(line[2]) for line in _lines(root, "/etc/group", 3) if known and known[0] in line[-1].split(",")]
    # Its own group is among them: else a file that its group may not read would be open to a process that drops that group.
    return User(uid, gid, additionalGids=tuple(dict.fromkeys((gid, *also))))


def owner(root: str, text: str) -> tuple[int, int]:
    """Whom files shall belong to, as ``--chown`` says it: without a group, the group of the user's name."""
    user, colon, group = text.partition(":")
    if ":" in group:
        raise InvalidInput(f"invalid chown string format: {text}")
    uid = _number(user)
    if uid is None:
        uid = next((_id(line[2]) for line in _lines(root, "/etc/passwd", 4) if line[0] == user), None)
    if uid is None:
        raise NotFound(f"can't find uid for user {user}: no such user: {user}")
    try:
        return uid, _group(root, group if colon else user)
    except NotFound:
        raise NotFound(f"can't find gid for group {group or user}: no such group: {group or user}") from None


def _group(root: str, name: str) -> int:
    for line in _lines(root, "/etc/group", 3):
        if name in (line[0], line[2]):
            return _id(line[2])
    number = _number(name)
    if number is None:
        raise NotFound(f"unable to find group {name}: no matching entries in group file")
    return number


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= _MAX_ID else None


def _id(text: str) -> int:
    """A number from a file; who wrote another thing there means nobody in particular."""
    number = _number(text)
    return 0 if number is None else number


def _lines(root: str, path: str, fields: int) -> Iterator[list[str]]:
    """The lines of a file that have so many fields at least; a file that is not there has none."""
    try:
        with paths.inside(root, path) as spot, open(spot, errors="surrogateescape") as file:
            text = file.read(_LARGEST)
    except (NotFound, KernelError, OSError):
        return
    for line in text.splitlines():
        parts = line.strip().split(":")
        if len(parts) >= fields and not line.startswith("#"):
            yield parts
