"""What a stack of layers shows, worked out from the directories alone, without a mount: the rules of overlayfs in Python.

    >>> from labkit.storage import union
    >>> layers = ["/layers/app", "/layers/base"]                    # topmost first
    >>> union.provider(layers, "/etc/hosts")                        # the layer that has it: 0 is the topmost, None is nobody
    1
    >>> print(*union.changes(layers[0], layers[1:]), sep="\\n")
    added   /srv/app

The topmost layer that has a path provides it. A whiteout hides it in all layers below; so does an opaque directory with what is in it,
and a file or a link where those below have a directory. A path is "" for the root, or begins with a slash.

Source: the kernel's ``Documentation/filesystems/overlayfs.rst``. Shown in notebook 03.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from labkit.linux import overlays


@dataclass(frozen=True)
class Change:
    """What a layer does to one path: ``kind`` is ``added``, ``changed`` or ``deleted``."""

    kind: str
    path: str

    def __str__(self) -> str:
        return f"{self.kind:8}{self.path}"


def provider(layers: Sequence[str], path: str) -> int | None:
    """The number of the layer that provides ``path``, or None if the union does not have it."""
    for index, layer in enumerate(layers):
        place, hides_below = layer, False
        for name in path.split("/")[1:]:
            if not _is_directory(place):
                return None  # a file or a link of this layer hides the directories below it
            hides_below = hides_below or overlays.is_opaque(place)
            place = f"{place}/{name}"
            if not os.path.lexists(place):
                break
            if overlays.is_whiteout(place):
                return None
        else:
            return index
        if hides_below:
            return None
    return None


def walk(layers: Sequence[str], directory: str = "") -> Iterator[tuple[str, int]]:
    """Every path of the union below ``directory``, with the layer that provides it."""
    for path in entries(layers, directory):
        index = provider(layers, path)
        if index is not None:
            yield path, index
            if _is_directory(layers[index] + path):
                yield from walk(layers, path)


def changes(top: str, below: Sequence[str], directory: str = "") -> Iterator[Change]:
    """What ``top`` adds to, changes in and deletes from the union of the layers below it."""
    names = {f"{directory}/{name}" for name in os.listdir(top + directory)}
    if overlays.is_opaque(top + directory):
        names.update(entries(below, directory))
    for path in sorted(names):
        here, index = top + path, provider(below, path)
        if not os.path.lexists(here) or overlays.is_whiteout(here):
            if index is not None:
                yield Change("deleted", path)
            continue
        if index is None:
            yield Change("added", path)
        elif not _same_directory(here, below[index] + path):
            yield Change("changed", path)
        if _is_directory(here):
            yield from changes(top, below, path)


def entries(layers: Sequence[str], path: str = "") -> list[str]:
    """The paths in one directory of the union."""
    directories = [layer + path for layer in layers if provider([layer], path) == 0 and _is_directory(layer + path)]
    names = {name for directory in directories for name in os.listdir(directory)}
    return [f"{path}/{name}" for name in sorted(names) if provider(layers, f"{path}/{name}") is not None]


def _same_directory(a: str, b: str) -> bool:
    one, other = os.lstat(a), os.lstat(b)
    return stat.S_ISDIR(one.st_mode) and (one.st_mode, one.st_uid, one.st_gid) == (other.st_mode, other.st_uid, other.st_gid)


def _is_directory(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)
