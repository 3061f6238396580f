"""The recipes of the lab's images, and which of them the registry already has as they are written now.

    >>> from labkit.lab.seed import recipes
    >>> [recipe.name for recipe in recipes.RECIPES]
    ['busybox', 'debian', 'nginx']
    >>> recipes.missing("http://127.0.0.1:5000")
    ()

A recipe is a directory beside this file with a Dockerfile in it. Its digest stands for everything that the image is made of, and is
written into the image as a label. So nothing has to be remembered elsewhere: the registry's own answer tells whether it is seeded,
and a change of a recipe is noticed wherever it comes from.

    files of the recipe ─┐
    /bin/busybox        ─┼─ sha256 ─▶ label labkit.recipe ─▶ config ─▶ manifest ─▶ library/busybox:latest
    digest of its base  ─┘

What is *not* in it is which packages a Debian mirror has today: else nobody without a network could tell that all is well.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from labkit.errors import Unsupported
from labkit.lab import service
from labkit.lab.seed import debian

LABEL = "labkit.recipe"
BUSYBOX = "/bin/busybox"

_HERE = os.path.dirname(__file__)
_MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


@dataclass(frozen=True)
class Recipe:
    """One image of the lab's."""

    name: str
    tags: tuple[str, ...] = ("latest",)
    base: str | None = None
    """Another recipe, which its Dockerfile names in FROM."""
    program: str | None = None
    """A program of this machine that goes into it."""
    packages: tuple[str, ...] = ()
    """Packages of Debian that go into it."""
    from_mirror: bool = False
    """Whether a Debian mirror is needed to make it."""

    @property
    def directory(self) -> str:
        """Where its Dockerfile is."""
        return os.path.join(_HERE, self.name)

    @cached_property
    def digest(self) -> str:
        """Of everything that the image is made of. ``Unsupported`` where its program is missing."""
        parts = hashlib.sha256(f"{self} {platform.machine()} {debian.EPOCH}".encode())
        if self.from_mirror:
            parts.update(f"{debian.SUITE} {debian.OPTIONS}".encode())
        if self.base:
            parts.update(named(self.base).digest.encode())
        for path in (*sorted(_files(self.directory)), *((self.program,) if self.program else ())):
            name = os.path.relpath(path, self.directory) if path != self.program else ""
            parts.update(f"\0{name}\0{os.access(path, os.X_OK)}\0".encode())
            parts.update(_read(path))
        return f"sha256:{parts.hexdigest()}"


RECIPES = (
    Recipe("busybox", program=BUSYBOX),
    Recipe("debian", ("latest", debian.SUITE), from_mirror=True),
    Recipe("nginx", base="debian", packages=("nginx",), from_mirror=True),
)
"""A base before what stands on it."""


def named(name: str) -> Recipe:
    """The recipe of that name."""
    return next(recipe for recipe in RECIPES if recipe.name == name)


def missing(registry: str) -> tuple[Recipe, ...]:
    """The recipes whose images the registry at that URL does not have whole, or has as an earlier recipe made them."""
    return tuple(recipe for recipe in RECIPES if {_label(registry, recipe.name, tag) for tag in recipe.tags} != {recipe.digest})


def _label(registry: str, name: str, tag: str) -> str | None:
    """The recipe's digest in the config of an image, as the registry gives it out; None if anything of the image is missing there."""
    repository = f"{registry}/v2/library/{name}"
    try:
        manifest = json.loads(service.fetched(f"{repository}/manifests/{tag}", {"Accept": _MANIFESTS}) or b"null")
        config = json.loads(service.fetched(f"{repository}/blobs/{manifest['config']['digest']}") or b"null")
        layers = [service.fetched(f"{repository}/blobs/{layer['digest']}", method="HEAD") for layer in manifest["layers"]]
        return str(config["config"]["Labels"][LABEL]) if None not in layers else None
    except (ValueError, LookupError, TypeError):  # there is none, or somebody put another image there
        return None


def _files(directory: str) -> Iterator[str]:
    for place, _, names in os.walk(directory):
        yield from (os.path.join(place, name) for name in names)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise Unsupported(f"{path} is missing, of which the image busybox is made: apt-get install busybox-static") from None
