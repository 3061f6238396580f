"""From a command to the engine: where the store is, and which images can be named.

    labkit --root /data/labkit images                         another place for images; the rest of the grammar is docker's

Until there is a daemon, each command is an engine of its own, for as long as it runs.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from labkit.errors import LabError

if TYPE_CHECKING:
    from labkit.engine.images import ImageStore
    from labkit.image.registry.settings import Settings

_ROOT, _CONFIG = "labkit.root", "labkit.config"


def options(group: click.Group) -> None:
    """Give the whole command line the options that say where things are."""
    for name, default, metavar, help in (
        (_ROOT, "/var/lib/labkit", "DIR", "Where images are kept (/var/lib/labkit)."),
        (_CONFIG, "/etc/labkit/daemon.json", "FILE", "Mirrors and insecure registries (/etc/labkit/daemon.json)."),
    ):
        flag = f"--{name.partition('.')[2]}"
        group.params.append(click.Option([flag], default=default, metavar=metavar, help=help, expose_value=False, callback=_keep))


def engine(ctx: click.Context | None = None) -> ImageStore:
    """The engine that the command is about."""
    from labkit.engine.images import ImageStore

    meta = (ctx or click.get_current_context()).meta
    return ImageStore(meta.get(_ROOT, "/var/lib/labkit"), meta.get(_CONFIG, "/etc/labkit/daemon.json"), _wait)


def settings() -> Settings:
    """Mirrors and insecure registries; this takes no store."""
    from labkit.image.registry import settings

    return settings.load(click.get_current_context().meta.get(_CONFIG, "/etc/labkit/daemon.json"))


def names(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """For completion in a shell: images whose names begin so."""
    try:
        found = {name.familiar for image in engine(ctx).images.list() for name in image.tags}
    except LabError:
        return []
    typed = _typed(incomplete)
    there = len(typed.rpartition(":")[0]) + 1 if ":" in typed and typed != incomplete else 0
    return sorted(name[there:] for name in found if name.startswith(typed))


def _typed(incomplete: str) -> str:
    """All of the word at the cursor: bash takes a colon for the end of one, and ``web:v1`` for three words."""
    words = os.environ.get("COMP_WORDS", "").split()
    cursor = int(os.environ.get("COMP_CWORD", "0"))
    if os.environ.get("_LABKIT_COMPLETE") != "bash_complete" or len(words) <= cursor:
        return incomplete
    whole = words[cursor]
    for word in reversed(words[:cursor]):
        if word != ":" and not whole.startswith(":"):
            break
        whole = word + whole
    return whole


def _keep(ctx: click.Context, option: click.Parameter, value: str) -> str:
    ctx.meta[f"labkit.{option.name}"] = value
    return value


def _wait() -> None:
    print("labkit: another labkit is changing the images; waiting for it …", file=sys.stderr, flush=True)
