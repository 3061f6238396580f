"""Instructions that change nothing but the image's config, and what Docker's history says of them.

    >>> from labkit.engine.build import settings
    >>> config, comment = settings.changed(parse_instruction("EXPOSE 80"), ContainerConfig(), Words({}))
    >>> config.ExposedPorts, comment
    ({'80/tcp': {}}, 'EXPOSE 80')

CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL, USER and VOLUME are here; WORKDIR makes a directory, too,
ARG is about the build and not about the image. Source: Dockerfile reference; OCI image-spec 1.1, config.md. Shown in notebook 09.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from labkit.engine.build import golang, health, words
from labkit.engine.build.instructions import Instruction
from labkit.errors import InvalidInput
from labkit.image.container_config import ContainerConfig
from labkit.linux import processes
from labkit.records import record

SHELL = ("/bin/sh", "-c")
_NOTHING: Mapping[str, object] = {}
T = TypeVar("T")


@record
class Words:
    """The variables that an instruction's words are expanded with."""

    variables: Mapping[str, str]
    escape: str = "\\"

    def one(self, text: str) -> str:
        """As one word."""
        return words.expand(text, self.variables, self.escape)

    def many(self, text: str) -> list[str]:
        """As the words that it becomes."""
        return words.expand_to_words(text, self.variables, self.escape)


def command(instruction: Instruction, config: ContainerConfig) -> tuple[str, ...]:
    """What is executed: the exec form as it is, else the line handed to the shell."""
    if instruction.exec_form or not instruction.arguments:
        return instruction.arguments
    return (*(config.Shell or SHELL), *instruction.arguments)


def changed(instruction: Instruction, config: ContainerConfig, expanded: Words, keeps_command: bool = False) -> tuple[ContainerConfig, str]:
    """The config after the instruction, and its line in the history. ``keeps_command``: a CMD of this stage is not lost to ENTRYPOINT."""
    arguments = instruction.arguments
    match instruction.keyword:
        case "CMD":
            run = command(instruction, config)
            return replace(config, Cmd=run), f"CMD {golang.quoted_list(run)}"
        case "ENTRYPOINT":
            run = command(instruction, config)
            return replace(config, Entrypoint=run, Cmd=config.Cmd if keeps_command else ()), f"ENTRYPOINT {golang.quoted_list(run)}"
        case "ENV":
            pairs = [f"{expanded.one(name)}={expanded.one(value)}" for name, value in _pairs(arguments)]
            return replace(config, Env=with_variables(config.Env, pairs)), f"ENV {' '.join(pairs)}"
        case "LABEL":
            labels = {expanded.one(name): expanded.one(value) for name, value in _pairs(arguments)}
            said = " ".join(f"{name}={value}" for name, value in labels.items())
            return replace(config, Labels=_sorted({**config.Labels, **labels})), f"LABEL {said}"
        case "EXPOSE":
            ports = [port for argument in sorted(arguments) for port in expanded.many(argument)]
            exposed = dict.fromkeys((each for port in ports for each in _ports(port)), _NOTHING)
            return replace(config, ExposedPorts=_sorted({**config.ExposedPorts, **exposed})), f"EXPOSE {' '.join(ports)}"
        case "VOLUME":
            volumes = [expanded.one(argument.strip()) for argument in arguments]
            if "" in volumes:
                raise InvalidInput("VOLUME specified can not be an empty string")
            also = dict.fromkeys(volumes, _NOTHING)
            return replace(config, Volumes=_sorted({**config.Volumes, **also})), f"VOLUME [{' '.join(volumes)}]"
        case "USER":
            user = expanded.one(arguments[0])
            return replace(config, User=user), f"USER {user}"
        case "STOPSIGNAL":
            signal = expanded.one(arguments[0])
            try:
                processes.signal_number(signal)
            except InvalidInput:
                raise InvalidInput(f"Invalid signal: {signal}") from None
            return replace(config, StopSignal=signal), f"STOPSIGNAL {signal}"
        case "SHELL":
            return replace(config, Shell=arguments), f"SHELL [{' '.join(arguments)}]"
        case "ONBUILD":
            return replace(config, OnBuild=(*config.OnBuild, arguments[0])), f"ONBUILD {arguments[0]}"
        case "HEALTHCHECK":
            check = health.check(arguments, instruction.flags, instruction.exec_form)
            return replace(config, Healthcheck=health.merged(check, config.Healthcheck)), f"HEALTHCHECK {health.said(check)}"
    raise InvalidInput(f"{instruction.keyword} changes more than the config")


def workdir(current: str, wanted: str) -> str:
    """The directory that WORKDIR leads to."""
    if not wanted:
        raise InvalidInput("WORKDIR: cannot normalize nothing: the path is empty")
    return wanted if wanted.startswith("/") else posixpath.normpath(posixpath.join("/", current, wanted))


def with_variables(env: Iterable[str], pairs: Iterable[str]) -> tuple[str, ...]:
    """An environment with other values of some variables, which keep their place; new ones come last."""
    found = {entry.partition("=")[0]: entry for entry in env}
    found.update({entry.partition("=")[0]: entry for entry in pairs})
    return tuple(found.values())


def variables(env: Iterable[str]) -> dict[str, str]:
    """An environment as names and values."""
    return {name: value for name, _, value in (entry.partition("=") for entry in env)}


def _pairs(arguments: tuple[str, ...]) -> zip[tuple[str, str]]:
    return zip(arguments[::2], arguments[1::2], strict=True)


def _sorted(named: Mapping[str, T]) -> dict[str, T]:
    """In the order of the names, as Go writes a map."""
    return dict(sorted(named.items()))


def _ports(text: str) -> Iterable[str]:
    """``80``, ``53/udp`` and ``8000-8010`` as the config has them."""
    found = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?(?:/([A-Za-z]+))?", text)
    protocol = (found[3] or "tcp").lower() if found else ""
    if not found or not 0 < int(found[1]) <= int(found[2] or found[1]) <= 65535:
        raise InvalidInput(f"Invalid containerPort: {text.partition('/')[0]}")
    if protocol not in ("tcp", "udp", "sctp"):
        raise InvalidInput(f"Invalid proto: {found[3]}")
    return (f"{port}/{protocol}" for port in range(int(found[1]), int(found[2] or found[1]) + 1))
