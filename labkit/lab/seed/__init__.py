"""The lab's images: busybox, debian and nginx, built here and pushed to the lab's registry.

    >>> from labkit.lab import seed
    >>> seed.seed(report=print)
    busybox: Step 1/5 : FROM scratch
    …
    busybox: Pushed: 3 layers, 1.1 MB
    debian: asking http://ftp.debian.org/debian
    …
    ('busybox', 'debian', 'nginx')
    >>> seed.seed()                                # all are there, and made as they would be made now
    ()

Each is a directory with a Dockerfile, as a student would write it, built by the same ``labkit build``:

    /bin/busybox ───────────────────────────────▶ busybox/Dockerfile ─▶ library/busybox ┐
    Debian mirror ─▶ mmdebstrap ─┬─ rootfs.tar ─▶ debian/Dockerfile  ─▶ library/debian  ├─▶ http://127.0.0.1:5000
                                 └─ packages/ ──▶ nginx/Dockerfile   ─▶ library/nginx   ┘
                                                  (FROM debian)

They are built in a store of their own, gone afterwards, so that the first ``pull`` has something to fetch. The same packages give the
same digests: no time, name or number of this machine is in them. ``recipes`` knows whether there is anything to do.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import IO, TYPE_CHECKING

from labkit.errors import KernelError, LabError, Unreachable
from labkit.image.progress import Progress, Report, silent
from labkit.lab import registry, service
from labkit.lab.seed import debian, recipes
from labkit.lab.seed.recipes import Recipe

if TYPE_CHECKING:
    from labkit.engine.build.output import Output
    from labkit.image.images import Image

RUN = "/run/labkit/seed"
WORKSHOP = "/var/lib/labkit/seed"

_MB = 1_000_000
_WIDTH = 72


def seed(
    report: Report = silent,
    again: bool = False,
    server: registry.Server | None = None,
    run: str = RUN,
    workshop: str = WORKSHOP,
) -> tuple[str, ...]:
    """Make the images that the registry lacks (``again``: all of them, in place of what is damaged there), and start it if need be.

    Returns their names.

    What can be made is made: where no Debian mirror answers, that is busybox. Then raises ``LabError``, which names the images that
    are missing, the cause and the remedy.
    """
    server = server or registry.up()
    if not again and not recipes.missing(server.url):
        return ()
    with service.locked(run, waiting=lambda: report(Progress("", "Waiting for another labkit that makes the images"))):
        if again:
            registry.sweep(server)
        wanted = recipes.RECIPES if again else _with_bases(recipes.missing(server.url))
        with _room(workshop) as directory, open(f"{run}/log", "w") as log:
            try:
                return _Workshop(directory, server, log, report).make(wanted)
            finally:
                os.sync()  # the registry does not, and takes what a power cut has left of a blob for whole


class _Workshop:
    """A place to build in, with a store of its own."""

    def __init__(self, directory: str, server: registry.Server, log: IO[str], report: Report) -> None:
        from labkit.image.images import Images
        from labkit.storage.store import Store

        self.directory = directory
        self.server = server
        self.log = log
        self.report = report
        self.images = Images(Store(f"{directory}/store"))

    def make(self, wanted: Sequence[Recipe]) -> tuple[str, ...]:
        """Build and push, each image as far as it can be: then others are not lost with it."""
        failures: dict[str, LabError] = {}
        try:
            _ = self.images.store.snapshots  # found out now, before anything is fetched for it
        except LabError as error:
            raise LabError(_told({recipe.name: error for recipe in wanted}, self.log.name)) from None
        for recipe in wanted:
            try:
                if recipe.base in failures:
                    raise failures[recipe.base]
                self._prepare(recipe, wanted)
                self._push(recipe, self._build(recipe))
            except (LabError, OSError) as error:
                place = f"the image {recipe.name} in {self.directory}"
                failures[recipe.name] = error if isinstance(error, LabError) else KernelError.of(error, "make", place)
                self.report(Progress(recipe.name, "Not made"))
        if failures:
            raise LabError(_told(failures, self.log.name))
        return tuple(recipe.name for recipe in wanted)

    def _prepare(self, recipe: Recipe, wanted: Sequence[Recipe]) -> None:
        """The build's context: the recipe's own files, and what this machine or a mirror adds."""
        context = f"{self.directory}/{recipe.name}"
        if recipe.from_mirror and not recipe.base:
            # One visit to the mirror for all: packages for the one are of the same day as the other.
            packages = sorted({package for each in wanted for package in each.packages})
            say = partial(_say, self.report, recipe.name)
            debian.bootstrap(f"{self.directory}/rootfs.tar", f"{self.directory}/packages", packages, say)
            os.makedirs(context)
            os.rename(f"{self.directory}/rootfs.tar", f"{context}/rootfs.tar")
        if recipe.packages:
            os.makedirs(context)
            os.rename(f"{self.directory}/packages", f"{context}/packages")
        if recipe.program:
            os.makedirs(context)
            shutil.copy(recipe.program, context)
        shutil.copytree(recipe.directory, context, dirs_exist_ok=True)
        _normalise(context)

    def _build(self, recipe: Recipe) -> Image:
        from labkit.engine.build import builder

        return builder.build(
            self.images,
            f"{self.directory}/{recipe.name}",
            tags=(f"{recipe.name}:latest",),
            labels={recipes.LABEL: recipe.digest},
            epoch=debian.EPOCH,
            report=partial(self._hear, recipe),
        )

    def _hear(self, recipe: Recipe, said: Output) -> None:
        """The log gets all that a build says; the person who waits gets its steps."""
        self.log.write(said.text)
        self.log.flush()
        for step in re.findall(r"^Step .*", said.text, re.MULTILINE):
            _say(self.report, recipe.name, step if len(step) <= _WIDTH else f"{step[:_WIDTH]}…")

    def _push(self, recipe: Recipe, image: Image) -> None:
        from labkit.image import references
        from labkit.image.registry import push
        from labkit.image.registry.settings import Settings

        _say(self.report, recipe.name, "Pushing")
        for tag in recipe.tags:
            name = references.parse(f"{self.server.address}/library/{recipe.name}:{tag}")
            self.images.tag(image, name)
            push.push(self.images, name, settings=Settings())
        layers = image.manifest.layers
        _say(self.report, recipe.name, f"Pushed: {len(layers)} layers, {sum(layer.size for layer in layers) / _MB:.1f} MB")


def _say(report: Report, name: str, step: str) -> None:
    report(Progress(name, step))


def _told(failures: Mapping[str, LabError], log: str) -> str:
    """What is missing, why, and what to do about it."""
    causes = "; ".join(dict.fromkeys(str(error) for error in failures.values()))
    is_mirror = any(isinstance(error, Unreachable) for error in failures.values())
    first = "a Debian mirror must answer once" if is_mirror else f"mend that; {log} has the whole story"
    return f"not in the lab's registry: {', '.join(failures)}: {causes} ({first}, then `labkit images seed`; all else works without)"


def _with_bases(wanted: Sequence[Recipe]) -> tuple[Recipe, ...]:
    """What is built on another image needs that one in the workshop, too."""
    names = {name for recipe in wanted for name in (recipe.name, recipe.base)}
    return tuple(recipe for recipe in recipes.RECIPES if recipe.name in names)


def _normalise(context: str) -> None:
    """Owner, mode and time of a checkout are nobody's business: a file is for all to read, and to execute where it is a program."""
    for place, directories, names in os.walk(context):
        for name in (*directories, *names):
            path = os.path.join(place, name)
            executable = name in directories or os.access(path, os.X_OK)
            os.chmod(path, 0o755 if executable else 0o644)
            os.utime(path, (debian.EPOCH, debian.EPOCH))


@contextmanager
def _room(workshop: str) -> Iterator[str]:
    """A directory of its own, gone at the end. What somebody left who was killed is removed, but he may have a child that still writes."""
    try:
        for name in os.listdir(workshop) if os.path.isdir(workshop) else ():
            shutil.rmtree(f"{workshop}/{name}", ignore_errors=True)
        os.makedirs(workshop, exist_ok=True)
        directory = tempfile.mkdtemp(dir=workshop)
    except OSError as error:
        raise KernelError.of(error, "make a directory in", workshop) from None
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        with suppress(OSError):
            os.rmdir(workshop)
