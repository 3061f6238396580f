"""Images that a daemon keeps: the verbs of ``labkit.engine.images``, done by requests.

    commands about images ──▶ engines.engine() ─┬─▶ ImageStore      in this process, where there is no daemon
                                                └─▶ RemoteImages    the daemon's

The commands know no difference: what these verbs return has the fields that the commands print. Source: engine-api, 5.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import BinaryIO

from labkit import codec
from labkit.cli.client import answers, api, building, pulling
from labkit.cli.client.answers import ListedImage
from labkit.cli.client.api import Api
from labkit.engine.images import Pruned
from labkit.errors import InvalidInput, LabError
from labkit.image import references
from labkit.image.image import Step
from labkit.image.images import Removed
from labkit.image.progress import Report, silent
from labkit.image.references import Reference
from labkit.records import record

_CHUNK = 1 << 20


@record
class RemoteImage:
    """What the commands read of an image. ``created`` is None where nobody has written it down."""

    id: str
    created: datetime | None = None
    size: int = 0
    history: tuple[Step, ...] = ()


@record
class RemoteListed:
    """An image, and the names by which it is listed."""

    image: RemoteImage
    names: tuple[Reference, ...] = ()


class RemoteImages:
    """The verbs. What the daemon refuses is raised in its words."""

    def __init__(self, daemon: Api) -> None:
        self.daemon = daemon

    def list(self, filters: Iterable[str] = ()) -> tuple[RemoteListed, ...]:
        """Images that all ``filters`` let through."""
        found = self.daemon.read_all(ListedImage, "/images/json", filters=api.filters(tuple(filters)))
        return tuple(RemoteListed(RemoteImage(each.Id, _moment(each.Created), each.Size), _names(each)) for each in found)

    def get(self, name: str) -> RemoteImage:
        """An image with its history."""
        steps = self.daemon.read_all(answers.HistoryItem, f"/images/{name}/history")
        history = tuple(Step(each.Id, _moment(each.Created), each.CreatedBy, each.Size, each.Comment, each.Tags) for each in steps)
        return RemoteImage(name, history=history)

    def inspect(self, name: str) -> dict[str, object]:
        """All about an image."""
        found = self.daemon.get(f"/images/{name}/json")
        return found if isinstance(found, dict) else {}

    def tag(self, source: str, target: str) -> RemoteImage:
        """Give an image one more name."""
        try:
            name = references.parse(target)
        except InvalidInput as error:
            raise InvalidInput(f'Error parsing reference: "{target}" is not a valid repository/tag: {error}') from None
        self.daemon.post(f"/images/{source}/tag", repo=name.name, tag=name.tag or "")
        return RemoteImage(source)

    def remove(self, name: str, *, force: bool = False) -> tuple[Removed, ...]:
        """Take a name away, and with its last name the image."""
        return _removed(self.daemon.delete(f"/images/{name}", force=force or None))

    def prune(self, *, all: bool = False, filters: Iterable[str] = ()) -> Pruned:
        """Remove the images that nobody needs."""
        wanted = api.filters((*filters, f"dangling={'false' if all else 'true'}"))
        pruned = codec.decode(answers.Pruned, self.daemon.post("/images/prune", filters=wanted))
        return Pruned(tuple(Removed(each.Untagged, each.Deleted) for each in pruned.ImagesDeleted), pruned.SpaceReclaimed)

    def pull(self, name: str, *, platform: str = "", all_tags: bool = False, report: Report = silent) -> tuple[RemoteImage, ...]:
        """Fetch an image, or all tags of a repository."""
        reference = references.parse(name)
        if all_tags and (reference.tag or reference.digest):
            raise LabError("tag can't be used with --all-tags/-a")
        pulling.pull(self.daemon, reference if all_tags else reference.tagged, platform, report)
        return (RemoteImage(name),)

    def push(self, name: str, *, all_tags: bool = False, report: Report = silent) -> tuple[RemoteImage, ...]:
        """Send an image, or all tags of a repository."""
        reference = references.parse(name)
        if all_tags and reference.tag:
            raise LabError("tag can't be used with --all-tags/-a")
        wanted = reference if all_tags else reference.tagged
        headers = pulling.credentials(reference.domain)
        path = f"/images/{reference.familiar_name}/push"
        pulling.follow(self.daemon.stream("POST", path, headers=headers, tag=wanted.tag or ""), report)
        return (RemoteImage(name),)

    def save(self, names: Sequence[str], out: BinaryIO) -> None:
        """Write images to an archive."""
        for chunk in self.daemon.pieces("/images/get", names=list(names)):
            out.write(chunk)

    def load(self, archive: BinaryIO, report: Report = silent) -> tuple[str, ...]:
        """Read the images of an archive; says which."""
        lines = []
        for each in self.daemon.stream("POST", "/images/load", _chunks(archive), quiet=report is silent):
            said = codec.decode(answers.Said, each)
            if said.error:
                raise LabError(said.error)
            if said.stream:
                lines.append(said.stream.rstrip("\n"))
            pulling.report_one(each, report)
        return tuple(lines)

    def import_(
        self, archive: BinaryIO, name: str = "", *, changes: Sequence[str] = (), message: str = "", platform: str = ""
    ) -> RemoteImage:
        """Make an image of one layer from the files in a tar archive."""
        told = self.daemon.stream(
            "POST", "/images/create", _chunks(archive), fromSrc="-", repo=name, message=message or None, changes=list(changes) or None,
            platform=platform or None,
        )  # fmt: skip
        said = [codec.decode(answers.Said, each) for each in told]
        for each in said:
            if each.error:
                raise LabError(each.error)
        return RemoteImage(said[-1].status)

    def build(self, wanted: building.Wanted, quiet: bool) -> str:
        """Make an image from a Dockerfile; returns its ID."""
        return building.build(self.daemon, wanted, quiet)

    def prune_builds(self) -> int:
        """Forget what builds have kept; returns the bytes that are free again."""
        return codec.decode(answers.Pruned, self.daemon.post("/build/prune") or {}).SpaceReclaimed


def _moment(unix: int) -> datetime | None:
    return datetime.fromtimestamp(unix, UTC) if unix > 0 else None


def _names(each: ListedImage) -> tuple[Reference, ...]:
    return tuple(references.parse(name) for name in (*each.RepoTags, *each.RepoDigests) if not name.startswith("<none>"))


def _removed(answer: object) -> tuple[Removed, ...]:
    found = [codec.decode(answers.Deleted, each) for each in answer] if isinstance(answer, list) else []
    return tuple(Removed(each.Untagged, each.Deleted) for each in found)


def _chunks(archive: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: archive.read(_CHUNK), b"")
