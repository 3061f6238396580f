"""Files on this side of ``cp``: a directory becomes a tar archive, and an archive becomes files below a directory, never beside it.

    >>> place("/tmp")
    Place(path='/tmp', exists=True, is_directory=True, …)

The archive comes out of a container, so nothing in it is trusted: each name is looked up below the destination by the kernel
(``labkit.linux.paths``), and a link in the archive leads nowhere else. Source: ``man 5 tar``; ``man 2 openat2``.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator

from labkit.cli.client.grammar import Failed
from labkit.errors import KernelError, LabError
from labkit.linux import paths
from labkit.records import record


@record
class Place:
    """Where something is or shall be. ``directory`` and ``name``: where the copy goes, and what it is called there."""

    path: str
    exists: bool = False
    is_directory: bool = False
    directory: str = ""
    name: str = ""


def place(path: str) -> Place:
    """What is at a path here. The directory that it would be in must be there."""
    exists = os.path.lexists(path)
    if not exists and not os.path.isdir(os.path.dirname(path.rstrip("/")) or "."):
        raise Failed(f'invalid output path: directory "{os.path.dirname(os.path.abspath(path))}" does not exist')
    return Place(path, exists, os.path.isdir(path))


def is_directory(path: str, follow: bool) -> bool:
    """Whether a source is one; ``Failed`` if it is not there."""
    try:
        os.stat(path) if follow else os.lstat(path)
    except OSError as error:
        raise Failed(f"lstat {os.path.abspath(path)}: {os.strerror(error.errno or 0).lower()}") from None
    return os.path.isdir(path) and (follow or not os.path.islink(path) or path.endswith(("/", "/.")))


def archive(
    path: str, name: str, follow: bool, counted: list[int], ignores: Callable[[str], bool] = lambda _path: False
) -> Iterator[bytes]:
    """A file or a directory as a tar archive in which it is called ``name``. ``counted`` gets the number of bytes.

    ``ignores`` is asked for each path below it, and says what is left out.
    """
    source = os.path.realpath(path) if follow or path.endswith("/.") else path.rstrip("/") or "/"
    with tarfile.open(os.devnull, "w", format=tarfile.PAX_FORMAT) as tar:  # it knows files; writing is done here, in pieces
        for each, inside in _walk(source, name):
            if inside != name and ignores(inside.removeprefix(f"{name}/")):
                continue
            info: tarfile.TarInfo | None = tar.gettarinfo(each, inside)
            if info is None:
                continue  # a socket, which no archive holds
            counted[0] += info.size
            yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
            if info.isreg():
                yield from _content(each, info.size)
    yield bytes(2 * tarfile.BLOCKSIZE)


def extract(chunks: Iterable[bytes], target: Place, *, keep_owner: bool) -> int:
    """Write what an archive holds into ``target.directory``, its first name replaced by ``target.name``. Returns the bytes of all files."""
    total = 0
    directories: list[tuple[str, tarfile.TarInfo]] = []
    top: str | None = None
    with tarfile.open(fileobj=_Stream(iter(chunks)), mode="r|") as tar:
        try:
            for info in tar:
                name = os.path.normpath(info.name).lstrip("/")
                if name == ".." or name.startswith("../"):
                    raise LabError(f"cp: the archive has a name that leads out of it: {info.name}")
                top = name.partition("/")[0] if top is None else top
                inside = _renamed(name, top, target.name)
                if info.islnk():
                    info.linkname = _renamed(os.path.normpath(info.linkname).lstrip("/"), top, target.name)
                total += info.size if info.isreg() else 0
                _make(tar, info, target.directory, inside, keep_owner)
                if info.isdir():
                    directories.append((inside, info))
        except tarfile.TarError as error:
            raise LabError(f"cp: the archive is damaged: {error}") from None
    for inside, info in reversed(directories):  # what is written into a directory changes its time
        with paths.inside(target.directory, inside) as spot:
            os.utime(spot, (info.mtime, info.mtime))
    return total


def _renamed(name: str, top: str, wanted: str) -> str:
    if top == ".":
        name = f"{wanted}/{name}"
    elif name == top or name.startswith(f"{top}/"):
        name = wanted + name[len(top) :]
    return os.path.normpath(name)


def _make(tar: tarfile.TarFile, info: tarfile.TarInfo, root: str, inside: str, keep_owner: bool) -> None:
    parent, name = os.path.split(inside)
    try:
        with paths.inside(root, parent or ".", create="dir") as spot:
            path = f"{spot}/{name}"
            if info.isdir():
                if not os.path.isdir(path):
                    os.mkdir(path)
            else:
                if os.path.isdir(path) and not os.path.islink(path):
                    raise LabError(f"cannot overwrite directory {inside!r} with non-directory")
                if os.path.lexists(path):
                    os.unlink(path)
                _write(tar, info, path, root)
            if keep_owner:
                os.lchown(path, info.uid, info.gid)
            if not info.issym():
                os.chmod(path, info.mode & 0o7777)
                if not info.isdir():
                    os.utime(path, (info.mtime, info.mtime))
    except OSError as error:
        raise KernelError.of(error, "write", os.path.join(root, inside)) from None


def _write(tar: tarfile.TarFile, info: tarfile.TarInfo, path: str, root: str) -> None:
    if info.issym():
        os.symlink(info.linkname, path)
    elif info.islnk():
        with paths.inside(root, os.path.dirname(info.linkname) or ".") as spot:
            os.link(f"{spot}/{os.path.basename(info.linkname)}", path, follow_symlinks=False)
    elif info.isfifo():
        os.mkfifo(path)
    elif info.isdev():
        kind = 0o020000 if info.ischr() else 0o060000
        os.mknod(path, kind | 0o600, os.makedev(info.devmajor, info.devminor))
    else:
        content = tar.extractfile(info)
        assert content is not None
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(fd, "wb") as file:
            while piece := content.read(1 << 20):
                file.write(piece)


def _walk(path: str, name: str) -> Iterator[tuple[str, str]]:
    yield path, name
    if os.path.isdir(path) and not os.path.islink(path):
        for child in sorted(os.listdir(path)):
            yield from _walk(f"{path}/{child}", f"{name}/{child}")


def _content(path: str, size: int) -> Iterator[bytes]:
    """A file in pieces, for it may be larger than our memory, and the zeros that fill up its last block."""
    left = size
    with open(path, "rb") as file:
        while left:
            piece = file.read(min(left, 1 << 20))
            if not piece:
                raise LabError(f"cp: {path} became shorter while it was read")
            left -= len(piece)
            yield piece
    yield bytes(-size % tarfile.BLOCKSIZE)


class _Stream(io.RawIOBase):
    """Chunks as a file that can be read once."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        while len(self._rest) < size or size < 0:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            self._rest += chunk
        size = len(self._rest) if size < 0 else size
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken
