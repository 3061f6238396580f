"""What ``docker rmi`` takes away: names first, and the image with the last of them.

    rmi nginx:latest                         rmi 4f4fb700ef54
      the name goes, and with the last tag     all names go, if they are of one repository and
      of a repository its digests, too;        there is one tag at most; else it is a conflict,
      no name left: the image goes             unless it is forced

    >>> left, removed = removal.plan(entries, mine, image, "nginx:latest", force=False)
    >>> removed
    (Removed(untagged='nginx:latest', deleted=''), Removed(untagged='', deleted='sha256:4f4f…'))

Here it is only worked out; ``Images`` writes the entries that are left. Source: Docker Engine API, ``DELETE /images/NAME``, and what
dockerd does. Shown in notebook 05.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from labkit.errors import Conflict
from labkit.image import references
from labkit.image.image import Image
from labkit.image.index import Entry
from labkit.image.references import Reference


@dataclass(frozen=True)
class Removed:
    """One line: a name that is gone, or an image or a stack of layers by its digest."""

    untagged: str = ""
    deleted: str = ""

    def __str__(self) -> str:
        return f"Untagged: {self.untagged}" if self.untagged else f"Deleted: {self.deleted}"


def plan(entries: Sequence[Entry], mine: Sequence[Entry], image: Image, text: str, *, force: bool) -> tuple[list[Entry], list[Removed]]:
    """The entries that are left when ``text`` is removed, and what to say. ``mine`` are those of the image that ``text`` means."""
    named = [entry for entry in mine if entry.name]
    if is_id(image.id, text):
        if not force and len(named) > 1 and not _is_single([entry.name for entry in named if entry.name]):
            raise Conflict(f"conflict: unable to delete {image.id[7:19]} (must be forced) - image is referenced in multiple repositories")
        gone = named
    else:
        gone = _named(named, references.parse(text).tagged)
    gone.sort(key=lambda entry: (entry.name is None or entry.name.tag is None, str(entry.name)))  # tags before digests
    removed = [Removed(untagged=entry.name.familiar) for entry in gone if entry.name]
    if len(gone) == len(named):  # the entry without a name goes, too
        return [entry for entry in entries if entry not in mine], [*removed, Removed(deleted=image.id)]
    return [entry for entry in entries if entry not in gone], removed


def is_id(image_id: str, text: str) -> bool:
    """Whether ``text`` is the image's ID or begins it, with or without ``sha256:``."""
    return image_id.startswith(text) or image_id.partition(":")[2].startswith(text)


def _named(named: list[Entry], wanted: Reference) -> list[Entry]:
    """The entries that go with a name."""
    if wanted.digest:
        same = [entry for entry in named if entry.name and entry.name.name == wanted.name]
        return [entry for entry in same if entry.name and entry.name.digest == wanted.digest] or same
    gone = [entry for entry in named if entry.name == wanted]
    rest = [entry for entry in named if entry.name and entry.name.name == wanted.name and entry not in gone]
    if any(entry.name and entry.name.tag for entry in rest):
        return gone
    return gone + rest


def _is_single(names: list[Reference]) -> bool:
    """Whether one user's one name stands behind all of them: one repository, one tag at most."""
    return len({name.name for name in names}) == 1 and sum(name.tag is not None for name in names) <= 1
