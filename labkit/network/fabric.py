"""What there is in the kernel for one engine's networks: bridges that are up, and one table; made when needed, repaired, taken down.

    fabric.raise_up(blue)     bridge, routing, table      the first container comes
    fabric.expect(…)          what the table must hold    its ports, which a step of its plan adds
    fabric.repair()           nft says that something     `nft flush ruleset` by hand, firewalld, a reboot of the firewall
                              was deleted
    fabric.lower(blue)        bridge and rules are gone   the last container has gone, and the network is removed

    >>> fabric = Fabric("labkit")
    >>> fabric.raise_up(Subnet("labkit0", "172.17.0.0/16", "172.17.0.1"))

Nothing here is written down: the engine knows which networks there are and who is in them, and says so again when it comes up.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from labkit.errors import LabError
from labkit.linux import links, nftables
from labkit.network import beside, flows, nat
from labkit.network.nat import Published
from labkit.network.steps import bridge
from labkit.network.steps.forwarding import EnableForwarding
from labkit.network.steps.step import NetworkStep, Somebody
from labkit.network.steps.table import MakeTable
from labkit.network.subnet import Subnet

_log = logging.getLogger(__name__)


class Fabric:
    """The networks of one engine, in the network namespace of the thread that calls."""

    def __init__(self, table: str = nat.TABLE) -> None:
        self.table = table
        self._networks: dict[str, Subnet] = {}
        self._published: dict[str, tuple[Published, ...]] = {}
        self._lock = threading.RLock()

    def steps(self, network: Subnet) -> tuple[NetworkStep, ...]:
        """The steps that bring a network up, for plans that shall show them."""
        forwarding = EnableForwarding(bool(network.subnet6))
        return (forwarding, _bridge(network), MakeTable((*self._others(network), network), self.table))

    def raise_up(self, network: Subnet) -> None:
        """See that a network's bridge is there, and the rules for it. Raises what keeps it from being so."""
        with self._lock:
            forwarding, *steps = self.steps(network)
            forwarding.apply(Somebody())  # also later on: somebody may have switched it off
            is_there = links.exists(network.bridge)
            if is_there and self._networks.get(network.bridge) == network:
                return
            try:
                for step in steps:
                    step.apply(Somebody())
            except BaseException:
                if not is_there:
                    links.delete(network.bridge)
                raise
            self._networks[network.bridge] = network
        beside.let_through(network.bridge)

    def lower(self, network: Subnet) -> None:
        """Take a bridge and its rules away, also one that an earlier process has raised; with the last one the table goes."""
        with self._lock:
            is_ours = bridge.is_ours(network.bridge)
            if self._networks.pop(network.bridge, None) is None and not is_ours:
                return
            beside.forget(network.bridge)
            if is_ours:
                links.delete(network.bridge)
            if self._networks:
                nftables.run(nat.table([*self._networks.values()], self.table))
            else:
                nat.remove(self.table)

    def close(self, idle: Sequence[Subnet]) -> None:
        """Take down the networks that nobody is in; the rest stays as it is."""
        for network in idle:
            try:
                self.lower(network)
            except LabError:
                _log.exception("network %s", network.bridge)

    def expect(self, name: str, ports: Sequence[Published]) -> None:
        """From now on the table holds the rules of these ports, or will in a moment."""
        with self._lock:
            self._published[name] = tuple(ports)

    def release(self, name: str) -> None:
        """These ports are no more; their rules have gone."""
        with self._lock:
            self._published.pop(name, None)

    def repair(self, ports: bool = False) -> bool:
        """Make the table anew, if it is there no more or not whole; whether that was so.

        A port whose rule is missing may be one whose step has not been applied yet; with ``ports`` it counts.
        """
        with self._lock:
            if not self._networks or nat.is_whole([*self._networks.values()], self._published if ports else {}, self.table):
                return False
            _log.warning("the rules of table %s were deleted by somebody else: made anew", self.table)
            self.renew()
            return True

    def renew(self) -> None:
        """Make the table anew, with all ports that are expected; and none else."""
        with self._lock:
            nftables.run(nat.whole([*self._networks.values()], self._published, self.table))
            flows.end(port for ports in self._published.values() for port in ports)

    def _others(self, network: Subnet) -> list[Subnet]:
        with self._lock:
            return [each for each in self._networks.values() if each.bridge != network.bridge]


def _bridge(network: Subnet) -> bridge.MakeBridge:
    return bridge.MakeBridge(network.bridge, network.gateway_with_prefix, network.mtu, network.gateway6_with_prefix)
