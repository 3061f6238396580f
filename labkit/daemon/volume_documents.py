"""A volume as Docker's API tells it, and what makes one.

Source: Docker Engine API v1.47, VolumeInspect, VolumeCreate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING

from labkit.records import record

if TYPE_CHECKING:
    from labkit.engine.volumes import Volume


@record
class VolumeCreate:
    """The body of ``POST /volumes/create``."""

    Name: str = ""
    Driver: str = "local"
    DriverOpts: Mapping[str, str] = field(default_factory=dict)
    Labels: Mapping[str, str] = field(default_factory=dict)


def told(volume: Volume) -> dict[str, object]:
    """All about it; what nobody has asked for has null where others have what they asked for, as in Docker."""
    absent: dict[str, str] | None = None if volume.anonymous else {}
    return {
        "CreatedAt": volume.CreatedAt,
        "Driver": volume.Driver,
        "Labels": dict(volume.Labels) or absent,
        "Mountpoint": volume.Mountpoint,
        "Name": volume.Name,
        "Options": dict(volume.Options) or absent,
        "Scope": volume.Scope,
    }
