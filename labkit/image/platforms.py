"""Platforms: which of an index's manifests suits a machine.

    index ──▶ linux/amd64 ──▶ manifest
         ├──▶ linux/arm64 ──▶ manifest   ◀── choose(index, host())
         └──▶ unknown/unknown            attestations of how the image was built: no image at all

    >>> from labkit.image import platforms
    >>> str(platforms.parse("aarch64")), str(platforms.parse("linux/arm64/v8"))
    ('linux/arm64', 'linux/arm64')

Names are Go's (GOOS, GOARCH). Where a kind of CPU has variants, one runs what was made for the earlier ones. Source: OCI image-spec 1.1,
image-index.md, ``platform``; github.com/containerd/platforms for what is short for what. Shown in notebook 05.
"""

from __future__ import annotations

import os
import re
from dataclasses import field

from labkit.errors import InvalidInput, NotFound
from labkit.records import record

TYPE_CHECKING = False  # documents.py imports this module for the class Platform
if TYPE_CHECKING:
    from labkit.image.documents import Descriptor, Index

# Other names, as kernel and distributions have them, → architecture and variant.
_ARCHITECTURES = {
    "x86_64": ("amd64", ""), "x86-64": ("amd64", ""), "aarch64": ("arm64", ""), "i386": ("386", ""), "i686": ("386", ""),
    "armhf": ("arm", "v7"), "armel": ("arm", "v6"), "armv7l": ("arm", "v7"), "armv6l": ("arm", "v6"), "armv8l": ("arm", "v8"),
}  # fmt: skip
_KNOWN = {"386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64le", "riscv64", "s390x"}
_DEFAULT_VARIANT = {"amd64": 1, "arm64": 8, "arm": 7}  # what is meant if none is said


@record
class Platform:
    """What an image was made for."""

    architecture: str
    os: str
    variant: str = ""
    os_version: str = field(default="", metadata={"json": "os.version"})
    os_features: tuple[str, ...] = field(default=(), metadata={"json": "os.features"})

    def __str__(self) -> str:
        """linux/arm/v6"""
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))

    @property
    def normal(self) -> Platform:
        """The same in one spelling: ``linux/aarch64/v8`` is ``linux/arm64``, ``linux/arm`` is ``linux/arm/v7``."""
        architecture, variant = _ARCHITECTURES.get(self.architecture.lower(), (self.architecture.lower(), ""))
        variant = self.variant.lower() or variant
        if variant.isdigit():
            variant = f"v{variant}"
        if architecture == "arm":
            variant = variant or "v7"
        elif architecture in _DEFAULT_VARIANT and variant == f"v{_DEFAULT_VARIANT[architecture]}":
            variant = ""
        return Platform(architecture, self.os.lower(), variant)


def host() -> Platform:
    """This machine's."""
    return Platform(os.uname().machine, "linux").normal


def parse(text: str) -> Platform:
    """``os/architecture[/variant]``, or an architecture alone: then of Linux. ``InvalidInput`` if it is neither."""
    parts = text.split("/")
    if not 1 <= len(parts) <= 3 or not all(re.fullmatch(r"[A-Za-z0-9_.-]+", part) for part in parts):
        raise InvalidInput(f"platform: {text!r} must be OS/ARCHITECTURE[/VARIANT], as linux/amd64")
    if len(parts) == 1:
        parts.insert(0, "linux")
        if Platform(parts[1], "linux").normal.architecture not in _KNOWN:
            raise InvalidInput(f"platform: {text!r} is no architecture known here: say OS/ARCHITECTURE[/VARIANT], as linux/amd64")
    return Platform(parts[1], parts[0], "".join(parts[2:])).normal


def choose(index: Index, platform: Platform) -> Descriptor:
    """The manifest of an index for a platform, which may be another index; ``NotFound`` tells which platforms there are."""
    wanted = platform.normal
    there = [entry for entry in index.manifests if not _is_attestation(entry)]
    fitting = [entry for entry in there if entry.platform and suits(entry.platform, wanted)]
    if fitting:
        return max(fitting, key=lambda entry: _level(entry.platform))  # the first of equals
    unsaid = [entry for entry in there if not entry.platform]
    if unsaid:
        return unsaid[0]
    names = ", ".join(sorted({str(entry.platform.normal) for entry in there if entry.platform})) or "none"
    raise NotFound(f"no matching manifest for {wanted} in the manifest list entries: there is {names}")


def suits(offered: Platform, wanted: Platform) -> bool:
    """Whether what was made for ``offered`` runs on ``wanted``."""
    offered, wanted = offered.normal, wanted.normal
    if (offered.os, offered.architecture) != (wanted.os, wanted.architecture):
        return False
    return offered.variant == wanted.variant or 0 < _level(offered) <= _level(wanted)


def _level(platform: Platform | None) -> int:
    """Variants in order; 0 for those that have none."""
    if platform is None or platform.normal.architecture not in _DEFAULT_VARIANT:
        return 0
    normal = platform.normal
    digits = re.fullmatch(r"v(\d{1,3})", normal.variant)
    return int(digits[1]) if digits else 0 if normal.variant else _DEFAULT_VARIANT[normal.architecture]


def _is_attestation(entry: Descriptor) -> bool:
    """What BuildKit puts beside each image: how it was built, in the form of a manifest."""
    unknown = entry.platform is not None and entry.platform.os == entry.platform.architecture == "unknown"
    return unknown or entry.annotations.get("vnd.docker.reference.type") == "attestation-manifest"
