"""One instruction of a Dockerfile: its keyword, its flags, and its arguments in the form that the keyword wants.

    >>> from labkit.engine.build.instructions import parse_instruction
    >>> parse_instruction('COPY --chown=1:1 ["a b", "/srv/"]', line=3).arguments
    ('a b', '/srv/')

    list      ADD COPY VOLUME                   ["a", "b"] or words between spaces
    command   CMD ENTRYPOINT RUN SHELL          ["a", "b"] (exec form: as it is), or a line for the shell
    pairs     ENV LABEL                         NAME=value …, or one NAME value: name, value, name, value
    words     ARG                               words with quotes: NAME, NAME=value
    spaced    EXPOSE FROM                       words between spaces
    text      MAINTAINER ONBUILD STOPSIGNAL     the whole line
              USER WORKDIR
    health    HEALTHCHECK                       NONE, or CMD and a command

Quotes and variables are still in there: ``words.expand`` takes them out once the variables are known.
Source: Dockerfile reference. Shown in notebook 09.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import field

from labkit.engine.build import health
from labkit.errors import InvalidInput
from labkit.records import record

_SPACES = re.compile(r"[\t\v\f\r ]+")
_HEREDOC = re.compile(r"\d*<<-?(['\"]?)[A-Za-z_][A-Za-z0-9_]*\1")
_NEEDS_BUILDKIT = {"mount", "network", "security", "device", "link", "parents", "exclude", "keep-git-dir", "checksum", "unpack"}
_FLAGS = {
    "FROM": ("platform",),
    "ADD": ("chown", "chmod"),
    "COPY": ("from", "chown", "chmod"),
    "HEALTHCHECK": ("interval", "timeout", "start-period", "start-interval", "retries"),
}


@record
class Instruction:
    """``text`` is all of it in one line, as steps are announced; ``exec_form`` says that the arguments were a JSON array."""

    keyword: str
    arguments: tuple[str, ...]
    line: int
    text: str
    flags: Mapping[str, str] = field(default_factory=dict)
    exec_form: bool = False


def parse_instruction(text: str, line: int = 0, escape: str = "\\") -> Instruction:
    """The instruction in one line of text. ``InvalidInput`` says what is wrong, without the line's number."""
    text = text.strip()
    keyword, _, rest = text.partition(_SPACES.search(text)[0] if _SPACES.search(text) else "\n")  # type: ignore[index]
    keyword = keyword.upper()
    if keyword not in _FORMS:
        raise InvalidInput(f"unknown instruction: {keyword}")
    flags, rest = _flags(keyword, rest.strip())
    if keyword in ("RUN", "COPY", "ADD"):
        _refuse_heredoc(rest, escape)
    arguments, exec_form = _FORMS[keyword](keyword, rest, escape)
    instruction = Instruction(keyword, arguments, line, text, flags, exec_form)
    _check(instruction)
    return instruction


def _flags(keyword: str, rest: str) -> tuple[dict[str, str], str]:
    """The flags at the beginning of the arguments, and what follows them."""
    flags: dict[str, str] = {}
    while rest.startswith("--"):
        word, *after = _SPACES.split(rest, 1)
        rest = after[0] if after else ""
        if word == "--":
            break
        name, equals, value = word[2:].partition("=")
        if name not in _FLAGS.get(keyword, ()):
            if name in _NEEDS_BUILDKIT:
                raise InvalidInput(f"the --{name} option requires BuildKit, Docker's other builder; this one works as the classic builder")
            raise InvalidInput(f"Unknown flag: {name}")
        if not equals:
            raise InvalidInput(f"Missing a value on flag: {name}")
        if name in flags:
            raise InvalidInput(f"Duplicate flag specified: {name}")
        flags[name] = value
    return flags, rest


def _refuse_heredoc(rest: str, escape: str) -> None:
    for word in split_words(rest, escape):
        if _HEREDOC.fullmatch(word):
            raise InvalidInput(f"heredocs such as {word} take BuildKit: join the lines with && and {escape}, or COPY a script")


Arguments = tuple[tuple[str, ...], bool]


def _list(_keyword: str, rest: str, _escape: str) -> Arguments:
    array = _json_array(rest)
    return (tuple(_SPACES.split(rest) if rest else ()), False) if array is None else (array, True)


def _command(_keyword: str, rest: str, _escape: str) -> Arguments:
    array = _json_array(rest)
    return ((rest,) if rest else (), False) if array is None else (array, True)


def _health(_keyword: str, rest: str, escape: str) -> Arguments:
    kind, *after = _SPACES.split(rest, 1)
    command, exec_form = _command("CMD", after[0], escape) if after else ((), False)
    return ((kind.upper(), *command) if kind else (), exec_form)


def _text(_keyword: str, rest: str, _escape: str) -> Arguments:
    return (rest,) if rest else (), False


def _spaced(_keyword: str, rest: str, _escape: str) -> Arguments:
    return tuple(_SPACES.split(rest)) if rest else (), False


def _words(_keyword: str, rest: str, escape: str) -> Arguments:
    return tuple(split_words(rest, escape)), False


def _pairs(keyword: str, rest: str, escape: str) -> Arguments:
    words = split_words(rest, escape)
    if words and "=" not in words[0]:
        name, *value = _SPACES.split(rest, 1)
        if not value:
            raise InvalidInput(f"{keyword} must have two arguments")
        return (name, value[0]), False
    pairs: list[str] = []
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise InvalidInput(f'Syntax error - can\'t find = in "{word}". Must be of the form: name=value')
        if not name:
            raise InvalidInput(f"{keyword} names can not be blank")
        pairs += name, text
    return tuple(pairs), False


def _json_array(rest: str) -> tuple[str, ...] | None:
    """The array that an exec form is; None if it is another form. What follows the array is passed over, as Docker does."""
    if not rest.startswith("["):
        return None
    try:
        array, _ = json.JSONDecoder().raw_decode(rest)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(item, str) for item in array):
        raise InvalidInput("when using JSON array syntax, arrays must be comprised of strings only")
    return tuple(array)


def split_words(text: str, escape: str = "\\") -> list[str]:
    """Words between spaces; spaces in quotes, and escaped ones, do not count. Quotes and escapes stay."""
    found: list[str] = []
    word, quote = "", ""
    chars = iter(text)
    for char in chars:
        if char == escape and quote != "'":
            following = next(chars, "")
            word += char + following if following else ""  # one at the very end is dropped
        elif char.isspace() and not quote:
            if word:
                found.append(word)
            word = ""
        else:
            if char == quote:
                quote = ""
            elif not quote and char in "'\"":
                quote = char
            word += char
    return [*found, word] if word else found


_FORMS: dict[str, Callable[[str, str, str], Arguments]] = {
    **dict.fromkeys(("ADD", "COPY", "VOLUME"), _list),
    **dict.fromkeys(("CMD", "ENTRYPOINT", "RUN", "SHELL"), _command),
    **dict.fromkeys(("ENV", "LABEL"), _pairs),
    **dict.fromkeys(("EXPOSE", "FROM"), _spaced),
    **dict.fromkeys(("MAINTAINER", "ONBUILD", "STOPSIGNAL", "USER", "WORKDIR"), _text),
    "ARG": _words,
    "HEALTHCHECK": _health,
}


def _check(instruction: Instruction) -> None:
    """How many arguments there must be, and what each keyword forbids."""
    keyword, arguments = instruction.keyword, instruction.arguments
    if keyword in ("ADD", "COPY") and len(arguments) < 2:
        raise InvalidInput(f"{keyword} requires at least two arguments, but only one was provided. Destination could not be determined")
    if keyword in ("MAINTAINER", "STOPSIGNAL", "USER", "WORKDIR") and not arguments:
        raise InvalidInput(f"{keyword} requires exactly one argument")
    if keyword in ("ARG", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "RUN", "SHELL", "VOLUME") and not arguments:
        raise InvalidInput(f"{keyword} requires at least one argument")
    if keyword == "SHELL" and not instruction.exec_form:
        raise InvalidInput("SHELL requires the arguments to be in JSON form")
    if keyword == "VOLUME" and not all(path.strip() for path in arguments):
        raise InvalidInput("VOLUME specified can not be an empty string")
    if keyword == "ARG" and any(word.startswith("=") for word in arguments):
        raise InvalidInput("ARG names can not be blank")
    if keyword == "HEALTHCHECK":
        health.check(arguments, instruction.flags, instruction.exec_form)
    if keyword == "ONBUILD":
        _check_trigger(arguments[0])


def _check_trigger(text: str) -> None:
    trigger = parse_instruction(text).keyword if not text.upper().startswith("ONBUILD") else "ONBUILD"
    if trigger == "ONBUILD":
        raise InvalidInput("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if trigger in ("FROM", "MAINTAINER"):
        raise InvalidInput(f"{trigger} isn't allowed as an ONBUILD trigger")
