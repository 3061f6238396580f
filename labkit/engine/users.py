"""Who a container's process is, and whose its files are: names looked up in the image's own ``/etc/passwd`` and ``/etc/group``.

    >>> from labkit.engine import users
    >>> users.find("/mnt/root", "www-data")
    User(uid=33, gid=33, umask=None, additionalGids=(33,))

    nobody   nobody:nogroup   65534   65534:65534   65534:nogroup   nothing, which is root

A number that the files do not have is taken as it is; a name that they do not have is ``NotFound``. The root directory is a
stranger's: no link in it leads out (``passwd``). Source: Dockerfile reference, "USER", "COPY --chown". Shown in notebook 09.
"""

from __future__ import annotations

from labkit.engine import passwd
from labkit.errors import InvalidInput, NotFound
from labkit.runtime.spec import User


def find(root: str, name: str) -> User:
    """The process's numbers below the root directory ``root`` for ``name``: a user, or a user and a group behind a colon."""
    return passwd.resolve(name, (), passwd.in_root(root))


def owner(root: str, text: str) -> tuple[int, int]:
    """Whom files shall belong to, as ``--chown`` says it: without a group, the group of the user's name."""
    user, colon, group = text.partition(":")
    if ":" in group:
        raise InvalidInput(f"invalid chown string format: {text}")
    read = passwd.in_root(root)
    # A number is itself here, whoever may have it for a name.
    try:
        uid = int(user) if user.isdecimal() and int(user) <= passwd.LARGEST_ID else passwd.user_number(user, read)
    except NotFound:
        raise NotFound(f"can't find uid for user {user}: no such user: {user}") from None
    try:
        return uid, passwd.group_number(group if colon else user, read)
    except NotFound:
        raise NotFound(f"can't find gid for group {group or user}: no such group: {group or user}") from None
