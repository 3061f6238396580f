"""The content of files as one number: by it a build knows whether what COPY would copy is what it copied before.

    >>> from labkit.engine.build import sums
    >>> with copying.source(web) as files: sums.of(files, "index.html")
    'file:6a1c…'

It is the number that Docker computes, so that ``COPY file:6a1c… in /srv/`` stands in the history whoever has built: SHA-256 over the
fields of the tar header that the file would have, its time left out, and its content. A directory's is the one over those of all in
it, sorted. (Hard links in a context count as files here, and as links there.) Source: github.com/docker/docker/pkg/tarsum, version 1.
Shown in notebook 09.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable

_KINDS = {stat.S_IFREG: "0", stat.S_IFLNK: "2", stat.S_IFCHR: "3", stat.S_IFBLK: "4", stat.S_IFDIR: "5", stat.S_IFIFO: "6"}


def of_file(path: str, name: str, owner: tuple[int, int] | None) -> str:
    """Of the file or directory at ``path``, which the archive calls ``name``; its owner's numbers are its own if None."""
    found = os.lstat(path)
    kind = stat.S_IFMT(found.st_mode)
    uid, gid = owner or (found.st_uid, found.st_gid)
    # An archive that comes from a client has neither the kind in the mode nor names; where Docker looks at its own files they are there.
    mode = stat.S_IMODE(found.st_mode) if owner else found.st_mode
    is_device = kind in (stat.S_IFCHR, stat.S_IFBLK)
    fields = {
        "name": f"{name}/" if kind == stat.S_IFDIR else name,
        "mode": mode,
        "uid": uid,
        "gid": gid,
        "size": found.st_size if kind == stat.S_IFREG else 0,
        "typeflag": _KINDS.get(kind, "0"),
        "linkname": os.readlink(path) if kind == stat.S_IFLNK else "",
        "uname": "root" if owner is None and uid == 0 else "",  # other names are each machine's own, and would make another image of it
        "gname": "root" if owner is None and gid == 0 else "",
        "devmajor": os.major(found.st_rdev) if is_device else 0,
        "devminor": os.minor(found.st_rdev) if is_device else 0,
    }
    hasher = hashlib.sha256("".join(f"{field}{value}" for field, value in fields.items()).encode(errors="surrogateescape"))
    if (capabilities := capability(path)) is not None and kind == stat.S_IFREG:
        hasher.update(b"security.capability" + capabilities)
    if kind == stat.S_IFREG:
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                hasher.update(chunk)
    return hasher.hexdigest()


def capability(path: str) -> bytes | None:
    """The file capabilities (``man 7 capabilities``) of a file, the one extended attribute that Docker copies."""
    try:
        return os.getxattr(path, "security.capability", follow_symlinks=False)
    except OSError:
        return None


def together(prefix: str, several: Iterable[str]) -> str:
    """Of several sums, one: ``dir:…`` or ``multi:…``."""
    return f"{prefix}:{hashlib.sha256(','.join(several).encode()).hexdigest()}"
