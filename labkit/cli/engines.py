"""From a command to the engine: where the store is, and which images can be named.

    labkit images                                             asks the daemon, if it answers
    labkit -H unix:///run/other.sock images                   asks that one
    labkit --root /data/labkit images                         asks nobody: another place for images

Where there is no daemon, each command about images is an engine of its own, for as long as it runs.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from labkit.errors import LabError, Unsupported

if TYPE_CHECKING:
    from labkit.cli.client.images import RemoteImages
    from labkit.engine.images import ImageStore
    from labkit.image.registry.settings import Settings

_ROOT, _CONFIG, _HOST = "labkit.root", "labkit.config", "labkit.host"
ROOT, CONFIG = "/var/lib/labkit", "/etc/labkit/daemon.json"
HOST = "unix:///run/labkit/labkit.sock"


def options(group: click.Group) -> None:
    """Give the whole command line the options that say where things are."""
    for flags, metavar, help in (
        (["-H", "--host"], "ADDRESS", f"The daemon's address ($DOCKER_HOST, else {HOST})."),
        (["--root"], "DIR", f"Work on the images of this directory, without a daemon ({ROOT})."),
        (["--config"], "FILE", f"Mirrors and insecure registries, without a daemon ({CONFIG})."),
    ):
        group.params.append(click.Option(flags, default="", metavar=metavar, help=help, expose_value=False, callback=_keep))


def host(ctx: click.Context | None = None) -> str:
    """The daemon's address: what ``--host`` says, else ``$DOCKER_HOST``, else labkit's own."""
    return _said(ctx, _HOST) or os.environ.get("DOCKER_HOST", "") or HOST


def asks_daemon(ctx: click.Context | None = None) -> bool:
    """Whether a daemon does the work: one that was named, or labkit's own if it answers. Who names a directory wants none."""
    if _said(ctx, _ROOT) or _said(ctx, _CONFIG):
        return False
    address = host(ctx)
    if address != HOST:
        return True
    import socket

    with socket.socket(socket.AF_UNIX) as attempt:
        return attempt.connect_ex(HOST.removeprefix("unix://")) == 0


def images(ctx: click.Context | None = None) -> ImageStore | RemoteImages:
    """The images that the command is about: a daemon's, or else those that this process finds itself."""
    if not asks_daemon(ctx):
        return engine(ctx)
    from labkit.cli.client import api
    from labkit.cli.client.images import RemoteImages

    return RemoteImages((ctx or click.get_current_context()).with_resource(api.connect()))


def engine(ctx: click.Context | None = None) -> ImageStore:
    """The images in this process, which takes root."""
    ctx = ctx or click.get_current_context()
    if os.geteuid() != 0 and not ctx.resilient_parsing:
        raise Unsupported(f"`{ctx.command_path}` takes root: sudo {ctx.command_path}")
    from labkit.engine.images import ImageStore

    return ImageStore(_said(ctx, _ROOT) or ROOT, _said(ctx, _CONFIG) or CONFIG, _wait)


def settings() -> Settings:
    """Mirrors and insecure registries; this takes no store."""
    from labkit.image.registry import settings

    return settings.load(_said(None, _CONFIG) or CONFIG)


def names(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """For completion in a shell: images whose names begin so."""
    try:
        found = {name.familiar for listed in images(ctx).list([]) for name in listed.names if name.tag}
    except LabError:
        return []
    typed = _typed(incomplete)
    there = len(typed.rpartition(":")[0]) + 1 if ":" in typed and typed != incomplete else 0
    return sorted(name[there:] for name in found if name.startswith(typed))


def _typed(incomplete: str) -> str:
    """All of the word at the cursor: bash takes a colon for the end of one, and ``web:v1`` for three words."""
    words = os.environ.get("COMP_WORDS", "").split()
    cursor = int(os.environ.get("COMP_CWORD", "0"))
    if "bash_complete" not in (os.environ.get("_LABKIT_COMPLETE"), os.environ.get("_DOCKER_COMPLETE")) or len(words) <= cursor:
        return incomplete
    whole = words[cursor]
    for word in reversed(words[:cursor]):
        if word != ":" and not whole.startswith(":"):
            break
        whole = word + whole
    return whole


def _said(ctx: click.Context | None, name: str) -> str:
    ctx = ctx or click.get_current_context(silent=True)
    return str(ctx.meta.get(name, "")) if ctx else ""


def _keep(ctx: click.Context, option: click.Parameter, value: str) -> str:
    ctx.meta[f"labkit.{option.name}"] = value
    return value


def _wait() -> None:
    print("labkit: another labkit is changing the images; waiting for it …", file=sys.stderr, flush=True)
