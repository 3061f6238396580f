"""Paths below a root: what ``path`` means to a process whose root directory is ``root``.

A container's file system comes from strangers, and a symbolic link in it may point anywhere. Whoever mounts or writes below it
from outside asks here for the way:

    >>> from labkit.linux import mounts
    >>> with mounts.inside("/run/labkit/c1/rootfs", "/var/run/secrets", create="dir") as spot:
    ...     mounts.bind("/srv/secrets", spot)

Source: ``man 7 path_resolution``, ``man 2 open`` (O_PATH). Shown in notebook 04.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from labkit.errors import KernelError, NotFound
from labkit.linux import syscalls


@contextmanager
def inside(root: str, path: str, create: str | None = None) -> Iterator[str]:
    """``path`` as a process sees it whose root directory is ``root``: a name that is safe to mount on.

    What is missing is made on a walk: each component is opened from the one before, links are followed by hand, ``..`` goes back
    along the way it came. Neither a link in an image (CVE-2019-19921) nor one swapped in at the right moment (CVE-2021-30465)
    leads out of ``root``. ``create`` makes directories, and at the end a "dir" or a "file". Yields ``/proc/self/fd/N``.
    """
    try:
        fd = _find(root, path, create)
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file or directory below {root}") from None
    except OSError as error:
        raise KernelError.of(error, f"find {path} below", root) from None
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _find(root: str, path: str, create: str | None) -> int:
    """One system call, which the kernel keeps below ``root``, for what is there; the walk for what has to be made."""
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        return syscalls.openat2(directory, path, os.O_PATH, syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS)
    except KernelError:
        return _walk(root, path, create)
    finally:
        os.close(directory)


def _walk(root: str, path: str, create: str | None) -> int:
    trail = [os.open(root, os.O_PATH | os.O_DIRECTORY)]  # from the root down to where we are
    ahead = path.split("/")[::-1]
    links = 0
    try:
        while ahead:
            name = ahead.pop()
            if name in ("", "."):
                continue
            if name == "..":
                if len(trail) > 1:
                    os.close(trail.pop())
                continue
            kind = create and ("dir" if any(ahead) else create)
            fd = _open_or_make(name, trail[-1], kind)
            if not stat.S_ISLNK(os.fstat(fd).st_mode):
                trail.append(fd)
                continue
            link = os.readlink("", dir_fd=fd)
            os.close(fd)
            links += 1
            if links > 40:
                raise OSError(errno.ELOOP, "too many symbolic links")
            while link.startswith("/") and len(trail) > 1:
                os.close(trail.pop())
            ahead += link.split("/")[::-1]
        return trail.pop()
    finally:
        for fd in trail:
            os.close(fd)


def _open_or_make(name: str, directory: int, kind: str | None) -> int:
    flags = os.O_PATH | os.O_NOFOLLOW
    try:
        return os.open(name, flags, dir_fd=directory)
    except FileNotFoundError:
        if kind is None:
            raise
    try:
        if kind == "dir":
            os.mkdir(name, 0o755, dir_fd=directory)
        else:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL, 0o644, dir_fd=directory))
    except FileExistsError:
        pass  # somebody else was faster
    return os.open(name, flags, dir_fd=directory)
