"""Images that containers stand on: what ``rmi`` refuses for their sake, and what it leaves.

    by its last name    a container uses it          refused; forced, the name goes and the image stays, as <none>
    by its ID           a container that runs does   refused, forced or not
                        one that does not run does   refused; forced, it goes, and the container keeps its layers
    prune               any does                     it stays

Source: moby's ``daemon/images/image_delete.go``; its words are Docker's.
"""

from __future__ import annotations

from collections.abc import Sequence

from labkit.errors import Conflict, InvalidInput
from labkit.image import references
from labkit.image.image import Image
from labkit.image.references import Reference
from labkit.records import record


@record
class Holder:
    """A container that uses an image."""

    id: str
    running: bool


def kept_names(image: Image, text: str, holders: Sequence[Holder], force: bool) -> tuple[Reference, ...]:
    """The names to take away while the image stays; none if it may be removed as if nobody used it. ``Conflict``."""
    if not holders:
        return ()
    short = image.id.partition(":")[2][:12]
    name = _name(image, text)
    if name is None:
        for holder in holders:
            if holder.running:
                why = f"image is being used by running container {holder.id[:12]}"
                raise Conflict(f"conflict: unable to delete {short} (cannot be forced) - {why}")
        if not force:
            why = f"image is being used by stopped container {holders[0].id[:12]}"
            raise Conflict(f"conflict: unable to delete {short} (must be forced) - {why}")
        return ()
    if any(other != name and (other.tag or other.name != name.name) for other in image.names):
        return ()  # it has another name
    if not force:
        why = f"container {holders[0].id[:12]} is using its referenced image {short}"
        raise Conflict(f'conflict: unable to remove repository reference "{text}" (must force) - {why}')
    return image.names


def _name(image: Image, text: str) -> Reference | None:
    """The name of the image's that ``text`` is; None if it is an ID."""
    try:
        wanted = references.parse(text).tagged
    except InvalidInput:
        return None
    wanted = wanted.with_digest(wanted.digest) if wanted.digest else wanted
    return wanted if wanted in image.names else None
