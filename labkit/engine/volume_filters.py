"""``docker volume ls --filter`` and ``docker volume prune --filter``: which volumes are meant.

    dangling   whether no container has it          label   KEY or KEY=VALUE, all of them
    name       a part of its name                   driver  there is but one, local

Source: Docker Engine API v1.47, ``GET /volumes``, ``POST /volumes/prune``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from labkit.errors import InvalidInput

if TYPE_CHECKING:
    from labkit.engine.volumes import Volume

Filters = Mapping[str, Sequence[str]]
_TRUTH = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}


def passing(volumes: Iterable[Volume], filters: Filters, is_used: Callable[[Volume], bool]) -> tuple[Volume, ...]:
    """Those that pass. ``InvalidInput`` for a filter that there is not."""
    _check(filters, frozenset({"dangling", "driver", "label", "name"}))
    dangling = {truth("dangling", text) for text in filters.get("dangling", ())}
    patterns = [_pattern(text) for text in filters.get("name", ())]
    return tuple(
        volume
        for volume in volumes
        if has_labels(volume, filters.get("label", ()))
        and (not patterns or any(pattern.search(volume.Name) for pattern in patterns))
        and (not filters.get("driver") or volume.Driver in filters["driver"])
        and (not dangling or (not is_used(volume)) in dangling)
    )


def prunable(volumes: Iterable[Volume], filters: Filters, *, every: bool) -> tuple[Volume, ...]:
    """Those that a prune means, if no container has them: the anonymous ones, unless it is ``every`` one."""
    _check(filters, frozenset({"all", "label", "label!"}))
    every = every or any(truth("all", text) for text in filters.get("all", ()))
    return tuple(
        volume
        for volume in volumes
        if (every or volume.anonymous)
        and has_labels(volume, filters.get("label", ()))
        and not any(has_labels(volume, [label]) for label in filters.get("label!", ()))
    )


def truth(name: str, text: str) -> bool:
    """A filter that is true or false."""
    found = _TRUTH.get(text.lower())
    if found is None:
        raise InvalidInput(f"Invalid filter '{name}=[{text}]'")
    return found


def has_labels(volume: Volume, wanted: Iterable[str]) -> bool:
    """Whether it has all these labels."""
    pairs = (text.partition("=") for text in wanted)
    return all(key in volume.Labels and (not equals or volume.Labels[key] == value) for key, equals, value in pairs)


def _check(filters: Filters, known: frozenset[str]) -> None:
    unknown = sorted(set(filters) - known)
    if unknown:
        raise InvalidInput(f"Invalid filter '{unknown[0]}'")


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error:
        return re.compile(re.escape(text))
