"""What a parsed ``--format`` template does when it meets its data: blocks, choices and loops, each in a scope.

    >>> path({"Config": {"User": "me"}}, ".Config.User")
    'me'

``templates`` makes functions of these from a template; each takes the scope, and writes or returns a value. Source: Go's text/template
("Variables", "Actions").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from labkit.cli.templates_functions import ABSENT, Function, text, true
from labkit.errors import InvalidInput


@dataclass
class Scope:
    """What an action sees: ``.``, the variables, and the functions."""

    dot: object
    variables: dict[str, object]
    functions: Mapping[str, Function]
    outer: Scope | None = None

    def inner(self, dot: object) -> Scope:
        """The scope of a block: what it declares ends with it, what it assigns stays."""
        return Scope(dot, {}, self.functions, self)

    def holder(self, name: str) -> Scope:
        """The nearest scope that has the variable."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.variables:
                return scope
            scope = scope.outer
        raise InvalidInput(f"template parsing error: undefined variable {name!r}")


Evaluate = Callable[[Scope], object]
Write = Callable[[Scope, list[str]], None]


def sequence(writes: Sequence[Write]) -> Write:
    def write(scope: Scope, out: list[str]) -> None:
        for one in writes:
            one(scope, out)

    return write


def choice(word: str, names: Sequence[str], value: Evaluate, body: Write, otherwise: Write) -> Write:
    def write(scope: Scope, out: list[str]) -> None:
        seen = value(scope)
        inner = scope.inner(seen if word == "with" and true(seen) else scope.dot)
        inner.variables.update(dict.fromkeys(names, seen))
        (body if true(seen) else otherwise)(inner, out)

    return write


def loop(names: Sequence[str], value: Evaluate, body: Write, otherwise: Write) -> Write:
    def write(scope: Scope, out: list[str]) -> None:
        seen = value(scope)
        pairs: Sequence[tuple[object, object]]
        if isinstance(seen, Mapping):
            pairs = sorted(seen.items(), key=lambda item: str(item[0]))
        elif isinstance(seen, (list, tuple)):
            pairs = list(enumerate(seen))
        elif seen is None or seen is ABSENT:
            pairs = []
        else:
            raise InvalidInput(f"template parsing error: range can't iterate over {text(seen)}")
        for key, item in pairs:
            inner = scope.inner(item)
            inner.variables.update(zip(names, (key, item) if len(names) == 2 else (item,), strict=False))
            body(inner, out)
        if not pairs:
            otherwise(scope.inner(scope.dot), out)

    return write


def called(name: str, scope: Scope, arguments: Sequence[object]) -> object:
    try:
        return scope.functions[name](*arguments)
    except (TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
        raise InvalidInput(f"template parsing error: {name}: {error}") from None


def method(name: str, value: object, arguments: Sequence[object]) -> object:
    """``.Label "x"``: a field that takes arguments."""
    if not callable(value):
        raise InvalidInput(f"template parsing error: {name}: can't give an argument to a value that is no function")
    return value(*arguments)


def path(value: object, path: str) -> object:
    """``.A.B`` of a value."""
    for name in path[1:].split("."):
        if not isinstance(value, Mapping):
            raise InvalidInput(f"template parsing error: {path}: can't evaluate field {name}: {text(value)} has no fields")
        if name not in value:  # Go knows ID where JSON says Id
            name = next((key for key in value if isinstance(key, str) and key.lower() == name.lower()), name)
        if name not in value:
            there = ", ".join(sorted(map(str, value))) or "none"
            raise InvalidInput(f"template parsing error: {path}: can't evaluate field {name}: there is {there}")
        value = value[name]
    return value
