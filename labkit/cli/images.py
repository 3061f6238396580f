"""``labkit images``, ``history``, ``tag``, ``rmi`` and ``image prune``: what there is, what it is called, what goes.

    labkit images                            labkit images --format '{{.Repository}} {{.Size}}' --filter label=course
    labkit history nginx                     labkit tag nginx 127.0.0.1:5000/me/web:v1
    labkit rmi nginx                         labkit image prune --all

Grammar, columns and words are docker's. Source: ``docker image --help``. Seen in notebook 05.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from labkit.cli import engines, exits, human, progress, tables
from labkit.cli.grammar import Command, Mistake, command, switch, value
from labkit.cli.tables import Column, Row
from labkit.errors import LabError, NotFound

if TYPE_CHECKING:
    from labkit.cli.client.images import RemoteListed
    from labkit.engine.image_filters import Listed
    from labkit.image.images import Step
    from labkit.image.references import Reference

_NONE = "<none>"
_FORMAT = "Format output using a custom template: 'table' (default), 'table TEMPLATE', 'json' or a Go 'TEMPLATE'"

_IMAGE_COLUMNS = (
    Column("Repository", "REPOSITORY"),
    Column("Tag", "TAG"),
    Column("Digest", "DIGEST", shown=False),
    Column("ID", "IMAGE ID"),
    Column("CreatedSince", "CREATED"),
    Column("CreatedAt", "CREATED AT", shown=False),
    Column("Size", "SIZE"),
    Column("VirtualSize", "VIRTUAL SIZE", shown=False),
    Column("Containers", "CONTAINERS", shown=False),
    Column("SharedSize", "SHARED SIZE", shown=False),
    Column("UniqueSize", "UNIQUE SIZE", shown=False),
)
_STEP_COLUMNS = (
    Column("ID", "IMAGE"),
    Column("CreatedSince", "CREATED"),
    Column("CreatedAt", "CREATED AT", shown=False),
    Column("CreatedBy", "CREATED BY"),
    Column("Size", "SIZE"),
    Column("Comment", "COMMENT"),
)


class _Images(Command):
    """``labkit images seed`` is another command: it makes the lab's images. An image of that name is listed by ``image ls seed``."""

    def make_context(self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: object) -> click.Context:
        """The context of the command that is meant."""
        if args[:1] == ["seed"]:
            return seed.make_context(f"{info_name} seed", args[1:], parent)
        return super().make_context(info_name, args, parent, **extra)


def _listing(name: str, kind: type[Command] = Command) -> Command:
    @command(name, "[REPOSITORY[:TAG]]", at_most=1, complete=engines.names, kind=kind)
    @switch("-a", "--all", help="Show all images (default hides intermediate images)")
    @switch("--digests", help="Show digests")
    @value("-f", "--filter", kind="filter", many=True, help="Filter output based on conditions provided: reference, dangling, label, …")
    @value("--format", help=_FORMAT)
    @switch("--no-trunc", help="Don't truncate output")
    @switch("-q", "--quiet", help="Only show image IDs")
    def listing(
        all: bool, digests: bool, filter: tuple[str, ...], format: str, no_trunc: bool, quiet: bool, words: tuple[str, ...]
    ) -> None:
        """List images."""
        _check_filters(filter)
        found = engines.images().list([*filter, *(f"reference={word}" for word in words)])
        with_digests = digests or "{{.Digest}}" in format
        rows = [row for listed in found for row in _image_rows(listed, with_digests, no_trunc)]
        columns = [column for column in _IMAGE_COLUMNS if column.field != "Digest"]
        if digests:
            columns.insert(2, Column("Digest", "DIGEST"))
        elif with_digests:
            columns.insert(2, _IMAGE_COLUMNS[2])
        show(tables.lines(columns, rows, format or ("{{.ID}}" if quiet else "")))

    return listing


images = _listing("images", _Images)
images.help = "List images.\n\n`labkit images seed` makes the lab's own; an image that is called seed is listed by `labkit image ls seed`."
ls = _listing("ls")


@command("seed", at_most=0)
@switch("--again", help="Build all of them, whatever is there")
@switch("-q", "--quiet", help="Suppress verbose output")
def seed(again: bool, quiet: bool) -> None:
    """Build the lab's images busybox, debian and nginx, and push them to the lab's registry.

    What is there already, made from the same recipe, is not built again.
    """
    from labkit.lab.seed import seed as build

    with progress.shown(quiet) as report:
        made = build(report, again)
    if not made and not quiet:
        print("All are there, made from the recipes of today.")


@command("history", "IMAGE", at_least=1, at_most=1, complete=engines.names)
@value("--format", help=_FORMAT)
@switch("-H", "--human", default=True, help="Print sizes and dates in human readable format (default true)")
@switch("--no-trunc", help="Don't truncate output")
@switch("-q", "--quiet", help="Only show image IDs")
def history(format: str, human: bool, no_trunc: bool, quiet: bool, words: tuple[str, ...]) -> None:
    """Show the history of an image."""
    steps = engines.images().get(words[0]).history
    columns: Sequence[Column] = _STEP_COLUMNS
    if not human:
        columns = tuple(Column(each.field, each.heading, each.field != "CreatedSince") for each in columns)
    rows = [_step_row(step, human, no_trunc) for step in steps]
    show(tables.lines(columns, rows, format or ("{{.ID}}" if quiet else "")))


@command("tag", "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", at_least=2, at_most=2, complete=engines.names)
def tag(words: tuple[str, ...]) -> None:
    """Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE."""
    engines.images().tag(*words)


def _removing(name: str) -> Command:
    @command(name, "IMAGE [IMAGE...]", at_least=1, complete=engines.names)
    @switch("-f", "--force", help="Force removal of the image")
    @switch("--no-prune", help="Do not delete untagged parents")
    def removing(force: bool, no_prune: bool, words: tuple[str, ...]) -> int:
        """Remove one or more images."""
        engine = engines.images()
        code = exits.DONE
        for word in words:
            try:
                for line in engine.remove(word, force=force):
                    click.echo(str(line))
            except LabError as error:
                if not (force and isinstance(error, NotFound)):
                    code = exits.FAILED
                sys.stdout.flush()
                exits.report(error)
        return code

    return removing


rmi = _removing("rmi")
rm = _removing("rm")


@command("prune", at_most=0)
@switch("-a", "--all", help="Remove all unused images, not just dangling ones")
@value("--filter", kind="filter", many=True, help="Provide filter values (e.g. 'until=24h')")
@switch("-f", "--force", help="Do not prompt for confirmation")
def prune(all: bool, filter: tuple[str, ...], force: bool) -> None:
    """Remove unused images."""
    _check_filters(filter)
    what = "all images without at least one container associated to them" if all else "all dangling images"
    if not force and not confirmed(f"WARNING! This will remove {what}."):
        return
    pruned = engines.images().prune(all=all, filters=filter)
    if pruned.removed:
        click.echo("Deleted Images:")
        for line in pruned.removed:
            click.echo(str(line)[:1].lower() + str(line)[1:])
        click.echo()
    click.echo(f"Total reclaimed space: {human.size(pruned.bytes, 4)}")


def show(lines: Sequence[str]) -> None:
    """Print lines, if there are any."""
    if lines:
        click.echo("\n".join(lines))


def confirmed(warning: str) -> bool:
    """Ask the person; whoever says nothing does not want it."""
    click.echo(f"{warning}\nAre you sure you want to continue? [y/N] ", nl=False)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _image_rows(listed: Listed | RemoteListed, with_digests: bool, whole: bool) -> Iterator[Row]:
    """A line for each name; by digest, too, where that is asked for."""
    image = listed.image
    unix = image.created.timestamp() if image.created else None
    common = {
        "ID": image.id if whole else human.short(image.id),
        "CreatedSince": "N/A" if unix is None else human.ago(time.time() - unix),
        "CreatedAt": "N/A" if unix is None else human.moment(unix),
        "Size": human.size(image.size),
        "VirtualSize": human.size(image.size, 4),
        "Containers": "N/A",
        "SharedSize": "N/A",
        "UniqueSize": "N/A",
    }
    for repository, tag, digest in _names(listed.names, with_digests):
        yield {"Repository": repository, "Tag": tag, "Digest": digest, **common}


def _names(names: Sequence[Reference], with_digests: bool) -> Iterator[tuple[str, str, str]]:
    """Repository, tag and digest of each line."""
    if not names:
        yield _NONE, _NONE, _NONE
    for repository in dict.fromkeys(name.familiar_name for name in names):
        mine = [name for name in names if name.familiar_name == repository]
        tags = [name.tag for name in mine if name.tag] or [_NONE]
        digests = ([name.digest for name in mine if name.digest] if with_digests else []) or [_NONE]
        for tag in tags:
            for digest in digests:
                yield repository, tag, digest


def _step_row(step: Step, readable: bool, whole: bool) -> Row:
    unix = step.created.timestamp() if step.created else None
    by = step.created_by.replace("\t", " ")
    return {
        "ID": step.id if whole or step.id.startswith("<") else human.short(step.id),
        "CreatedSince": "N/A" if unix is None else human.ago(time.time() - unix) if readable else human.rfc3339(unix),
        "CreatedAt": "N/A" if unix is None else human.rfc3339(unix),
        "CreatedBy": by if whole else human.shortened(by, 45),
        "Size": human.size(step.size) if readable else str(step.size),
        "Comment": step.comment,
    }


def _check_filters(filters: Sequence[str]) -> None:
    for text in filters:
        if "=" not in text:
            what = f'invalid argument "{text}" for "-f, --filter" flag: bad format of filter (expected name=value)'
            raise Mistake(what, click.get_current_context(), exits.OPTION)
