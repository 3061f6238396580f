"""The networks that containers can be in. For now the three that are always there; only ``host`` and ``none`` are more than a name.

    container.start ── join ──▶ event network connect      container's end ── leave ──▶ event network disconnect

Source: Docker Engine API v1.47, Network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING

from labkit.errors import NotFound
from labkit.records import record

if TYPE_CHECKING:
    from labkit.engine.container import Container
    from labkit.engine.engine import Engine


@record
class Network:
    """A network."""

    Name: str
    Id: str
    Driver: str
    Scope: str = "local"
    Labels: Mapping[str, str] = field(default_factory=dict)


def _predefined(name: str, driver: str) -> Network:
    return Network(name, hashlib.sha256(f"labkit network {name}".encode()).hexdigest(), driver)


class Networks:
    """All networks of the engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._all = [_predefined("bridge", "bridge"), _predefined("host", "host"), _predefined("none", "null")]

    def list(self) -> tuple[Network, ...]:
        """All of them."""
        return tuple(self._all)

    def get(self, reference: str) -> Network:
        """By name, ID or the beginning of one. ``NotFound``."""
        for network in self._all:
            if reference in (network.Name, network.Id):
                return network
        begin = [network for network in self._all if reference and network.Id.startswith(reference)]
        if len(begin) == 1:
            return begin[0]
        raise NotFound(f"network {reference} not found")

    def of(self, container: Container) -> tuple[Network, ...]:
        """The networks that a container is in when it runs. ``NotFound`` if one of them is none."""
        mode = container.record.HostConfig.NetworkMode
        if mode.startswith("container:"):
            return ()
        names = {"bridge" if mode in ("", "default") else mode: None}
        names |= {("bridge" if name == "default" else name): None for name in container.record.NetworkingConfig.EndpointsConfig}
        return tuple(self.get(name) for name in names)

    # What the life of a container calls, with its lock held

    def join(self, container: Container) -> None:
        """Before it is born: see that its networks exist, take addresses, tell. ``leave`` takes it back."""
        for network in self.of(container):
            self._tell("connect", network, container)

    def leave(self, container: Container) -> None:
        """It has ended, or was not born."""
        for network in self.of(container):
            self._tell("disconnect", network, container)

    def rejoin(self, container: Container) -> None:
        """The engine has come up, and it runs still: what it has is its own."""

    def addresses(self, container: Container) -> tuple[tuple[str, str], ...]:
        """Lines of its /etc/hosts: an address and the names for it."""
        return ()

    def _tell(self, action: str, network: Network, container: Container) -> None:
        attributes = {"container": container.id, "name": network.Name, "type": network.Driver}
        self.engine.events.publish("network", action, network.Id, attributes)
