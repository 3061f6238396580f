"""Where COPY and ADD take files from: a build's context, or the file system of a stage or an image.

    >>> from labkit.engine.build.sources import Source
    >>> files = Source("/srv/web", ignore=web.ignore, owner=(0, 0))
    >>> [found.name for found in files.find("static/*.css")]
    ['static/a.css', 'static/b.css']

A path in it is looked up as if ``root`` were the root directory: neither ``..`` nor a link leads out. What ``ignore`` leaves out is not
there. Source: Dockerfile reference, "COPY". Shown in notebook 09.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from labkit.engine.build import patterns, sums
from labkit.engine.build.ignore import Ignore
from labkit.errors import InvalidInput, KernelError, NotFound
from labkit.linux import paths
from labkit.records import record


@record
class Found:
    """A file or directory to copy: as it was asked for, and its path below the root without links.

    ``sum`` is that of Docker's history, which tells nothing of links; ``links`` are those that are in the directory, with their text.
    """

    name: str
    path: str
    sum: str
    links: tuple[str, ...] = ()


@record
class Source:
    """A tree of files below ``root``. ``owner``: whom the copies belong to; None: whoever the originals do."""

    root: str
    ignore: Ignore = Ignore()
    owner: tuple[int, int] | None = None
    is_context: bool = False

    def find(self, pattern: str) -> list[Found]:
        """What ``pattern`` means: a path, or all paths that it matches, in order. ``NotFound`` in Docker's words if it is a path."""
        if posixpath.normpath(pattern).split("/")[0] == ".." and self.is_context:
            raise InvalidInput(f"forbidden path outside the build context: {pattern} ()")
        name = pattern.lstrip("/") if pattern.startswith("/") else pattern.removeprefix("./")
        try:
            if not patterns.is_pattern(name):
                return [self._found(name)]
            expression = patterns.compile(posixpath.normpath(name))
            return [self._found(path) for path in self.walk("") if expression.fullmatch(path)]
        except OSError as error:  # unreadable, or gone while we were looking
            raise KernelError.of(error, "read", f"{pattern} in {self.root}") from None

    def _found(self, name: str) -> Found:
        with self.inside(name) as (spot, path):
            is_directory = stat.S_ISDIR(os.stat(spot).st_mode)
        if not is_directory:
            return Found(name, path, f"file:{self._sum(path)}")
        inside = [*([path] if path else []), *self.walk(path)]
        links = tuple(f"{each} {text}" for each in inside if (text := self._link(each)) is not None)
        return Found(name, path, sums.together("dir", sorted(filter(None, map(self._sum, inside)))), links)

    def _sum(self, path: str) -> str:
        """Of what a path leads to: Docker sees through links here, and passes over one that leads to nothing."""
        try:
            with paths.inside(self.root, path) as spot:
                real = os.readlink(spot)
        except (NotFound, KernelError):
            return ""
        return sums.of_file(real, os.path.relpath(real, self.root), self.owner)

    def _link(self, path: str) -> str | None:
        with paths.inside(self.root, posixpath.dirname(path)) as directory:
            try:
                return os.readlink(f"{directory}/{posixpath.basename(path)}")
            except OSError:
                return None

    @contextmanager
    def inside(self, name: str) -> Iterator[tuple[str, str]]:
        """A name that is safe to open, and the path below the root, both without links."""
        try:
            with paths.inside(self.root, name) as spot:
                path = os.path.relpath(os.readlink(spot), self.root)
                path = "" if path == "." else path
                if path and self.ignore.ignores(path) and not self._has_kept(path):
                    raise self._missing(name)
                yield spot, path
        except NotFound:
            raise self._missing(name) from None

    def walk(self, directory: str) -> Iterator[str]:
        """All paths below a directory of the tree, those of a directory's entries after its own, by name."""
        with paths.inside(self.root, directory) as spot:
            entries = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in os.scandir(spot))
        for name, is_directory in entries:
            path = posixpath.join(directory, name)
            if not self.ignore.ignores(path):
                yield path
                if is_directory:
                    yield from self.walk(path)
            elif is_directory and self.ignore.takes_back:
                below = list(self.walk(path))
                yield from [path, *below] if below else []

    def _has_kept(self, path: str) -> bool:
        """Whether a directory that is left out is there all the same, for what it holds."""
        if not self.ignore.takes_back or not os.path.isdir(f"{self.root}/{path}"):
            return False
        return next(self.walk(path), None) is not None

    def _missing(self, name: str) -> NotFound:
        told = "file not found in build context or excluded by .dockerignore: " if self.is_context else ""
        return NotFound(f"{told}stat {name}: file does not exist")
