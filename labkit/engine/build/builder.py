"""From a Dockerfile and a context to an image of the store.

    >>> from labkit.engine.build import builder
    >>> image = builder.build(images, "/srv/web", tags=("web:v1",), report=lambda said: print(said.text, end=""))
    Step 1/2 : FROM nginx
     ---> 9d1cb0ae4b5f
    …
    Successfully tagged web:v1

    stages, in order ──▶ the last one's (or ``target``'s) image ── layers compressed ──▶ blobs, manifest, names

It holds the store's lock from beginning to end. Steps, words and errors are those of Docker's classic builder.
Source: Dockerfile reference; OCI image-spec 1.1, manifest.md. Shown in notebook 09.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace

from labkit.engine.build import context as contexts
from labkit.engine.build import dockerfile, export, running, words, working
from labkit.engine.build.arguments import PROXIES, Arguments
from labkit.engine.build.context import Context
from labkit.engine.build.dockerfile import Dockerfile
from labkit.engine.build.instructions import Instruction
from labkit.engine.build.job import Built, Job
from labkit.engine.build.output import Report, silent
from labkit.engine.build.stage import Stage
from labkit.errors import Conflict, InvalidInput, NotFound
from labkit.image import platforms, references
from labkit.image.documents import ImageConfig, RootFS
from labkit.image.images import Image, Images
from labkit.image.platforms import Platform
from labkit.image.references import Reference

Pull = Callable[[Reference], Image]


def build(
    images: Images,
    context: Context | str,
    dockerfile_path: str = "",
    *,
    tags: Sequence[str] = (),
    args: Mapping[str, str] | None = None,
    target: str = "",
    no_cache: bool = False,
    labels: Mapping[str, str] | None = None,
    network: str = "default",
    pull: Pull | None = None,
    always_pull: bool = False,
    epoch: int | None = None,
    report: Report = silent,
) -> Image:
    """Build an image and give it its names.

    ``context``: a directory, or what ``context.directory`` and ``context.received`` open. ``args``: of ``--build-arg``. ``pull`` fetches a
    base image that is not there, ``always_pull`` one that is, too. ``epoch``: seconds since 1970, SOURCE_DATE_EPOCH if None; without
    either, the image is as old as it is. ``InvalidInput`` for what is wrong in the Dockerfile; ``CommandFailed`` for a RUN that fails.
    """
    if network not in running.NETWORKS:
        raise InvalidInput(f"network {network}: must be one of {', '.join(running.NETWORKS)}")
    names = _names(tags)
    opened = contexts.directory(context, dockerfile_path) if isinstance(context, str) else nullcontext(context)
    with opened as inputs, images.store.changing():
        file = _cut(dockerfile.parse(inputs.dockerfile), target)
        running.tidy(images.store)  # first: a container holds its layer
        working.tidy(images.store)
        job = Job(images.store, inputs, report, network, _epoch() if epoch is None else epoch, not no_cache, file.escape)
        built = _Build(images, job, file, args or {}, labels or {}, pull, always_pull).all()
        if not built.id:
            raise InvalidInput("No image was generated. Is your Dockerfile empty?")
        image = export.export(images, job, built, names)
        job.say(f"Successfully built {built.short}\n")
        for name in names:
            job.say(f"Successfully tagged {name.familiar}\n")
        return image


def _names(tags: Sequence[str]) -> list[Reference]:
    names = [references.parse(tag).tagged for tag in tags]
    if any(name.digest for name in names):
        raise InvalidInput("build tag cannot contain a digest")
    return list(dict.fromkeys(names))


def _epoch() -> int | None:
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if text and not text.isdigit():
        raise InvalidInput(f"SOURCE_DATE_EPOCH: {text!r} must be seconds since 1970")
    return int(text) if text else None


def _cut(file: Dockerfile, target: str) -> Dockerfile:
    """The Dockerfile up to its stage ``target``, a name or a number."""
    if not target:
        return file
    for number, stage in enumerate(file.stages):
        if target.lower() in (stage.name, str(number)):
            return replace(file, stages=file.stages[: number + 1])
    raise InvalidInput(f"failed to reach build target {target} in Dockerfile")


class _Build:
    """The stages, one after the other, and where an image comes from that one of them stands on."""

    def __init__(
        self, images: Images, job: Job, file: Dockerfile, args: Mapping[str, str], labels: Mapping[str, str], pull: Pull | None, fresh: bool
    ) -> None:
        self.images, self.job, self.file, self.given, self.pull, self.fresh = images, job, file, args, pull, fresh
        self.labels = [_label(name, value) for name, value in sorted(labels.items())]
        self.total = len(file.arguments) + sum(1 + len(stage.instructions) for stage in file.stages) + len(labels)
        self.step = 0
        self.done: list[Built] = []
        self.named: dict[str, Built] = {}
        self.fetched: dict[Reference, Image] = {}
        self.outer = Arguments(args)
        self.consumed: set[str] = set()

    def all(self) -> Built:
        """The last stage's image."""
        for instruction in self.file.arguments:
            self.announce(instruction.text)
            for word in instruction.arguments:
                name, equals, value = words.expand(word, self.outer.values(), self.file.escape).partition("=")
                self.outer.declare(name, value if equals else None)
        for number, stage in enumerate(self.file.stages):
            if stage.name in self.named:
                raise InvalidInput(f"{stage.name} stage name already used")
            self.announce(stage.text)
            arguments = Arguments(self.given, self.outer.values())
            at_work = Stage(self.job, self.base(stage.base, stage.platform), arguments, self.stage)
            self.job.say(f" ---> {at_work.image.short}\n")
            is_last = number == len(self.file.stages) - 1
            for instruction in (*stage.instructions, *(self.labels if is_last else ())):
                self.announce(instruction.text)
                at_work.do(instruction)
                self.job.say(f" ---> {at_work.image.short}\n")
            self.done.append(at_work.image)
            if stage.name:
                self.named[stage.name] = at_work.image
            self.consumed.update(arguments.declared)
        self.warn_of_unused()
        return self.done[-1]

    def announce(self, text: str) -> None:
        self.step += 1
        self.job.say(f"Step {self.step}/{self.total} : {text}\n")

    def warn_of_unused(self) -> None:
        unused = sorted(self.given.keys() - self.consumed - self.outer.declared.keys() - PROXIES)
        if unused:
            self.job.say(f"[Warning] One or more build-args [{' '.join(unused)}] were not consumed\n")

    def base(self, text: str, platform: str) -> Built:
        """What FROM names: a stage, nothing at all, or an image."""
        name = words.expand(text, self.outer.values(), self.file.escape)
        if not name:
            raise InvalidInput(f"base name ({text}) should not be blank")
        if name.lower() in self.named:
            return self.named[name.lower()]
        wanted = words.expand(platform, self.outer.values(), self.file.escape)
        on = platforms.parse(wanted) if wanted else platforms.host()
        if name == "scratch":
            return Built("", ImageConfig(on.architecture, on.os, RootFS("layers", ()), on.variant))
        return self.image(name, on if wanted else None)

    def stage(self, name: str) -> Built:
        """What ``COPY --from`` names: a stage by name or number, or an image."""
        if name.lower() in self.named:
            return self.named[name.lower()]
        if name.isdigit():
            if int(name) < len(self.done):
                return self.done[int(name)]
            raise InvalidInput("refers to current build stage" if int(name) == len(self.done) else "index out of bounds")
        return self.image(name, None)

    def image(self, name: str, platform: Platform | None) -> Built:
        """An image of the store, pulled if need be, its layers unpacked."""
        try:
            found = None if self.fresh and self.pull else self.images.get(name)
        except NotFound:
            if not self.pull:
                raise
            found = None
        if found is None:
            assert self.pull
            reference = references.parse(name).tagged
            found = self.fetched.get(reference) or self.pull(reference)
            self.fetched[reference] = found
        if platform and not platforms.suits(found.config.platform, platform):
            raise Conflict(
                f"image with reference {name} was found but does not match the specified platform: "
                f"wanted {platform}, actual: {found.config.platform}"
            )
        self.images.ensure_unpacked(found)
        for diff_id, blob in zip(found.config.rootfs.diff_ids, found.manifest.layers, strict=True):
            if not self.job.cache.blob(diff_id):
                self.job.cache.remember_blob(diff_id, blob)
        return Built(found.id, found.config)


def _label(name: str, value: str) -> Instruction:
    """A label of the caller's: taken as it is, so that its quotes must outlive the expansion of words."""
    quoted = "'" + value.replace("'", "'\"'\"'") + "'"
    return Instruction("LABEL", (f"'{name}'", quoted), 0, f"LABEL {name}={value}")
