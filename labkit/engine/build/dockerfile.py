"""A Dockerfile as stages of instructions, each with the number of the line that it begins on.

    >>> from labkit.engine.build import dockerfile
    >>> file = dockerfile.parse("FROM busybox AS base\\nRUN echo a \\\\\\n && echo b\\n")
    >>> file.stages[0].name, file.stages[0].instructions[0]
    ('base', Instruction(keyword='RUN', arguments=('echo a  && echo b',), line=2, …))

    text ── lines joined at \\, comments out ──▶ instructions ── FROM begins ──▶ stages, and the ARGs before the first
                 (here)                          (instructions.py)                (here)

What is wrong is ``InvalidInput`` in Docker's words: ``dockerfile parse error line 2: unknown instruction: FOO``. Nothing is looked up
and no variable is replaced yet. Source: Dockerfile reference, "Format" and "Parser directives". Shown in notebook 09.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from labkit.engine.build.instructions import Instruction, parse_instruction
from labkit.errors import InvalidInput
from labkit.records import record

_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*")
_STAGE_NAME = re.compile(r"[a-z][a-z0-9-_.]*")


@record
class Stage:
    """What is between one FROM and the next."""

    base: str
    name: str
    platform: str
    line: int
    text: str
    instructions: tuple[Instruction, ...] = ()


@record
class Dockerfile:
    """All of it. ``escape`` joins lines and escapes characters; ``arguments`` are the ARGs before the first FROM."""

    escape: str
    arguments: tuple[Instruction, ...]
    stages: tuple[Stage, ...]


def parse(text: str | bytes) -> Dockerfile:
    """A Dockerfile from its text."""
    lines = [line.rstrip("\r") for line in _decoded(text).split("\n")]
    escape = _escape(lines)
    arguments: list[Instruction] = []
    stages: list[tuple[Instruction, list[Instruction]]] = []
    for number, line in _logical_lines(lines, escape):
        with _Located(number):
            instruction = parse_instruction(line, number, escape)
            if instruction.keyword == "FROM":
                stages.append((instruction, []))
            elif stages:
                stages[-1][1].append(instruction)
            elif instruction.keyword == "ARG":
                arguments.append(instruction)
            else:
                raise InvalidInput("no build stage in current context: the first instruction must be FROM, or ARG for use in FROM")
    if not stages:
        raise InvalidInput("dockerfile parse error: there is no FROM in it" if arguments else "the Dockerfile cannot be empty")
    return Dockerfile(escape, tuple(arguments), tuple(_stage(start, inside) for start, inside in stages))


def _decoded(text: str | bytes) -> str:
    try:
        words = text.decode() if isinstance(text, bytes) else text
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InvalidInput(f"dockerfile parse error line {line}: is not UTF-8 text") from None
    return words.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")  # the byte order mark of Windows' editors


class _Located:
    """Puts the line's number in front of what is wrong in it."""

    def __init__(self, line: int) -> None:
        self.line = line

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: object, error: BaseException | None, _where: object) -> None:
        if isinstance(error, InvalidInput):
            raise InvalidInput(f"dockerfile parse error line {self.line}: {error}") from None


def _escape(lines: list[str]) -> str:
    """The escape character: a backslash, or what ``# escape=`` says among the comments at the top."""
    seen: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        found = _DIRECTIVE.fullmatch(line.strip())
        if not found:
            break
        name = found[1].lower()
        with _Located(number):
            if name in seen and name in ("escape", "syntax", "check"):
                raise InvalidInput(f"only one {name} parser directive can be used")
            if name == "escape" and found[2] not in ("\\", "`"):
                raise InvalidInput(f"invalid escape token '{found[2]}' does not match ` or \\")
        seen[name] = found[2]
    return seen.get("escape", "\\")


def _logical_lines(lines: list[str], escape: str) -> Iterator[tuple[int, str]]:
    """Each instruction in one line, with the number that it begins on. Comments and empty lines are skipped, between joined lines too."""
    joined = ""
    start = 0
    for number, line in enumerate(lines, 1):
        if line.strip() == "" or line.lstrip().startswith("#"):
            continue
        start = start or number
        rest = line.rstrip(" \t\r")
        goes_on = rest.endswith(escape)
        joined += rest[:-1] if goes_on else line if joined else line.lstrip()
        if not goes_on:
            yield start, joined
            joined, start = "", 0
    if joined.strip():
        yield start, joined


def _stage(start: Instruction, inside: list[Instruction]) -> Stage:
    words = start.arguments
    with _Located(start.line):
        name = ""
        if len(words) == 3 and words[1].lower() == "as":
            name = words[2].lower()
            if not _STAGE_NAME.fullmatch(name):
                raise InvalidInput(f'invalid name for build stage: "{name}", name can\'t start with a number or contain symbols')
        elif len(words) != 1:
            raise InvalidInput("FROM requires either one or three arguments")
    return Stage(words[0], name, start.flags.get("platform", ""), start.line, start.text, tuple(inside))
