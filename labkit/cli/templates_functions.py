"""The functions of ``--format`` templates, and how their values are written.

    >>> FUNCTIONS["join"](["a", "b"], ","), text([1, True, None])
    ('a,b', '[1 true <nil>]')

Source: Go's text/template ("Functions"); github.com/docker/cli, ``templates``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

Function = Callable[..., object]


class _Absent:
    """What ``index`` finds where there is nothing."""


ABSENT = _Absent()


def text(value: object) -> str:
    """A value as Go prints it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "<nil>"
    if value is ABSENT:
        return "<no value>"
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{key}:{text(value[key])}' for key in sorted(value, key=str))}]"
    if isinstance(value, (list, tuple)):
        return f"[{' '.join(map(text, value))}]"
    return str(value)


def true(value: object) -> bool:
    """Whether ``if`` takes it: what is not empty, zero or nil."""
    return value is not ABSENT and bool(value)


def compact(value: object) -> str:
    """JSON as Go writes it, on one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _index(value: object, *keys: object) -> object:
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key, "" if all(isinstance(item, str) for item in value.values()) else ABSENT)
        elif isinstance(value, (list, tuple, str)) and isinstance(key, int):
            if not 0 <= key < len(value):
                raise IndexError(f"index out of range: {key}")
            value = value[key]
        else:
            raise TypeError(f"can't index {text(value)} with {text(key)}")
    return value


def _printf(form: str, *values: object) -> str:
    """Go's verbs are Python's, but for %v (any value), %t (a truth) and %q (quoted)."""
    verbs = re.findall(r"%[-+ #0]*\d*(?:\.\d+)?([a-zA-Z])", form.replace("%%", ""))
    if len(verbs) != len(values):
        raise TypeError(f"{form!r} takes {len(verbs)} values, not {len(values)}")
    pairs = zip(verbs, values, strict=True)
    made = [compact(text(value)) if verb == "q" else text(value) if verb in "vst" else value for verb, value in pairs]
    return re.sub(r"(%[-+ #0]*\d*(?:\.\d+)?)[vqt]", r"\1s", form) % tuple(made)


def _compare(test: Callable[[int], bool]) -> Function:
    def compare(left: object, right: object) -> bool:
        kinds = [kind for kind in ((int, float), str) if isinstance(left, kind) and isinstance(right, kind)]
        if not kinds:
            raise TypeError("incompatible types for comparison")
        return test((left > right) - (left < right))  # type: ignore[operator]  # both are numbers or both are strings

    return compare


def _and(*values: object) -> object:
    return next((value for value in values if not true(value)), values[-1])


def _or(*values: object) -> object:
    return next((value for value in values if true(value)), values[-1])


def _join(items: list[object], separator: str) -> str:
    return separator.join(map(text, items or ()))


def _truncate(value: str, length: int) -> str:
    return value[:length]


def _pad(value: str, before: int, after: int) -> str:
    return " " * before + value + " " * after if value else value


FUNCTIONS: Mapping[str, Function] = MappingProxyType({
    "json": compact, "join": _join, "split": lambda value, separator: value.split(separator),
    "upper": lambda value: text(value).upper(), "lower": lambda value: text(value).lower(), "title": lambda value: text(value).title(),
    "pad": _pad, "truncate": _truncate, "print": lambda *values: "".join(map(text, values)),
    "println": lambda *values: " ".join(map(text, values)) + "\n", "printf": _printf, "len": len, "index": _index,
    "slice": lambda value, *ends: value[slice(*ends)] if len(ends) > 1 else value[ends[0] :] if ends else value,
    "eq": lambda left, *right: left in right, "ne": lambda left, right: left != right,
    "lt": _compare(lambda order: order < 0), "le": _compare(lambda order: order <= 0),
    "gt": _compare(lambda order: order > 0), "ge": _compare(lambda order: order >= 0),
    "and": _and, "or": _or, "not": lambda value: not true(value),
})  # fmt: skip

# Above a column stands its name, whatever the template does to the values.
HEADER_FUNCTIONS: Mapping[str, Function] = MappingProxyType(
    {**FUNCTIONS} | {name: lambda value, *_: value for name in ("json", "join", "split", "upper", "lower", "title", "truncate", "pad")}
)
