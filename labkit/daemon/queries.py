"""The query of a request: ``?all=1&filters={"name":["web"]}``.

    >>> query = Query.parse("all=1&filters=%7B%22name%22%3A%5B%22web%22%5D%7D&t=10")
    >>> query.flag("all"), query.flag("size"), query.number("t"), query.filters()
    (True, False, 10, {'name': ('web',)})

Clients differ: the docker command writes ``1`` and filters as a map of maps, docker-py ``True`` and a map of lists. Both are read; what
cannot be is ``InvalidInput``. Source: moby's ``httputils/form.go``, ``filters/parse.go``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from labkit.errors import InvalidInput

_FALSE = ("", "0", "no", "false", "none")
_MOST = 1000  # parameters

Filters = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Query:
    """Names and values, in their order."""

    pairs: Sequence[tuple[str, str]] = ()

    @classmethod
    def parse(cls, text: str) -> Query:
        """What follows the question mark."""
        if not text:
            return cls()
        try:
            found = parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST, errors="surrogateescape")
        except ValueError:
            raise InvalidInput(f"the query has more than {_MOST} parameters") from None
        if any("\0" in text for pair in found for text in pair):
            raise InvalidInput("the query must not hold a NUL character")
        return cls(found)

    def __contains__(self, name: str) -> bool:
        return any(key == name for key, _ in self.pairs)

    def text(self, name: str, default: str = "") -> str:
        """The first value of this name."""
        return next((_clean(value) for key, value in self.pairs if key == name), default)

    def path(self, name: str) -> str:
        """The same as a path, which may hold any bytes: ``os.fsencode`` gives those."""
        return next((value for key, value in self.pairs if key == name), "")

    def all(self, name: str) -> tuple[str, ...]:
        """All values of this name."""
        return tuple(_clean(value) for key, value in self.pairs if key == name)

    def flag(self, name: str, default: bool = False) -> bool:
        """Whether it is said, and not "0", "no", "false" or "none"."""
        return self.text(name).strip().lower() not in _FALSE if name in self else default

    def number(self, name: str, default: int = 0) -> int:
        """A whole number."""
        value = self.maybe_number(name)
        return default if value is None else value

    def maybe_number(self, name: str) -> int | None:
        """A whole number; None if nothing is said."""
        text = self.text(name)
        if not text:
            return None
        try:
            if len(text) > 19:
                raise ValueError
            return int(text)
        except ValueError:
            raise InvalidInput(f"{name}: must be a whole number, not {text!r:.60}") from None

    def filters(self) -> Filters:
        """``filters``: values by name, however the client writes them."""
        return {name: tuple(values) for name, values in _mapping(self.document("filters"), "filters").items()}

    def document(self, name: str) -> object:
        """A parameter that is JSON; None if nothing is said."""
        text = self.text(name)
        try:
            return json.loads(text) if text else None
        except (ValueError, RecursionError):
            raise InvalidInput(f"{name}: is not JSON: {text!r:.60}") from None

    def strings(self, name: str) -> dict[str, str]:
        """A parameter that is a JSON object of strings; ``null`` as a value leaves its name out."""
        found = self.document(name)
        if found is None:
            return {}
        if isinstance(found, dict) and all(value is None or isinstance(value, str) for value in found.values()):
            return {key: value for key, value in found.items() if value is not None}
        raise InvalidInput(f"{name}: must be an object of strings, not {found!r:.60}")


def _clean(text: str) -> str:
    """With marks in place of bytes that are no UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _mapping(found: object, name: str) -> dict[str, list[str]]:
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InvalidInput(f"{name}: must be an object, not {found!r:.60}")
    return {key: _values(values, f"{name}.{key}") for key, values in found.items()}


def _values(values: object, name: str) -> list[str]:
    """A list, or an object whose members are true; one string stands for a list of it, as docker-py lets people write it."""
    if isinstance(values, dict):
        values = [value for value, is_wanted in values.items() if is_wanted]
    elif not isinstance(values, list):
        values = [values]
    if not all(isinstance(value, str | int) for value in values):
        raise InvalidInput(f"{name}: must be an array of strings, not {values!r:.60}")
    return [str(value).lower() if isinstance(value, bool) else str(value) for value in values]
