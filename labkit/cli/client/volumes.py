"""``labkit volume …``: directories of the daemon's that outlive containers.

    labkit volume create data                labkit volume ls -q -f dangling=true
    labkit run -v data:/srv busybox          labkit volume rm data

Source: ``docker volume --help``; engine-api, 7. Shown in notebook 09.
"""

from __future__ import annotations

import click

from labkit import codec
from labkit.cli import exits, human
from labkit.cli.client import answers, api, complete, inspecting
from labkit.cli.client.answers import Volume
from labkit.cli.client.grammar import Failed, ask, each, option
from labkit.cli.client.listing import FILTERS, FORMAT
from labkit.cli.client.values import FILTER, LABEL, MAP
from labkit.cli.grammar import switch
from labkit.cli.images import confirmed
from labkit.errors import NotFound

_NAMES = complete.volumes()


@ask("create", "[VOLUME]", at_most=1)
@option("-d", "--driver", default="local", help='Specify volume driver name (default "local")')
@option("--label", kind=LABEL, many=True, help="Set metadata for a volume")
@option("--name", hidden=True, help="Specify volume name")
@option("-o", "--opt", kind=MAP, many=True, help="Set driver specific options")
def create(words: tuple[str, ...], driver: str, label: tuple[str, ...], name: str, opt: tuple[str, ...]) -> None:
    """Create a volume."""
    if name and words:
        raise Failed("conflicting options: cannot specify a volume name through both --name and as a positional arg")
    wanted = {"Driver": driver, "Labels": _pairs(label), "DriverOpts": _pairs(opt), "Name": name or "".join(words)}
    with api.connect() as daemon:
        made = daemon.post("/volumes/create", {key: value for key, value in wanted.items() if value})
    click.echo(codec.decode(Volume, made).Name)


@ask("inspect", "VOLUME [VOLUME...]", at_least=1, complete=_NAMES)
@option("-f", "--format", help="Format output using a custom template: 'json' or a Go 'TEMPLATE'")
def inspect(words: tuple[str, ...], format: str) -> int:
    """Display detailed information on one or more volumes."""
    return inspecting.show(words, format, ["volume"])


@ask("ls", at_most=0)
@option("-f", "--filter", kind=FILTER, many=True, help=FILTERS)
@option("--format", help=FORMAT)
@switch("-q", "--quiet", help="Only display volume names")
def ls(filter: tuple[str, ...], format: str, quiet: bool) -> None:
    """List volumes."""
    from labkit.cli import tables

    with api.connect() as daemon:
        found = daemon.read(answers.Volumes, "/volumes", filters=api.filters(filter)).Volumes
    rows = [row(volume) for volume in sorted(found, key=lambda volume: volume.Name)]
    columns = [tables.Column(*column) for column in _COLUMNS]
    lines = tables.lines(columns, rows, format or ("{{.Name}}" if quiet else ""))
    click.echo("".join(f"{line}\n" for line in lines), nl=False)


_COLUMNS = (
    ("Driver", "DRIVER", True), ("Name", "VOLUME NAME", True), ("Scope", "SCOPE", False), ("Mountpoint", "MOUNTPOINT", False),
    ("Labels", "LABELS", False), ("Links", "LINKS", False), ("Size", "SIZE", False), ("Availability", "AVAILABILITY", False),
    ("Group", "GROUP", False), ("Status", "STATUS", False),
)  # fmt: skip


def row(volume: Volume) -> dict[str, object]:
    """What ``--format`` can name of a volume."""
    usage = volume.UsageData
    return {
        "Driver": volume.Driver,
        "Name": volume.Name,
        "Scope": volume.Scope,
        "Mountpoint": volume.Mountpoint,
        "Labels": ",".join(f"{name}={value}" for name, value in sorted(volume.Labels.items())),
        "Label": lambda name: volume.Labels.get(name, ""),
        "Links": str(usage.RefCount) if usage else "N/A",
        "Size": human.size(usage.Size, 4) if usage else "N/A",
        **dict.fromkeys(("Availability", "Group", "Status"), "N/A"),
    }


@ask("rm", "VOLUME [VOLUME...]", at_least=1, complete=_NAMES)
@switch("-f", "--force", help="Force the removal of one or more volumes")
def rm(words: tuple[str, ...], force: bool) -> int:
    """Remove one or more volumes.

    You cannot remove a volume that is in use by a container.
    """

    def remove(name: str) -> None:
        try:
            daemon.delete(f"/volumes/{name}", force=force or None)
        except NotFound:
            if not force:
                raise

    with api.connect() as daemon:
        return each(words, remove)


@ask("prune", at_most=0)
@switch("-a", "--all", help="Remove all unused volumes, not just anonymous ones")
@option("--filter", kind=FILTER, many=True, help='Provide filter values (e.g. "label=<label>")')
@switch("-f", "--force", help="Do not prompt for confirmation")
def prune(all: bool, filter: tuple[str, ...], force: bool) -> int:
    """Remove unused local volumes."""
    what = "all local volumes" if all else "anonymous local volumes"
    if not force and not confirmed(f"WARNING! This will remove {what} not used by at least one container."):
        return exits.DONE
    given = (*filter, "all=1") if all else filter
    with api.connect() as daemon:
        pruned = codec.decode(answers.Pruned, daemon.post("/volumes/prune", filters=api.filters(given)))
    if pruned.VolumesDeleted:
        click.echo("\n".join(("Deleted Volumes:", *pruned.VolumesDeleted, "")))
    click.echo(f"Total reclaimed space: {human.size(pruned.SpaceReclaimed, 4)}")
    return exits.DONE


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    return dict(text.partition("=")[::2] for text in texts)
