"""Where images come from: the lab's registry, the mirrors that daemon.json names, and whether they serve what they claim.

That the public hub, or any other address outside, cannot be reached is no row: the course does without.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

from labkit.errors import Denied, LabError, NotFound, Unreachable
from labkit.image.registry import settings
from labkit.lab import mirrors, registry
from labkit.lab.doctor import Row, State
from labkit.lab.seed import recipes

_MB = 1_000_000


def rows() -> Iterator[Row]:
    if os.geteuid() == 0:
        server = registry.running()
        yield _registry(server)
        if server:
            yield _seeded(server)
    else:  # the record of what runs is for root's eyes
        yield Row(registry.PROGRAM, State.LIMITED, "not looked for: that takes root", "sudo labkit doctor")
    yield from _mirrors()


def _registry(server: registry.Server | None) -> Row:
    if server:
        return Row(registry.PROGRAM, State.FINE, f"answers on {server.url}")
    if shutil.which(registry.PROGRAM) is None:
        return Row(registry.PROGRAM, State.LIMITED, "not installed; images come from elsewhere", "apt-get install docker-registry")
    return Row(registry.PROGRAM, State.LIMITED, "does not run; images come from elsewhere", "labkit up")


def _seeded(server: registry.Server) -> Row:
    try:
        lacking = [recipe.name for recipe in recipes.missing(server.url)]
    except LabError as error:
        return Row("images", State.LIMITED, str(error), "then `labkit images seed`")
    if lacking:
        return Row("images", State.LIMITED, f"missing or outdated: {' '.join(lacking)}", "labkit images seed, once with a network")
    return Row("images", State.FINE, f"{' '.join(recipe.name for recipe in recipes.RECIPES)} are seeded")


def _mirrors() -> Iterator[Row]:
    """A row for each."""
    try:
        found = settings.load()
    except LabError as error:
        yield Row("mirrors", State.LIMITED, str(error), f"mend {settings.PATH}, or remove it: `labkit up` writes one")
        return
    if not found.registry_mirrors:
        remedy = f'add "registry-mirrors": ["http://127.0.0.1:{registry.PORT}"] to it' if os.path.exists(settings.PATH) else "labkit up"
        yield Row("mirrors", State.LIMITED, f"{settings.PATH} names none", remedy)
    for url in found.registry_mirrors:
        yield _mirror(url, found)


def _mirror(url: str, trusted: settings.Settings) -> Row:
    name = f"mirror {url.partition('://')[2]}"
    own = url == f"http://127.0.0.1:{registry.PORT}"
    try:
        has = mirrors.inspect(url, trusted)
    except (Denied, NotFound):
        return Row(name, State.FINE, "answers, and keeps to itself what it has")
    except Unreachable as error:
        return Row(name, State.LIMITED, str(error), "labkit up" if own else f"take it out of registry-mirrors in {settings.PATH}")
    except LabError as error:
        return Row(name, State.LIMITED, str(error), f"take it out of registry-mirrors in {settings.PATH}")
    if has.faults:
        remedy = "labkit images seed --again" if own else f"take it out of registry-mirrors in {settings.PATH}"
        return Row(name, State.LIMITED, f"does not serve what it claims: {has.faults[0]}", remedy)
    return Row(name, State.FINE, f"serves what it claims: {has.tags} tags, {has.blobs} blobs, {has.bytes / _MB:.1f} MB checked")
