"""What takes how much room: ``docker system df``.

Source: Docker Engine API v1.47, SystemDataUsage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.daemon import container_documents, volume_documents
from labkit.daemon.api import Api
from labkit.daemon.messages import Answer, Request, Response
from labkit.daemon.router import Route
from labkit.daemon.routes import images
from labkit.engine import times, usage

if TYPE_CHECKING:
    from labkit.engine.engine import Engine
    from labkit.engine.usage import ImageUsage

_KINDS = ("image", "container", "volume", "build-cache")


async def disk(api: Api, request: Request) -> Answer:
    """All of it, or the kinds that ``type`` names."""
    wanted = request.query.all("type") or _KINDS
    return Response.of(await api.patiently(_told, api.engine, wanted))


def _told(engine: Engine, wanted: tuple[str, ...]) -> dict[str, object]:
    found, names = usage.disk(engine), container_documents.Images(engine)
    told: dict[str, object] = {"LayersSize": 0, "Images": None, "Containers": None, "Volumes": None, "BuildCache": None}
    if "image" in wanted:
        told["LayersSize"] = found.LayersSize
        told["Images"] = [_image(each) for each in found.Images]
    if "container" in wanted:
        told["Containers"] = [
            {**container_documents.listed(each.container, names), "SizeRw": each.size.SizeRw, "SizeRootFs": each.size.SizeRootFs}
            for each in found.Containers
        ]
    if "volume" in wanted:
        told["Volumes"] = [
            {**volume_documents.told(each.volume), "UsageData": {"Size": each.Size, "RefCount": each.RefCount}} for each in found.Volumes
        ]
    if "build-cache" in wanted:
        told["BuildCache"] = [
            {
                "ID": each.ID,
                "Type": "regular",
                "Description": "",
                "InUse": False,
                "Shared": False,
                "Size": each.Size,
                "CreatedAt": times.NEVER,
                "LastUsedAt": None,
                "UsageCount": 0,
            }
            for each in found.BuildCache
        ]
    return told


def _image(found: ImageUsage) -> dict[str, object]:
    return {**images.row(found.image, found.image.names, found.Containers), "SharedSize": found.SharedSize}


ROUTES = (Route("GET", "/system/df", disk),)
