"""ARG: variables of the build, that the image does not keep.

    >>> from labkit.engine.build.arguments import Arguments
    >>> arguments = Arguments({"VERSION": "2"})           # --build-arg VERSION=2
    >>> arguments.declare("VERSION", "1")                 # ARG VERSION=1
    >>> arguments.values()
    {'VERSION': '2'}

What the caller gives wins over what the Dockerfile says. An ARG before the first FROM is for FROM alone, and for an ARG of a stage that
names it again without a value. Proxies may be given without any ARG; then they are in no history. Source: Dockerfile reference, "ARG".
Shown in notebook 09.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

PROXIES = frozenset(each for name in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY") for each in (name, name.lower()))


class Arguments:
    """The variables of one stage."""

    def __init__(self, given: Mapping[str, str], outer: Mapping[str, str] | None = None) -> None:
        self.given = dict(given)
        self.outer = dict(outer or {})
        self.declared: dict[str, str | None] = {}

    def declare(self, name: str, default: str | None) -> None:
        """``ARG name`` or ``ARG name=default``."""
        self.declared[name] = default

    def values(self) -> dict[str, str]:
        """Those that have a value."""
        found: dict[str, str] = {}
        for name in (*self.declared, *sorted(PROXIES - self.declared.keys())):
            value = self.given.get(name)
            if value is None:
                value = self.declared.get(name)
            if value is None and name in self.declared:
                value = self.outer.get(name)
            if value is not None:
                found[name] = value
        return found

    def besides(self, names: Iterable[str]) -> dict[str, str]:
        """The same without what the image's environment has: that wins."""
        hidden = frozenset(names)
        return {name: value for name, value in self.values().items() if name not in hidden}

    def told(self, names: Iterable[str]) -> tuple[str, ...]:
        """``NAME=value`` of those of ``names`` that belong into the history, in order."""
        values = self.values()
        return tuple(sorted(f"{name}={values[name]}" for name in names if name in self.declared or name not in PROXIES))
