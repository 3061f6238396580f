"""``--filter`` of ``docker network ls`` and ``prune``. Source: Docker Engine API v1.47, NetworkList, NetworkPrune."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from labkit.engine import times
from labkit.errors import InvalidInput

if TYPE_CHECKING:
    from labkit.engine.network_file import Network
    from labkit.engine.networks import Networks

Filters = Mapping[str, Sequence[str]]


def passing(networks: Networks, found: Iterable[Network], filters: Filters) -> tuple[Network, ...]:
    """Those that pass: one value of each filter must fit. ``InvalidInput`` for a filter that is none."""
    for name in filters:
        if name not in ("dangling", "driver", "id", "label", "name", "scope", "type"):
            raise InvalidInput(f"invalid filter '{name}'")
    return tuple(each for each in found if all(_passes(networks, each, name, values) for name, values in filters.items() if values))


def prunable(found: Iterable[Network], filters: Filters) -> tuple[Network, ...]:
    """Users' networks that ``prune`` may remove by its filters."""
    for name in filters:
        if name not in ("label", "label!", "until"):
            raise InvalidInput(f"invalid filter '{name}'")
    until = filters.get("until", ())
    if len(until) > 1:
        raise InvalidInput("more than one until filter specified")
    before = times.moment(until[0]) if until else None
    return tuple(
        each
        for each in found
        if not each.is_predefined
        and all(_has(each, label) for label in filters.get("label", ()))
        and not any(_has(each, label) for label in filters.get("label!", ()))
        and (before is None or times.parse(each.Created) < before)
    )


def _passes(networks: Networks, network: Network, name: str, values: Sequence[str]) -> bool:
    if name == "label":
        return all(_has(network, value) for value in values)
    if name == "dangling":
        is_free = not network.is_predefined and not networks.endpoints.of_network(network)
        return any(is_free == (value.lower() in ("1", "true")) for value in values)
    if name == "type":
        for value in values:
            if value not in ("builtin", "custom"):
                raise InvalidInput(f"invalid filter: 'type'='{value}'")
        return ("builtin" if network.is_predefined else "custom") in values
    text = {"driver": network.Driver, "id": network.Id, "name": network.Name, "scope": network.Scope}[name]
    return any(value in text if name in ("id", "name") else value == text for value in values)


def _has(network: Network, label: str) -> bool:
    key, equals, value = label.partition("=")
    return key in network.Labels and (not equals or network.Labels[key] == value)
