"""Variables in a Dockerfile's words: ``$NAME`` and ``${NAME}`` replaced, quotes and escapes taken away.

    >>> from labkit.engine.build import words
    >>> words.expand("${GREETING:-hello}, '$NAME' is $NAME", {"NAME": "ada"})
    'hello, $NAME is ada'

    $NAME  ${NAME}           its value, or nothing if it is not set
    ${NAME:-w}  ${NAME-w}    w instead if it is empty or not set; if it is not set
    ${NAME:+w}  ${NAME+w}    w instead if it is set and not empty; if it is set
    ${NAME:?w}  ${NAME?w}    an error that says w if it is empty or not set; if it is not set

Single quotes keep all as it is, double quotes all but ``$`` and escapes. A shell has nothing to do with it: RUN, CMD and ENTRYPOINT
hand their line on as it stands. Source: Dockerfile reference, "Environment replacement". Shown in notebook 09.
"""

from __future__ import annotations

from collections.abc import Mapping

from labkit.errors import InvalidInput


def expand(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """``text`` as one word."""
    return "".join(piece for piece, _ in _pieces(text, variables, escape))


def expand_to_words(text: str, variables: Mapping[str, str], escape: str = "\\") -> list[str]:
    """``text`` as the words that it becomes: a variable with a space in it makes two, unless it stands in quotes."""
    found = [""]
    for piece, splits in _pieces(text, variables, escape):
        for char in piece:
            if splits and char.isspace():
                found.append("")
            else:
                found[-1] += char
    return [word for word in found if word]


def _pieces(text: str, variables: Mapping[str, str], escape: str) -> list[tuple[str, bool]]:
    try:
        return _Scanner(text, variables, escape).pieces("")
    except InvalidInput as error:
        raise InvalidInput(f'failed to process "{text}": {error}') from None


class _Scanner:
    """Reads a text from left to right; ``at`` is what comes next."""

    def __init__(self, text: str, variables: Mapping[str, str], escape: str) -> None:
        self.text, self.variables, self.escape = text, variables, escape
        self.at = 0

    def pieces(self, stop: str) -> list[tuple[str, bool]]:
        """What is before the character ``stop``, or before the end; each with whether a space in it ends a word."""
        found: list[tuple[str, bool]] = []
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == stop:
                self.at += 1
                return found
            if char == "'":
                found.append((self.single_quoted(), False))
            elif char == '"':
                found.append((self.double_quoted(), False))
            elif char == "$":
                found.append((self.variable(), True))
            elif char == self.escape:
                found.append((self.text[self.at + 1 : self.at + 2], False))
                self.at += 2
            else:
                found.append((char, True))
                self.at += 1
        if stop:
            raise InvalidInput(f"syntax error: missing '{stop}'")
        return found

    def single_quoted(self) -> str:
        end = self.text.find("'", self.at + 1)
        if end < 0:
            raise InvalidInput("unexpected end of statement while looking for matching single-quote")
        quoted = self.text[self.at + 1 : end]
        self.at = end + 1
        return quoted

    def double_quoted(self) -> str:
        quoted = ""
        self.at += 1
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == '"':
                self.at += 1
                return quoted
            if char == "$":
                quoted += self.variable()
                continue
            following = self.text[self.at + 1 : self.at + 2]
            if char == self.escape and following and following in ('"', "$", self.escape):
                self.at += 1  # any other escape stays as it is, as in a shell
                char = following
            quoted += char
            self.at += 1
        raise InvalidInput("unexpected end of statement while looking for matching double-quote")

    def variable(self) -> str:
        self.at += 1
        if self.text[self.at : self.at + 1] != "{":
            name = self.name()
            return self.variables.get(name, "") if name else "$"
        self.at += 1
        name = self.name()
        if not name and self.at < len(self.text):
            raise InvalidInput("syntax error: bad substitution")
        return self.substitution(name)

    def name(self) -> str:
        """A name; of ``$1st`` it is ``1``, as in a shell."""
        start = self.at
        while self.at < len(self.text) and (self.text[self.at].isalnum() or self.text[self.at] == "_"):
            self.at += 1
            if self.text[start].isdigit():
                break
        return self.text[start : self.at]

    def substitution(self, name: str) -> str:
        """What follows the name in ``${name…}``."""
        modifier = self.text[self.at : self.at + 1]
        self.at += 1
        if not modifier:
            raise InvalidInput("syntax error: missing '}'")
        value = self.variables.get(name)
        if modifier == "}":
            return value or ""
        if with_colon := modifier == ":":
            modifier = self.text[self.at : self.at + 1]
            self.at += 1
        if modifier not in ("-", "+", "?"):
            raise InvalidInput(f"unsupported modifier ({modifier}) in substitution")
        word = "".join(piece for piece, _ in self.pieces("}"))
        counts = bool(value) if with_colon else value is not None
        if modifier == "+":
            return word if counts else ""
        if not counts and modifier == "?":
            raise InvalidInput(f"{name}: {word or ('is not allowed to be empty' if value == '' else 'is not allowed to be unset')}")
        return value or "" if counts else word
