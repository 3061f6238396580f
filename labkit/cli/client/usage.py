"""``labkit system df``: how much of the disk images, containers, volumes and builds take, and how much of that nobody needs.

    labkit system df                     labkit system df -v

    RECLAIMABLE: images without a container, containers that do not run, volumes without a container

Source: ``docker system df --help``; ``formatter/disk_usage.go`` of github.com/docker/cli. Shown in notebook 06.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import click

from labkit.cli import human
from labkit.cli.client import answers, api, listing, volumes
from labkit.cli.client.answers import DiskUsage, ListedImage
from labkit.cli.client.grammar import Failed, ask, option
from labkit.cli.client.listing import FORMAT
from labkit.cli.grammar import switch

_COLUMNS = (("Type", "TYPE"), ("TotalCount", "TOTAL"), ("Active", "ACTIVE"), ("Size", "SIZE"), ("Reclaimable", "RECLAIMABLE"))
_IMAGES = ("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS")
_CONTAINERS = ("CONTAINER ID", "IMAGE", "COMMAND", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS", "NAMES")
_BUILDS = ("CACHE ID", "CACHE TYPE", "SIZE", "CREATED", "LAST USED", "USAGE", "SHARED")


@ask("df", at_most=0)
@option("--format", help=FORMAT)
@switch("-v", "--verbose", help="Show detailed information on space usage")
def df(format: str, verbose: bool) -> None:
    """Show docker disk usage."""
    from labkit.cli import tables

    if verbose and format:
        raise Failed("the verbose and the format options conflict")
    with api.connect() as daemon:
        found = daemon.read(DiskUsage, "/system/df")
    if verbose:
        click.echo("\n".join(_verbose(found)))
        return
    columns = [tables.Column(*column) for column in _COLUMNS]
    lines = tables.lines(columns, [dict(zip((name for name, _ in _COLUMNS), row, strict=True)) for row in _rows(found)], format)
    click.echo("".join(f"{line}\n" for line in lines), nl=False)


def _rows(found: DiskUsage) -> Iterator[Sequence[str]]:
    used = sum(image.Size - max(image.SharedSize, 0) for image in found.Images if image.Containers > 0)
    active = sum(image.Containers > 0 for image in found.Images)
    yield "Images", str(len(found.Images)), str(active), human.size(found.LayersSize, 4), _share(found.LayersSize - used, found.LayersSize)
    running = [each for each in found.Containers if each.State in ("running", "paused", "restarting")]
    size = sum(each.SizeRw for each in found.Containers)
    free = size - sum(each.SizeRw for each in running)
    yield "Containers", str(len(found.Containers)), str(len(running)), human.size(size, 4), _share(free, size)
    sizes = [(volume.UsageData.Size, volume.UsageData.RefCount) for volume in found.Volumes if volume.UsageData]
    size = sum(bytes for bytes, _ in sizes if bytes > 0)
    free = sum(bytes for bytes, uses in sizes if bytes > 0 and not uses)
    yield "Local Volumes", str(len(found.Volumes)), str(sum(uses > 0 for _, uses in sizes)), human.size(size, 4), _share(free, size)
    builds = found.BuildCache
    size = sum(each.Size for each in builds if not each.Shared)
    free = sum(each.Size for each in builds if not each.Shared and not each.InUse)
    yield "Build Cache", str(len(builds)), str(sum(each.InUse for each in builds)), human.size(size, 4), human.size(free, 4)


def _share(part: int, whole: int) -> str:
    return human.size(part, 4) + (f" ({part * 100 // whole}%)" if whole > 0 else "")


def _verbose(found: DiskUsage) -> Iterator[str]:
    from labkit.cli import tables

    yield "Images space usage:\n"
    yield from tables.aligned([_IMAGES, *(row for image in found.Images for row in _image(image))])
    yield "\nContainers space usage:\n"
    names = ("ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names")
    rows = [listing.row(each, False) | {"Size": human.size(each.SizeRw)} for each in found.Containers]
    yield from tables.aligned([_CONTAINERS, *([str(row[name]) for name in names] for row in rows)])
    yield "\nLocal Volumes space usage:\n"
    known = [[str(volumes.row(each)[name]) for name in ("Name", "Links", "Size")] for each in found.Volumes]
    yield from tables.aligned([("VOLUME NAME", "LINKS", "SIZE"), *known])
    yield f"\nBuild cache usage: {human.size(sum(each.Size for each in found.BuildCache if not each.Shared), 4)}\n"
    yield from tables.aligned([_BUILDS, *map(_build, found.BuildCache)])


def _image(image: ListedImage) -> Iterator[Sequence[str]]:
    shared = max(image.SharedSize, 0)
    for name in image.RepoTags or ("<none>:<none>",):
        repository, _, tag = name.rpartition(":")
        yield (
            repository, tag, human.short(image.Id), human.ago(time.time() - image.Created), human.size(image.Size), human.size(shared, 4),
            human.size(image.Size - shared, 4), str(image.Containers),
        )  # fmt: skip


def _build(each: answers.CachedBuild) -> Sequence[str]:
    return human.shortened(each.ID, 12), each.Type, human.size(each.Size), "", "", str(each.UsageCount), str(each.Shared).lower()
