"""A layer from what a container changed: the upper directory of an overlay as a tar archive.

    >>> from labkit.storage.pack import pack
    >>> upper, *below = [layer.upper for layer in snapshots.stack("c1")]
    >>> with open("layer.tar", "wb") as archive:
    ...     archive.writelines(pack(upper, below))

    in the upper directory                                   in the archive
    ──────────────────────────────────────────────────────────────────────────────────────
    a file, link, device, directory                          the same
    a character device 0:0 called motd                       .wh.motd, an empty file
    a directory with the attribute trusted.overlay.opaque    the directory, and .wh..wh..opq in it
    a socket                                                 nothing

The members are sorted; the same tree gives the same bytes. ``unpack`` is the way back.

Source: OCI image-spec ``layer.md``, "Representing Changes"; overlayfs.rst. Shown in notebook 05.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence

from labkit.errors import KernelError
from labkit.linux import overlays
from labkit.storage import copies, members, trees, union


def pack(upper: str, below: Sequence[str] | None = None) -> Iterator[bytes]:
    """The archive of the layer in ``upper``, in pieces.

    With ``below``, the directories of the layers under it, topmost first (none for a lowest layer), deletions of what is not there
    anyhow are left out, and so is a root directory that is as it was and holds nothing.
    """
    with trees.Tree(upper) as tree:
        try:
            yield from _pack(tree, below, members.Members(tree))
        except OSError as error:
            raise KernelError.of(error, "read layer in", upper) from None


def _pack(tree: trees.Tree, below: Sequence[str] | None, archive: members.Members) -> Iterator[bytes]:
    waiting = [b""]
    while waiting:
        path = waiting.pop()
        parent, name = members.directory(tree, path)
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        here = f"/proc/self/fd/{parent}/{os.fsdecode(name)}"
        members.refuse_name(name, path)
        if overlays.is_whiteout(here):
            if _is_there(below, path):
                yield members.whiteout(path)
            continue
        if path or not below or os.listdir(here) or not _is_same(here, below[0]):
            yield from archive.member(path)
        if stat.S_ISDIR(found.st_mode):
            if overlays.is_opaque(here) and _is_there(below, path):
                yield members.opaque(path)
            directory, _ = tree.directory(path)
            names = sorted(map(os.fsencode, os.listdir(directory)), reverse=True)
            waiting += [path + b"/" + name if path else name for name in names]
    yield members.END


def _is_there(below: Sequence[str] | None, path: bytes) -> bool:
    return below is None or union.provider(below, "/" + os.fsdecode(path) if path else "") is not None


def _is_same(one: str, other: str) -> bool:
    a, b = os.stat(one), os.stat(other)
    if (a.st_mode, a.st_uid, a.st_gid, a.st_mtime_ns // 10**9) != (b.st_mode, b.st_uid, b.st_gid, b.st_mtime_ns // 10**9):
        return False
    return dict(copies.xattrs(one)) == dict(copies.xattrs(other))
