"""Layers: tar archives of images, unpacked once each, and shared by all that stand on them."""

from __future__ import annotations

from collections.abc import Sequence

from labkit.storage import digests
from labkit.storage.snapshots import Snapshots


def chain_id(diff_ids: Sequence[str]) -> str:
    """The name of a stack of layers, lowest first (image-spec ``config.md``, "Layer ChainID")."""
    chain, *rest = (digests.check(diff_id, "diff_ids") for diff_id in diff_ids)
    for diff_id in rest:
        chain = digests.of(f"{chain} {diff_id}".encode())
    return chain


def snapshot_name(chain: str) -> str:
    """What the snapshot of this chain is called in ``Snapshots``."""
    return digests.check(chain, "chain").partition(":")[2][:32]


class Layers:
    def __init__(self, snapshots: Snapshots) -> None:
        self.snapshots = snapshots
