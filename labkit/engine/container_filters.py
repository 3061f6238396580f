"""``docker ps --filter`` and ``docker container prune --filter``: which containers are meant.

    id name label status exited ancestor before since volume network expose publish health is-task isolation

Values of one filter are alternatives, but labels must all be there. Source: moby's ``daemon/list.go``; Docker Engine API v1.47.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from labkit.engine import times
from labkit.errors import InvalidInput, LabError

if TYPE_CHECKING:
    from labkit.engine.container import Container
    from labkit.engine.container_file import Record
    from labkit.engine.engine import Engine

Filters = Mapping[str, Sequence[str]]
_STATES = ("created", "restarting", "running", "removing", "paused", "exited", "dead")
_KNOWN = frozenset({"ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label", "name", "network",
                    "publish", "since", "status", "volume"})  # fmt: skip


def passing(engine: Engine, containers: Sequence[Container], filters: Filters) -> list[Container]:
    """Those that pass, in the order in which they came. ``InvalidInput`` for a filter that there is not."""
    _check(filters, _KNOWN)
    tests = [_test(engine, name, values) for name, values in filters.items() if values]
    return [container for container in containers if all(test(container) for test in tests)]


def says_status(filters: Filters) -> bool:
    """Whether the filters themselves say in which states: then those that do not run are meant, too."""
    return bool(filters.get("status") or filters.get("exited"))


def check_prune(filters: Filters) -> None:
    """``InvalidInput`` for what prune does not know."""
    _check(filters, frozenset({"label", "label!", "until"}))


def prunable(containers: Iterable[Container], filters: Filters) -> list[Container]:
    """Those that do not run, and pass."""
    limits = [times.moment(text) for text in filters.get("until", ())]
    return [
        container
        for container in containers
        if not container.state.running
        and all(container.age <= limit for limit in limits)
        and _has_labels(container, filters.get("label", ()))
        and not any(_has_labels(container, [label]) for label in filters.get("label!", ()))
    ]


def _check(filters: Filters, known: frozenset[str]) -> None:
    unknown = sorted(set(filters) - known)
    if unknown:
        raise InvalidInput(f"Invalid filter '{unknown[0]}'")


def _has_labels(container: Container, wanted: Iterable[str]) -> bool:
    labels = container.record.Config.Labels
    pairs = (text.partition("=") for text in wanted)
    return all(key in labels and (not equals or labels[key] == value) for key, equals, value in pairs)


def _test(engine: Engine, name: str, values: Sequence[str]) -> Callable[[Container], bool]:
    match name:
        case "label":
            return lambda container: _has_labels(container, values)
        case "before" | "since":
            limit = engine.containers.get(values[0]).age
            return (lambda container: container.age < limit) if name == "before" else (lambda container: container.age > limit)
        case "ancestor":
            images = _images(engine, values)
            return lambda container: container.record.Image in images or container.record.Config.Image in values
        case "status":
            for value in values:
                if value not in _STATES:
                    raise InvalidInput(f"Invalid filter 'status={value}'")
            return lambda container: container.state.Status in values
        case "exited":
            if not all(re.fullmatch(r"-?\d+", value) for value in values):
                raise InvalidInput(f"Invalid filter 'exited={values[0]}'")
            codes = {int(value) for value in values}
            return lambda container: not container.state.running and container.record.HasBeenStarted and container.state.ExitCode in codes
        case "health":
            return lambda container: (getattr(container.health, "Status", "") or "none") in values
        case "name":
            patterns = [_pattern(value) for value in values]
            return lambda container: any(found.search(each) for found in patterns for each in (container.name, f"/{container.name}"))
    return lambda container: any(_matches(container, name, value) for value in values)


def _matches(container: Container, name: str, value: str) -> bool:
    record = container.record
    match name:
        case "id":
            return container.id.startswith(value)
        case "volume":
            return any(value in (point.Name, point.Destination, point.Source) for point in record.Mounts)
        case "network":
            mode = record.HostConfig.NetworkMode
            return value in ("bridge" if mode in ("", "default") else mode, *record.Endpoints)
        case "expose" | "publish":
            first, _, protocol = value.partition("/")
            return f"{first}/{protocol or 'tcp'}" in (_exposed(record) if name == "expose" else _published(record))
        case "isolation":
            return value in ("", "default")
    return value.lower() in ("false", "0")  # is-task: there is no swarm here


def _exposed(record: Record) -> set[str]:
    """The ports of its own, as ``80/tcp``."""
    return {port if "/" in port else f"{port}/tcp" for port in record.Config.ExposedPorts}


def _published(record: Record) -> set[str]:
    """The ports of the host that lead to it."""
    return {f"{each.HostPort}/{port.partition('/')[2] or 'tcp'}" for port, bindings in record.Ports.items() for each in bindings}


def _pattern(value: str) -> re.Pattern[str]:
    try:
        return re.compile(value)
    except re.error:
        return re.compile(re.escape(value))


def _images(engine: Engine, values: Sequence[str]) -> set[str]:
    """The images that are meant, and all that stand on them."""
    found = set()
    for value in values:
        try:
            below = engine.image(value)
        except LabError:
            continue
        found.add(below.id)
        if chain := below.chain_ids[-1:]:
            found.update(image.id for image in engine.images.images.list() if chain[0] in image.chain_ids)
    return found
