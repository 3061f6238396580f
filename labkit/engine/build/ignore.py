"""``.dockerignore``: what of a build's context is left out.

    >>> from labkit.engine.build import ignore
    >>> rules = ignore.parse("*.log\\n!keep.log\\n**/node_modules\\n")
    >>> [path for path in ("a.log", "keep.log", "src/node_modules/x.js", "src/a.js") if not rules.ignores(path)]
    ['keep.log', 'src/a.js']

A rule a line; the last one that matches a path, or a directory that it is in, decides; ``!`` takes a path back in. Paths are those
below the context, without a slash in front. Source: Dockerfile reference, ".dockerignore file". Shown in notebook 09.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from labkit.engine.build import patterns
from labkit.errors import InvalidInput
from labkit.records import record


@record
class Rule:
    """One line: paths that ``expression`` matches are left out or, with ``keeps``, taken back in."""

    expression: re.Pattern[str]
    keeps: bool


@record
class Ignore:
    """All lines of a file; none of them, and nothing is left out."""

    rules: tuple[Rule, ...] = ()

    def ignores(self, path: str) -> bool:
        """Whether this path is left out."""
        return bool(self.rules) and self._verdict([path, *_parents(path)])

    def _verdict(self, line: list[str]) -> bool:
        for rule in reversed(self.rules):
            if any(rule.expression.fullmatch(path) for path in line):
                return not rule.keeps
        return False

    @property
    def takes_back(self) -> bool:
        """Whether something inside a directory that is left out may be in again: then one has to look into it."""
        return any(rule.keeps for rule in self.rules)


def _parents(path: str) -> Iterator[str]:
    while path := posixpath.dirname(path):
        yield path


def parse(text: str) -> Ignore:
    """The rules of a ``.dockerignore``; ``InvalidInput`` names the line that is none."""
    rules: list[Rule] = []
    for number, line in enumerate(text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}").split("\n"), 1):
        pattern = line.strip()
        if not pattern or line.startswith("#"):
            continue
        keeps = pattern.startswith("!")
        pattern = pattern[keeps:].strip()
        if not pattern:
            raise InvalidInput(f'.dockerignore line {number}: illegal exclusion pattern: "!"')
        # Clean as Go's filepath.Clean; what goes above the context matches nothing in it.
        cleaned = posixpath.normpath("/" + pattern).lstrip("/") if not pattern.startswith("..") else posixpath.normpath(pattern)
        try:
            rules.append(Rule(patterns.compile(cleaned or ".", deep=True), keeps))
        except InvalidInput as error:
            raise InvalidInput(f".dockerignore line {number}: {error}") from None
    return Ignore(tuple(rules))
