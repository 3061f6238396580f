"""COPY and ADD: files into the file system of an image.

    >>> from labkit.engine.build import copying
    >>> copying.copy(files, files.find("index.html"), "/mnt/root", "/srv/", copying.How(owner=(33, 33)))

    source               destination /srv/              destination /srv
    ────────────────────────────────────────────────────────────────────────────────────────────────
    a file               /srv/file                      /srv/file if /srv is a directory, else /srv itself
    a directory          what it holds goes to /srv     the same
    a tar archive, ADD   is unpacked in /srv            the same

Directories that are missing are made, 0755. What stands in the way of a file or a link is replaced; directories become one. Whatever
links an image has, nothing is written outside of its root. Source: Dockerfile reference, "COPY" and "ADD". Shown in notebook 09.
"""

from __future__ import annotations

import errno
import os
import posixpath
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from labkit.engine.build import sums
from labkit.engine.build.sources import Found, Source
from labkit.errors import InvalidInput, KernelError, NotFound
from labkit.linux import paths
from labkit.records import record
from labkit.storage import trees


@record
class How:
    """``owner`` and ``mode`` of the copies, the originals' if None; ``unpacks``: tar archives are unpacked, as ADD does."""

    owner: tuple[int, int] | None = None
    mode: int | None = None
    unpacks: bool = False


def parse_mode(text: str) -> int:
    """``--chmod=0755``."""
    if not text or set(text) - set("01234567") or int(text, 8) > 0o7777:
        raise InvalidInput(f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777")
    return int(text, 8)


def copy(source: Source, found: Sequence[Found], root: str, destination: str, how: How) -> None:
    """Copy what was found below ``root``, to the absolute path ``destination`` in there."""
    for each in found:
        try:
            with source.inside(each.name) as (spot, path):
                if stat.S_ISDIR(os.stat(spot).st_mode):
                    _copy_directory(source, path, root, destination, how)
                elif how.unpacks and _is_archive(spot):
                    _unpack(spot, root, destination, how)
                else:
                    _copy_file(spot, posixpath.basename(each.name), root, destination, how)
        except KernelError as error:
            if error.errno != errno.ENOTDIR:
                raise
            raise InvalidInput(f"cannot copy {each.name} to {destination}: a part of that path is not a directory") from None
        except OSError as error:
            raise KernelError.of(error, f"copy {each.name} to", destination) from None


def make_directory(root: str, path: str) -> None:
    """A directory below ``root``, and those above it, if they are not there."""
    with _made(root, path, How()):
        pass


def _copy_directory(source: Source, directory: str, root: str, destination: str, how: How) -> None:
    links: dict[tuple[int, int], str] = {}
    times: list[tuple[str, os.stat_result]] = []
    with _made(root, destination, how) as top:
        for path in source.walk(directory):
            target = f"{top}/{posixpath.relpath(path, directory or '.')}"
            with paths.inside(source.root, posixpath.dirname(path)) as parent:
                original = f"{parent}/{posixpath.basename(path)}"
                found = os.lstat(original)
                known = links.get((found.st_dev, found.st_ino)) if found.st_nlink > 1 else None
                if known and not stat.S_ISDIR(found.st_mode):
                    trees.remove(target)
                    os.link(known, target, follow_symlinks=False)
                    continue
                links[found.st_dev, found.st_ino] = target
                _copy_one(original, found, target, how)
                if stat.S_ISDIR(found.st_mode):
                    times.append((target, found))
        for target, found in reversed(times):  # after all that is made in them, which changes them
            os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))


def _copy_file(spot: str, name: str, root: str, destination: str, how: How) -> None:
    if not destination.endswith("/"):
        try:
            with paths.inside(root, destination) as there:
                if not stat.S_ISDIR(os.stat(there).st_mode):
                    _copy_one(os.readlink(spot), os.stat(spot), os.readlink(there), how)
                    return
        except NotFound:
            destination, name = posixpath.split(destination)
    with _made(root, destination, how) as directory:
        _copy_one(os.readlink(spot), os.stat(spot), f"{directory}/{name}", how)


def _copy_one(original: str, found: os.stat_result, target: str, how: How) -> None:
    """One file, directory, link, device or pipe, with its attributes."""
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFSOCK:
        return
    if kind != stat.S_IFDIR or not _is_directory(target):
        trees.remove(target)  # nothing is written through what an image has at this place
        if kind == stat.S_IFDIR:
            os.mkdir(target)
        elif kind == stat.S_IFLNK:
            os.symlink(os.readlink(original), target)
        elif kind == stat.S_IFREG:
            shutil.copyfile(original, target)
        else:
            os.mknod(target, found.st_mode, found.st_rdev)
    uid, gid = how.owner or (found.st_uid, found.st_gid)
    os.chown(target, uid, gid, follow_symlinks=False)
    if kind != stat.S_IFLNK:
        os.chmod(target, stat.S_IMODE(found.st_mode) if how.mode is None else how.mode)  # after chown, which clears setuid
        if kind == stat.S_IFREG and (capabilities := sums.capability(original)) is not None:
            os.setxattr(target, "security.capability", capabilities)
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns), follow_symlinks=False)


def _is_directory(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


@contextmanager
def _made(root: str, directory: str, how: How) -> Iterator[str]:
    """A directory below the root, made if it is not there; what is made belongs to the copies' owner."""
    missing = []
    above = posixpath.normpath(f"/{directory}")
    while above != "/" and not _is_there(root, above):
        missing.append(above)
        above = posixpath.dirname(above)
    with paths.inside(root, directory, create="dir") as spot:
        if not stat.S_ISDIR(os.stat(spot).st_mode):
            raise InvalidInput(f"cannot copy to {directory}: it is not a directory")
        for path in missing:
            with paths.inside(root, path) as made:
                os.chown(made, *(how.owner or (0, 0)))
        yield os.readlink(spot)  # not the descriptor's name: that one cannot be looked at without following it


def _is_there(root: str, path: str) -> bool:
    try:
        with paths.inside(root, path):
            return True
    except NotFound:
        return False


def _is_archive(spot: str) -> bool:
    """Whether a file is a tar archive, compressed or not: whether it has a first entry."""
    from labkit.storage import tar
    from labkit.storage.compression import decompressed

    with open(spot, "rb") as file:
        try:
            return next(iter(tar.Reader(decompressed(iter(lambda: file.read(1 << 16), b"")))), None) is not None
        except InvalidInput:
            return False


def _unpack(spot: str, root: str, destination: str, how: How) -> None:
    from labkit.storage.compression import decompressed
    from labkit.storage.unpack import unpack

    with _made(root, destination, how) as directory, open(spot, "rb") as file:
        unpack(decompressed(iter(lambda: file.read(1 << 20), b"")), directory, overlay=False)
