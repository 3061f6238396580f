"""File patterns as Go matches them, as regular expressions.

    >>> from labkit.engine.build import patterns
    >>> bool(patterns.compile("*.py").fullmatch("a.py")), bool(patterns.compile("*.py").fullmatch("src/a.py"))
    (True, False)
    >>> bool(patterns.compile("**/*.py", deep=True).fullmatch("src/a.py"))
    True

    *  any characters but /     ?  one of them     [a-z] [^a-z]  one of a set, one not of it     \\x  x itself
    ** any number of directories; where ``deep`` is set: in .dockerignore, not in COPY

Source: https://pkg.go.dev/path/filepath#Match; Dockerfile reference, ".dockerignore file". Shown in notebook 09.
"""

from __future__ import annotations

import re

from labkit.errors import InvalidInput

_TOKEN = re.compile(
    r"(?P<deep>\*\*/?)|(?P<star>\*)|(?P<one>\?)|\[(?P<not>\^?)(?P<set>(?:\\.|[^\]\\])+)\]|\\(?P<escaped>.)|(?P<plain>[^\[\\])", re.S
)


def is_pattern(text: str) -> bool:
    """Whether it may match something other than itself."""
    return bool(re.search(r"(?<!\\)(?:\\\\)*[*?\[]", text))


def compile(pattern: str, deep: bool = False) -> re.Pattern[str]:
    """The expression whose ``fullmatch`` takes what the pattern does. ``InvalidInput`` if it is none."""
    regex, at = "", 0
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        if not token:
            raise InvalidInput(f"pattern {pattern!r}: syntax error in pattern")
        at = token.end()
        regex += _translated(token, deep)
    try:
        return re.compile(regex, re.S)
    except re.error:
        raise InvalidInput(f"pattern {pattern!r}: syntax error in pattern") from None


def _translated(token: re.Match[str], deep: bool) -> str:
    if token["deep"]:
        slash = token["deep"].endswith("/")
        if deep:
            return "(?:.*/)?" if slash else ".*"
        return "[^/]*/" if slash else "[^/]*"
    if token["star"]:
        return "[^/]*"
    if token["one"]:
        return "[^/]"
    if token["set"]:
        members = re.sub(r"\\(.)|([\[&~|^])", lambda found: re.escape(found[1] or found[2]), token["set"])
        return f"[^/{members}]" if token["not"] else f"(?!/)[{members}]"
    return re.escape(token["escaped"] or token["plain"])
