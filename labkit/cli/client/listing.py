"""``labkit ps``: the containers that there are.

    labkit ps -a                                         all, not only those that run
    labkit ps -q -f status=exited                        IDs, for other commands
    labkit ps --format 'table {{.Names}}\\t{{.Status}}'

STATUS is the daemon's text; the other columns are made here of what it says. Source: ``docker ps --help``; ``formatter/container.go`` of
github.com/docker/cli. Shown in notebook 06.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable

import click

from labkit.cli import human
from labkit.cli.client import api
from labkit.cli.client.answers import Listed, Port
from labkit.cli.client.grammar import Asking, ask, option
from labkit.cli.client.values import FILTER, INT
from labkit.cli.grammar import switch

FORMAT = "Format output using a custom template: 'table' (default), 'table TEMPLATE', 'json' or a Go 'TEMPLATE'"
FILTERS = "Filter output based on conditions provided"


def _listing(name: str) -> Asking:
    @ask(name, at_most=0)
    @switch("-a", "--all", help="Show all containers (default shows just running)")
    @option("-f", "--filter", kind=FILTER, many=True, help=FILTERS)
    @option("--format", help=FORMAT)
    @option("-n", "--last", kind=INT, default=-1, help="Show n last created containers (includes all states) (default -1)")
    @switch("-l", "--latest", help="Show the latest created container (includes all states)")
    @switch("--no-trunc", help="Don't truncate output")
    @switch("-q", "--quiet", help="Only display container IDs")
    @switch("-s", "--size", help="Display total file sizes")
    def listing(
        all: bool, filter: tuple[str, ...], format: str, last: int, latest: bool, no_trunc: bool, quiet: bool, size: bool
    ) -> None:
        """List containers."""
        from labkit.cli import tables

        limit = 1 if latest else last
        sized = size or ".Size" in format
        with api.connect() as daemon:
            query = {"all": all or None, "limit": limit if limit > 0 else None, "size": sized or None, "filters": api.filters(filter)}
            found = daemon.read_all(Listed, "/containers/json", **query)
        if quiet and not format:
            rows = [each.Id if no_trunc else human.short(each.Id) for each in found]
            click.echo("".join(f"{row}\n" for row in rows), nl=False)
            return
        columns = [tables.Column(field, heading, shown or (field == "Size" and size)) for field, heading, shown in _COLUMNS]
        lines = tables.lines(columns, [row(each, no_trunc) for each in found], format)
        click.echo("".join(f"{line}\n" for line in lines), nl=False)

    return listing


_COLUMNS = (
    ("ID", "CONTAINER ID", True), ("Image", "IMAGE", True), ("Command", "COMMAND", True), ("RunningFor", "CREATED", True),
    ("Status", "STATUS", True), ("Ports", "PORTS", True), ("Names", "NAMES", True), ("Size", "SIZE", False),
    ("CreatedAt", "CREATED AT", False), ("State", "STATE", False), ("Labels", "LABELS", False), ("Mounts", "MOUNTS", False),
    ("LocalVolumes", "LOCAL VOLUMES", False), ("Networks", "NETWORKS", False), ("Platform", "PLATFORM", False),
)  # fmt: skip

ps = _listing("ps")
ls = _listing("ls")


def row(each: Listed, whole: bool) -> dict[str, object]:
    """What ``--format`` can name of a container; ``whole`` with nothing cut off."""
    names = [name.removeprefix("/") for name in each.Names if whole or name.count("/") == 1]
    mounts = [mount.Name or mount.Source for mount in each.Mounts]
    image = each.Image or "<no image>"
    if not whole and image in (each.ImageID, each.ImageID.rpartition(":")[2]):
        image = human.short(image)
    return {
        "ID": each.Id if whole else human.short(each.Id),
        "Image": image,
        "Command": json.dumps(each.Command if whole else human.shortened(each.Command, 20), ensure_ascii=False),
        "RunningFor": human.ago(time.time() - each.Created),
        "CreatedAt": human.moment(each.Created),
        "Status": each.Status,
        "State": each.State,
        "Ports": ports(each.Ports),
        "Names": ",".join(names),
        "Size": human.size(each.SizeRw) + (f" (virtual {human.size(each.SizeRootFs)})" if each.SizeRootFs > 0 else ""),
        "Labels": ",".join(f"{name}={value}" for name, value in sorted(each.Labels.items())),
        "Label": lambda name: each.Labels.get(name, ""),
        "Mounts": ",".join(name if whole else human.shortened(name, 15) for name in mounts),
        "LocalVolumes": str(sum(mount.Driver == "local" for mount in each.Mounts)),
        "Networks": ",".join(sorted(each.NetworkSettings.Networks)),
        "Platform": None,
    }


def ports(given: Iterable[Port]) -> str:
    """``0.0.0.0:8080->80/tcp, 90-92/tcp``: neighbours that are published under their own number, or not at all, in one range."""
    ranges: list[tuple[str, str, int, int]] = []
    newest: dict[tuple[str, str], int] = {}
    moved: list[str] = []
    for port in sorted(given, key=lambda each: (each.PrivatePort, each.IP, each.PublicPort, each.Type)):
        if port.IP and port.PublicPort != port.PrivatePort:
            moved.append(f"{joined(port.IP, str(port.PublicPort))}->{port.PrivatePort}/{port.Type}")
            continue
        key = (port.IP, port.Type)
        place = newest.get(key)
        if place is not None and ranges[place][3] + 1 == port.PrivatePort:
            ranges[place] = (*ranges[place][:3], port.PrivatePort)
        else:
            newest[key] = len(ranges)
            ranges.append((*key, port.PrivatePort, port.PrivatePort))
    last = {place: order for order, place in enumerate(newest.values())}
    ended = sorted(range(len(ranges)), key=lambda place: (place in last, last.get(place, place)))
    return ", ".join([*(_range(*ranges[place]) for place in ended), *moved])


def _range(address: str, kind: str, first: int, last: int) -> str:
    group = str(first) if first == last else f"{first}-{last}"
    return f"{joined(address, group)}->{group}/{kind}" if address else f"{group}/{kind}"


def joined(address: str, port: str) -> str:
    """An address and a port in one word."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
