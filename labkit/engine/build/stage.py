"""One stage of a build: an image so far, and what each instruction makes of it.

    Stage ── image: Built ──┬─ RUN, COPY, ADD, WORKDIR ── a layer, maybe ──┐
                            └─ all others ── another config ───────────────┴──▶ image: Built, with one more line of history

    >>> stage = Stage(job, built, arguments)
    >>> stage.do(instruction)
    >>> stage.image.id

Before a step is done the cache is asked for what the same step made of the same image. Source: Dockerfile reference; OCI image-spec 1.1,
config.md. Shown in notebook 09.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from labkit.engine import users
from labkit.engine.build import copying, running, settings, sums, working
from labkit.engine.build.arguments import Arguments
from labkit.engine.build.instructions import Instruction, parse_instruction
from labkit.engine.build.job import Built, Job
from labkit.engine.build.output import Output
from labkit.engine.build.settings import Words
from labkit.engine.build.sources import Source
from labkit.errors import InvalidInput, LabError, NotFound
from labkit.image.container_config import ContainerConfig
from labkit.image.documents import History, RootFS

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
Change = Callable[[working.Layer], None]


class Stage:
    """A stage at work. ``image`` is what it has come to; ``source`` opens what ``COPY --from`` names."""

    def __init__(self, job: Job, base: Built, arguments: Arguments, stages: Callable[[str], Built]) -> None:
        self._job = job
        self._arguments = arguments
        self._stages = stages
        self._has_command = False
        self._author = ""
        inner = base.config.config
        if "PATH" not in settings.variables(inner.Env):
            inner = replace(inner, Env=(*inner.Env, _PATH))
        self.image = base
        self.config = replace(inner, OnBuild=())
        for trigger in self._announced(inner.OnBuild):
            self.do(parse_instruction(trigger, escape=job.escape))

    def _announced(self, triggers: tuple[str, ...]) -> tuple[str, ...]:
        if triggers:
            self._job.say(f"# Executing {len(triggers)} build trigger{'s' if len(triggers) > 1 else ''}\n")
        return triggers

    def do(self, instruction: Instruction) -> None:
        """Carry out one instruction; ``image`` is another one then."""
        match instruction.keyword:
            case "RUN":
                self._run(instruction)
            case "COPY" | "ADD":
                self._copy(instruction)
            case "WORKDIR":
                self._workdir(instruction)
            case "ARG":
                self._arg(instruction)
            case "MAINTAINER":
                self._author = instruction.arguments[0]
                self._commit(self.config, f"MAINTAINER {self._author}")
            case _:
                config, said = settings.changed(instruction, self.config, self._words, self._has_command)
                self._has_command = self._has_command or (instruction.keyword == "CMD" and bool(instruction.arguments))
                self._commit(config, said)

    @property
    def _words(self) -> Words:
        env = settings.variables(self.config.Env)
        return Words({**self._arguments.besides(env), **env}, self._job.escape)

    # Instructions that have a layer

    def _run(self, instruction: Instruction) -> None:
        args = settings.command(instruction, self.config)
        given = self._arguments.besides(settings.variables(self.config.Env))
        told = self._arguments.told(given)
        id = running.new_id()
        command = running.Command(
            args,
            (f"HOSTNAME={id[:12]}", *self.config.Env, *(f"{name}={value}" for name, value in given.items())),
            self.config.User,
            self.config.WorkingDir or "/",
            tuple(self.config.Volumes),
            self._job.network,
        )

        def change(layer: working.Layer) -> None:
            self._job.say(f" ---> Running in {id[:12]}\n")
            running.run(self._job.store, layer, command, id, self._job.report)
            self._job.say(f"Removing intermediate container {id[:12]}\n")

        said = (f"|{len(told)}", *told, *args) if given else args
        self._commit_layer(self.config, " ".join(said), change)

    def _copy(self, instruction: Instruction) -> None:
        keyword = instruction.keyword
        *patterns, destination = map(self._words.one, instruction.arguments)
        flags = {name: self._words.one(value) if name != "from" else value for name, value in instruction.flags.items()}
        if any(each.startswith(("http://", "https://", "git@")) for each in patterns):
            hint = ": labkit downloads nothing here: fetch it in a RUN, or put it into the context" if keyword == "ADD" else ""
            raise InvalidInput(f"{keyword} failed: source can't be a URL for {keyword}{hint}")
        mode = copying.parse_mode(flags["chmod"]) if "chmod" in flags else None
        with self._source(flags.get("from", "")) as source:
            try:
                found = [each for pattern in patterns for each in source.find(pattern)]
                if not found:
                    raise InvalidInput("no source files were specified")
            except (NotFound, InvalidInput) as error:
                raise type(error)(f"{keyword} failed: {error}") from None
            if len(found) > 1 and not destination.endswith("/"):
                raise InvalidInput(
                    f"When using {keyword} with more than one source file, the destination must be a directory and end with a /"
                )
            target = destination if destination.startswith("/") else self._below_workdir(destination)

            def change(layer: working.Layer) -> None:
                with layer.mounted() as root:
                    owner = users.owner(root, flags["chown"]) if flags.get("chown") else source.owner
                    copying.copy(source, found, root, target, copying.How(owner, mode, keyword == "ADD"))

            # Word for word Docker's: there is no space behind the flag, and one at the end.
            told = "".join(f"--{name}={flags[name]}" for name in ("chown", "chmod") if flags.get(name))
            content = found[0].sum if len(found) == 1 else sums.together("multi", [each.sum for each in found])
            # The sum leaves out what the copies will be called, and links: it must not be all that tells two steps apart.
            more = [text for each in found for text in (posixpath.basename(each.name), *each.links)]
            self._commit_layer(self.config, self._nop(f"{keyword} {told}{content} in {destination} ", ""), change, *more)

    def _below_workdir(self, destination: str) -> str:
        path = posixpath.normpath(posixpath.join("/", self.config.WorkingDir, destination))
        return f"{path.rstrip('/')}/" if destination.endswith("/") or destination in (".", "./") else path

    @contextmanager
    def _source(self, name: str) -> Iterator[Source]:
        if not name:
            yield Source(self._job.context.root, self._job.context.ignore, owner=(0, 0), is_context=True)
            return
        try:
            built = self._stages(name)
        except LabError as error:
            raise type(error)(f"invalid from flag value {name}: {error}") from None
        with working.seen(self._job.store, built.chain) as root:
            yield Source(root)

    def _workdir(self, instruction: Instruction) -> None:
        path = settings.workdir(self.config.WorkingDir, self._words.one(instruction.arguments[0]))

        def change(layer: working.Layer) -> None:
            with layer.mounted() as root:
                copying.make_directory(root, path)

        config = replace(self.config, WorkingDir=path)
        self._commit_layer(config, self._nop(f"WORKDIR {path}", ""), change)

    # Instructions that have none

    def _arg(self, instruction: Instruction) -> None:
        words = [self._words.one(word) for word in instruction.arguments]
        for word in words:
            name, equals, value = word.partition("=")
            self._arguments.declare(name, value if equals else None)
        self._commit(self.config, f"ARG {' '.join(words)}")

    def _commit(self, config: ContainerConfig, said: str) -> None:
        self.config = config  # first: after SHELL it is the new shell that the history tells of
        self._commit_layer(config, self._nop(said, " "), None)

    def _nop(self, said: str, space: str) -> str:
        """The history's line of a step that runs nothing; Docker's, once with two spaces and once with one."""
        return " ".join((*(self.config.Shell or settings.SHELL), f"#(nop) {space}{said}"))

    def _commit_layer(self, config: ContainerConfig, said: str, change: Change | None, *more: str) -> None:
        """The image after the step: from the cache, or ``change`` is made in a layer of its own."""
        self.config = config
        key = self._job.key(self.image, config, said, self._author, *more)
        if cached := self._job.cached(key):
            self.image = cached
            self._job.say(" ---> Using cache\n")
            return
        before = self.image
        diff_id = None
        if change:
            with working.layer(self._job.store, before.chain, self._job.epoch) as layer:
                change(layer)
                diff_id = layer.commit()
        now = self._job.now()
        entry = History(created=now, created_by=said, author=self._author, empty_layer=diff_id is None)
        diff_ids = before.config.rootfs.diff_ids + ((diff_id,) if diff_id else ())
        after = replace(
            before.config,
            created=now,
            author=self._author,
            config=config,
            rootfs=RootFS("layers", diff_ids),
            history=(*before.config.history, entry),
        )
        self.image = self._job.remember(key, after)

    def announce(self, text: str) -> None:
        """Say which image the stage has come to."""
        self._job.report(Output(text))
