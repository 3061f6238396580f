"""Images as a front end has them: one store, and the verbs that docker has for it.

    >>> from labkit.engine.images import ImageStore
    >>> engine = ImageStore()                                # /var/lib/labkit, /etc/labkit/daemon.json
    >>> engine.pull("nginx", report=print)
    (Image(id='sha256:4f4f…'),)
    >>> engine.tag("nginx", "127.0.0.1:5000/me/web:v1"); engine.push("127.0.0.1:5000/me/web:v1")
    >>> engine.remove(["nginx"])
    (Removed(untagged='nginx:latest'),)

    command line ─┐
                  ├─▶ ImageStore ─┬─▶ image.registry    what comes and goes
    daemon ───────┘               ├─▶ image.images      what there is
                                  └─▶ engine.build      what is made

Whatever changes the store holds its lock from the first byte to the name; another process that wants to waits, and ``waiting`` is called
so that it can say so. What no image needs any more is deleted at once, as docker does it. Names and messages are Docker's.
Source: Docker Engine API, Images. Shown in notebook 05.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO

from labkit.engine import image_filters, image_use, root_layer
from labkit.engine.image_use import Holder
from labkit.errors import InvalidInput, LabError, NotFound
from labkit.image import platforms, references
from labkit.image.container_config import ContainerConfig
from labkit.image.images import Image, Images, Removed
from labkit.image.progress import Report, silent
from labkit.image.references import Reference
from labkit.storage.store import DEFAULT_ROOT, Store

if TYPE_CHECKING:
    from labkit.engine.build.cache import Cache
    from labkit.engine.build.context import Context
    from labkit.engine.build.output import Output
    from labkit.image.documents import Descriptor
    from labkit.image.registry.interest import Interest
    from labkit.image.registry.pull import Credentials
    from labkit.image.registry.settings import Settings

CONFIG = "/etc/labkit/daemon.json"
CHANGES = ("CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR")


@dataclass(frozen=True)
class Pruned:
    """What a prune took away, and how many bytes of disk that were."""

    removed: tuple[Removed, ...]
    bytes: int


class ImageStore:
    """The verbs. ``waiting`` is called when somebody else is changing the store, before waiting for them."""

    def __init__(self, root: str = DEFAULT_ROOT, config: str = CONFIG, waiting: Callable[[], None] | None = None) -> None:
        self.store = Store(root, waiting)
        self.images = Images(self.store)
        self.config = config
        self.holders: Callable[[str], Sequence[Holder]] = lambda _image_id: ()
        """The containers that use an image; who has containers says so here."""
        self.tell: Callable[[str, str, str], object] = lambda _action, _id, _name: None
        """Called with what has happened to which image: ``pull``, ``nginx:latest``, ``nginx``. Who has events publishes it."""

    @cached_property
    def settings(self) -> Settings:
        """Mirrors and insecure registries, read when the first registry is asked for something."""
        from labkit.image.registry import settings

        return settings.load(self.config)

    def reread(self) -> None:
        """The settings may have changed: read them when they are needed next."""
        self.__dict__.pop("settings", None)

    # What comes from a registry and goes to it

    def pull(
        self,
        name: str,
        *,
        platform: str = "",
        all_tags: bool = False,
        credentials: Credentials | None = None,
        report: Report = silent,
        interest: Interest | None = None,
    ) -> tuple[Image, ...]:
        """Fetch an image, or all tags of a repository. ``credentials``: who asks; by default, as this user has logged in.

        Once ``interest`` is lost, it ends.
        """
        from labkit.image.registry import pull
        from labkit.image.registry.credentials import find

        reference, known = references.parse(name), credentials or find
        wanted = platforms.parse(platform) if platform else None
        if all_tags:
            _refuse_tag(reference)
            tags = pull.tags(reference, settings=self.settings, credentials=known)
            names = tuple(reference.with_tag(tag) for tag in tags)
        else:
            names = (reference.tagged,)
        pulled = []
        with self.store.changing():
            for each in names:
                image = pull.pull(
                    self.images, each, platform=wanted, settings=self.settings, credentials=known, report=report, interest=interest
                )
                pulled.append(image)
                self.tell("pull", each.familiar, each.familiar_name)
        return tuple(pulled)

    def push(
        self,
        name: str,
        *,
        all_tags: bool = False,
        credentials: Credentials | None = None,
        report: Report = silent,
        interest: Interest | None = None,
    ) -> tuple[Descriptor, ...]:
        """Send an image, or all tags of a repository; likewise."""
        from labkit.image.registry import push
        from labkit.image.registry.credentials import find

        reference, known = references.parse(name), credentials or find
        pushed = []
        for each in self._tags_here(reference) if all_tags else (reference.tagged,):
            pushed.append(push.push(self.images, each, settings=self.settings, credentials=known, report=report, interest=interest))
            self.tell("push", each.familiar, each.familiar_name)
        return tuple(pushed)

    def _tags_here(self, repository: Reference) -> tuple[Reference, ...]:
        _refuse_tag(repository)
        found = {name for image in self.images.list() for name in image.tags if name.name == repository.name}
        if not found:
            raise NotFound(f"An image does not exist locally with the tag: {repository.familiar}")
        return tuple(sorted(found, key=str))

    # What there is

    def list(self, filters: Iterable[str] = ()) -> tuple[image_filters.Listed, ...]:
        """Images with those of their names that all ``filters`` (``reference=busy*``, ``dangling=true``, …) let through."""
        return image_filters.apply(self.images, filters)

    def get(self, name: str) -> Image:
        """The image of a name or an ID."""
        return self.images.get(name)

    def inspect(self, name: str) -> dict[str, object]:
        """All about an image, as JSON has it."""
        from labkit.image import inspect

        return inspect.inspect(self.images.get(name), self.store)

    # What it is called, and what goes

    def tag(self, source: str, target: str) -> Image:
        """Give an image one more name."""
        reference = new_name(target)
        with self.store.changing():
            image = self.images.tag(self.images.get(source), reference)
        self.tell("tag", image.id, reference.familiar)
        return image

    def remove(self, name: str, *, force: bool = False) -> tuple[Removed, ...]:
        """Take a name away, and with its last name the image; ``Conflict`` while a container uses it: ``image_use``."""
        with self.collecting():
            kept = self._kept_names(name, force)
            id = self._id(name)
            for each in kept:
                self.images.untag(each)
            removed = tuple(Removed(untagged=each.familiar) for each in kept) or self.images.remove(name, force)
            self._tell_removed(id, removed)
            return removed

    def _id(self, name: str) -> str:
        try:
            return self.images.get(name).id
        except LabError:
            return name  # it is not there, or it is damaged

    def _tell_removed(self, id: str, removed: Iterable[Removed]) -> None:
        for each in removed:
            if each.untagged:
                self.tell("untag", id, id)
            elif each.deleted == id:
                self.tell("delete", id, id)

    def _kept_names(self, name: str, force: bool) -> Sequence[Reference]:
        """The names to take away from an image that stays, for containers use it."""
        try:
            image = self.images.get(name)
        except LabError:
            return ()  # it is not there, or it is damaged: nobody keeps it
        return image_use.kept_names(image, name, self.holders(image.id), force)

    def prune(self, *, all: bool = False, filters: Iterable[str] = ()) -> Pruned:
        """Remove the images without a name, or all of them, but for those that containers use."""
        with self.store.changing():
            found = image_filters.prunable(self.images, filters, every=all)
            removed: builtins.list[Removed] = []
            for image in found:
                if not self.holders(image.id):
                    lines = self.images.remove(image.id, force=True)
                    self._tell_removed(image.id, lines)
                    removed += lines
            return Pruned(tuple(removed), self._collect())

    # Files

    def save(self, names: Sequence[str], out: BinaryIO) -> None:
        """Write images to an archive that docker, skopeo and ``load`` read."""
        from labkit.image import archives

        archives.save(self.images, names, out)

    def load(self, archive: BinaryIO, report: Report = silent) -> tuple[str, ...]:
        """Read the images of an archive; says which, in docker's words."""
        from labkit.image import archives

        loaded = archives.load(self.images, archive, report)
        for line in loaded:
            if line.startswith("Loaded image"):
                name = line.partition(": ")[2]
                self.tell("load", self._id(name), name)
        return loaded

    def import_(self, archive: BinaryIO, name: str = "", *, changes: Sequence[str] = (), message: str = "", platform: str = "") -> Image:
        """Make an image of one layer from the files in a tar archive; ``changes`` are lines of a Dockerfile for its config."""
        from labkit.image import archives

        image = archives.import_(
            self.images,
            archive,
            new_name(name) if name else None,
            config=changed(changes),
            message=message or "Imported from -",
            platform=platforms.parse(platform) if platform else None,
        )
        self.tell("import", image.id, image.id)
        return image

    # What is made

    def build(
        self,
        context: Context,
        *,
        tags: Sequence[str] = (),
        args: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        target: str = "",
        no_cache: bool = False,
        network: str = "default",
        always_pull: bool = False,
        fetch: Callable[[str], Image] | None = None,
        report: Callable[[Output], None] | None = None,
    ) -> Image:
        """Make an image as a Dockerfile says. ``fetch`` pulls a base that is not here: ``pull``, unless somebody wants to watch."""
        from labkit.engine.build import builder, output

        image = builder.build(
            self.images,
            context,
            tags=tags,
            args=args,
            labels=labels,
            target=target,
            no_cache=no_cache,
            network=network,
            pull=lambda name: fetch(str(name)) if fetch else self.pull(str(name))[0],
            always_pull=always_pull,
            report=report or output.silent,
        )
        for tag in tags:
            self.tell("tag", image.id, references.parse(tag).tagged.familiar)
        return image

    def prune_builds(self) -> int:
        """Forget what builds have kept for the next one; how many bytes of disk that made free."""
        with self.store.changing():
            self._cache().prune()
            return self._collect()

    def _cache(self) -> Cache:
        from labkit.engine.build.cache import Cache

        return Cache(self.store)

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Do something that makes others superfluous, and delete these."""
        with self.store.changing():
            yield
            self._collect()

    def _collect(self) -> int:
        blobs, chains = self._cache().keep()
        root_layer.tidy(self.store, chains | self.images.keep()[1])
        return self.images.collect(blobs, chains).bytes


def changed(changes: Sequence[str]) -> ContainerConfig:
    """The config that the lines of a Dockerfile make of an empty one."""
    from labkit.engine.build import settings
    from labkit.engine.build.instructions import parse_instruction

    config = ContainerConfig()
    for line in changes:
        instruction = parse_instruction(line)
        if instruction.keyword == "WORKDIR":
            config = replace(config, WorkingDir=settings.workdir(config.WorkingDir, instruction.arguments[0]))
        elif instruction.keyword in CHANGES:
            config, _ = settings.changed(instruction, config, settings.Words(settings.variables(config.Env)))
        else:
            raise InvalidInput(f"{instruction.keyword} is not a valid change command: there are {', '.join(CHANGES)}")
    return config


def new_name(name: str) -> Reference:
    """A name that is to be given."""
    try:
        reference = references.parse(name)
    except InvalidInput as error:
        raise InvalidInput(f'Error parsing reference: "{name}" is not a valid repository/tag: {error}') from None
    if reference.digest:
        raise InvalidInput(f"{name}: refusing to create a tag with a digest reference")
    return reference.tagged


def _refuse_tag(reference: Reference) -> None:
    if reference.tag or reference.digest:
        raise InvalidInput("tag can't be used with --all-tags/-a")
