"""Files of a container, from outside: ``docker cp``, ``docker diff``, ``docker export``.

    >>> from labkit.engine import files
    >>> files.stat(web, "/etc/hosts").size
    174
    >>> found, archive = files.get_archive(web, "/etc")           # a tar whose top entry is called etc
    >>> files.put_archive(web, "/srv", chunks)                    # unpacked in the directory /srv
    >>> files.changes(web)
    (PathChange(Path='/srv', Kind=0), PathChange(Path='/srv/index.html', Kind=1))

    path ──▶ view of the container ──▶ its directory, links followed in there ──▶ packing, extraction

A path is one of the container's, absolute or not; a link is not followed if it is the last component, unless a slash or ``/.`` stands
behind it. Source: Docker Engine API v1.47, ``/containers/{id}/archive``; moby's ``daemon/archive.go``. Shown in notebook 06.
"""

from __future__ import annotations

import errno
import os
import stat as kinds
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from labkit.engine import extraction, packing, passwd, times, view
from labkit.engine.extraction import Rules
from labkit.engine.oci_mounts import FILES
from labkit.errors import Conflict, Denied, InvalidInput, KernelError, NotFound
from labkit.records import record
from labkit.storage import trees, union

if TYPE_CHECKING:
    from labkit.engine.container import Container
    from labkit.engine.view import View

_TRIES = 20
_MAX_LINKS = 255  # as Docker follows them
_KINDS = {"changed": 0, "added": 1, "deleted": 2}
_KERNELS = ("/dev", "/proc", "/sys")
# Of Go's os.FileMode, beside the nine permissions.
_GO_KINDS = {
    kinds.S_IFDIR: 1 << 31, kinds.S_IFLNK: 1 << 27, kinds.S_IFBLK: 1 << 26, kinds.S_IFIFO: 1 << 25, kinds.S_IFSOCK: 1 << 24,
    kinds.S_IFCHR: 1 << 26 | 1 << 21,
}  # fmt: skip
_GO_BITS = {kinds.S_ISUID: 1 << 23, kinds.S_ISGID: 1 << 22, kinds.S_ISVTX: 1 << 20}


@record
class PathStat:
    """What is at a path, as the header ``X-Docker-Container-Path-Stat`` tells it: ``mode`` as Go's FileMode has it, ``mtime`` as RFC 3339.

    A symbolic link is told as such; ``linkTarget`` is where it leads, whole, in the container.
    """

    name: str
    size: int
    mode: int
    mtime: str
    linkTarget: str = ""


@record
class PathChange:
    """One path that is not as the image has it: 0 changed, 1 added, 2 deleted."""

    Path: str
    Kind: int


def stat(container: Container, path: str) -> PathStat:
    """What is at ``path``; ``NotFound`` in Docker's words."""
    with view.readable(container) as seen, trees.Tree(seen.root) as tree:
        return _found(container, tree, path)[0]


def get_archive(container: Container, path: str) -> tuple[PathStat, Iterator[bytes]]:
    """What is at ``path`` as a tar archive. Whoever stops reading before the end lets go of the iterator, or calls its ``close``."""
    seen = view.readable(container)
    try:
        with trees.Tree(seen.root) as tree:
            told, place = _found(container, tree, path)
    except BaseException:
        seen.close()
        raise
    container.tell("archive-path")
    return told, _packed(seen, place, os.fsencode(told.name))


def put_archive(
    container: Container, path: str, chunks: Iterable[bytes], *, no_overwrite: bool = False, copy_uid_gid: bool = False
) -> None:
    """Unpack a tar archive, compressed or not, in the directory ``path``.

    ``no_overwrite``: no directory for anything else, nor the other way round; ``copy_uid_gid``: all belongs to the container's user.
    """
    with view.writable(container) as seen, trees.Tree(seen.root) as tree:
        base = _directory(container, tree, path)
        points = frozenset(followed(tree, os.fsencode(point)) for point in _mount_points(container))
        _refuse_readonly(container, tree, base)
        owner = _owner(container, seen) if copy_uid_gid else None
        extraction.extract(chunks, tree, base, Rules(no_overwrite, owner, points))
    container.tell("extract-to-dir")


def changes(container: Container) -> tuple[PathChange, ...]:
    """What the container has changed, added and deleted, by path. A directory counts as changed when something in it is."""
    kinds_of = {change.path: _KINDS[change.kind] for change in _changes(container)}
    for path in list(kinds_of):
        while path := path.rpartition("/")[0]:
            kinds_of.setdefault(path, _KINDS["changed"])
    return tuple(PathChange(path, kinds_of[path]) for path in sorted(kinds_of, key=lambda path: path.split("/")))


def _changes(container: Container) -> tuple[union.Change, ...]:
    for _ in range(_TRIES):
        try:
            return container.engine.store.snapshots.changes(container.record.Snapshot)
        except (FileNotFoundError, NotADirectoryError):
            continue  # a directory was removed while it was looked at
        except OSError as error:
            raise KernelError.of(error, "look at the files of container", container.id) from None
    raise Conflict(f"container {container.id}: directories come and go while they are looked at: docker pause it first")


def export(container: Container) -> Iterator[bytes]:
    """The file system of the container as a tar archive, without what is mounted in it."""
    seen = view.readable(container, whole=False)
    container.tell("export")
    return _packed(seen, b"", b"")


def _packed(seen: View, path: bytes, called: bytes) -> Iterator[bytes]:
    with seen, trees.Tree(seen.root) as tree:
        yield from packing.packed(tree, path, called)


# Finding


def _found(container: Container, tree: trees.Tree, path: str) -> tuple[PathStat, bytes]:
    """What is at a path of the container's, and that path without links on the way to it."""
    head, _, last = _absolute(path).rpartition("/")
    try:
        if last in ("", "."):
            place = followed(tree, os.fsencode(head))
            status = os.fstat(tree.directory(place)[0])
        else:
            above = followed(tree, os.fsencode(head))
            place = above + b"/" + os.fsencode(last) if above else os.fsencode(last)
            status = os.stat(os.fsencode(last), dir_fd=tree.directory(above)[0], follow_symlinks=False)
        target = ""
        if kinds.S_ISLNK(status.st_mode):
            target = "/" + os.fsdecode(followed(tree, place))
    except OSError as error:
        raise _failed(container, path, error) from None
    name = last or head.rpartition("/")[2] or "/"
    return PathStat(name, status.st_size, go_mode(status.st_mode), times.text(status.st_mtime_ns), target), place


def _directory(container: Container, tree: trees.Tree, path: str) -> bytes:
    """The directory at a path of the container's, without links."""
    try:
        place = followed(tree, os.fsencode(_absolute(path)))
        tree.directory(place)
    except NotADirectoryError:
        raise InvalidInput("extraction point is not a directory") from None
    except OSError as error:
        raise _failed(container, path, error) from None
    return place


def _absolute(path: str) -> str:
    """A path from the container's root, without ``..`` and double slashes; a slash or ``/.`` at the end stays."""
    if not path:
        raise InvalidInput("bad parameter: path cannot be empty")
    names: list[str] = []
    for name in path.split("/"):
        if name == ".." and names:
            names.pop()
        elif name not in ("", ".", ".."):
            names.append(name)
    clean = "/" + "/".join(names)
    if path.endswith("/.") or path == ".":
        return clean.rstrip("/") + "/."
    return clean + "/" if path.endswith(("/", "/..")) and names else clean


def followed(tree: trees.Tree, path: bytes) -> bytes:
    """A path without links, the last component's included; from where there is nothing on it stays as it is."""
    ahead, here, links = path.split(b"/")[::-1], b"", 0
    while ahead:
        name = ahead.pop()
        if name in (b"", b"."):
            continue
        if name == b"..":
            here = here.rpartition(b"/")[0]
            continue
        try:
            link = os.readlink(name, dir_fd=tree.directory(here)[0])
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT, errno.ENOTDIR):
                raise
            here = here + b"/" + name if here else name
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if link.startswith(b"/"):
            here = b""
        ahead += link.split(b"/")[::-1]
    return here


def _failed(container: Container, path: str, error: OSError) -> NotFound | InvalidInput | KernelError:
    if error.errno == errno.ENOENT:
        return NotFound(f"Could not find the file {path} in container {container.name}")
    if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
        return InvalidInput(f"lstat {path[:4096]}: {(error.strerror or '').lower()}")
    return KernelError.of(error, "look at", path)


def go_mode(mode: int) -> int:
    """A mode of ``stat(2)`` as Go has it."""
    bits = sum(theirs for ours, theirs in _GO_BITS.items() if mode & ours)
    return mode & 0o777 | bits | _GO_KINDS.get(kinds.S_IFMT(mode), 0)


# Writing


def _mount_points(container: Container) -> tuple[str, ...]:
    """Where something is mounted in it that must not be taken away."""
    return (*_KERNELS, *FILES, *(point.Destination for point in container.record.Mounts))


def _refuse_readonly(container: Container, tree: trees.Tree, base: bytes) -> None:
    """Nothing is written to what the container itself may not write to."""
    for point in sorted(container.record.Mounts, key=lambda point: point.Destination.count("/"), reverse=True):
        place = followed(tree, os.fsencode(point.Destination))
        if base == place or base.startswith(place + b"/"):
            if not point.RW:
                raise Denied("mounted volume is marked read-only")
            return
    if container.record.HostConfig.ReadonlyRootfs:
        raise Denied("container rootfs is marked read-only")


def _owner(container: Container, seen: View) -> tuple[int, int]:
    user = passwd.resolve(container.record.Config.User, (), passwd.in_root(seen.root))
    return user.uid, user.gid
