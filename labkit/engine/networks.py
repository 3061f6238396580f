"""The networks that containers can be in: the three that are always there, and those that users make.

    bridge   every container that says nothing else; no names, as in Docker          labkit0
    host     the machine's own links: no network namespace is made
    none     a network namespace with lo alone
    others   a bridge and a subnet of their own; containers find each other by name  lk-…

    >>> blue = engine.networks.create(Wanted(Name="blue"))
    >>> engine.networks.connect("blue", web)
    >>> engine.networks.inspected(blue)["Containers"]

Which containers are in them while they run is in ``endpoints``. Source: Docker Engine API v1.47, Network. Shown in notebook 07.
"""

from __future__ import annotations

import builtins
import logging
import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING

from labkit.engine import names, network_file, network_filters, times
from labkit.engine.config import EndpointSettings
from labkit.engine.endpoints import Endpoints
from labkit.engine.network_file import IPAM, IPAMConfig, Network, Wanted
from labkit.errors import Conflict, Denied, InvalidInput, LabError, NotFound
from labkit.network import pools, uplink
from labkit.network.fabric import Fabric
from labkit.network.leases import Leases
from labkit.network.ports import Ports

if TYPE_CHECKING:
    from labkit.engine.container import Container
    from labkit.engine.engine import Engine
    from labkit.network.subnet import Subnet

_log = logging.getLogger(__name__)
RUN = "/run/labkit"
_HOST_ALONE = "container cannot be disconnected from host network or connected to host network"


class Networks:
    """All networks of the engine."""

    def __init__(self, engine: Engine, bip: str = "") -> None:
        self.engine, self.bip = engine, bip
        self.directory = f"{engine.root}/networks"
        self._lock = threading.RLock()
        bridge, table = called(engine.run)
        self.fabric = Fabric(table)
        self.ports = Ports()
        self._all = {each.Id: each for each in network_file.predefined(bridge)}
        self._load()
        self.endpoints = Endpoints(self)
        # What the life of a container calls, with its lock held.
        self.join, self.leave, self.rejoin = self.endpoints.join, self.endpoints.leave, self.endpoints.rejoin
        self.attend, self.steps = self.endpoints.attend, self.endpoints.steps
        self.asked = self.endpoints.asked
        self.addresses, self.resolver = self.endpoints.addresses, self.endpoints.resolver

    def _load(self) -> None:
        for name in sorted(os.listdir(self.directory)) if os.path.isdir(self.directory) else ():
            if not os.path.exists(f"{self.directory}/{name}/{network_file.FILE}"):
                continue  # it was being made, or removed
            try:
                found = network_file.load(f"{self.directory}/{name}")
            except LabError:
                _log.exception("network %s: left alone", name)
                continue
            if found.Id in self._all:
                found = replace(found, Bridge=self._all[found.Id].Bridge)
            self._all[found.Id] = found

    # Finding

    def list(self, filters: Mapping[str, Sequence[str]] | None = None) -> tuple[Network, ...]:
        """All of them, or those that pass the filters."""
        with self._lock:
            found = tuple(self._all.values())
        return network_filters.passing(self, found, filters or {})

    def get(self, reference: str) -> Network:
        """By name, ID or the beginning of one. ``NotFound``."""
        with self._lock:
            found = [network for network in self._all.values() if reference in (network.Name, network.Id)]
            if not found and reference == "default":
                return self.get("bridge")
            begin = found or [network for network in self._all.values() if reference and network.Id.startswith(reference)]
        if len(begin) > 1:
            raise InvalidInput(f"network {reference} is ambiguous ({len(begin)} matches found based on ID prefix)")
        if not begin:
            raise NotFound(f"network {reference} not found")
        return begin[0]

    def of(self, container: Container) -> tuple[Network, ...]:
        """The networks that a container is in when it runs. ``NotFound`` if one of them is none."""
        record = container.record
        mode = record.HostConfig.NetworkMode
        if mode.startswith("container:"):
            return ()
        wanted = ["bridge" if mode in ("", "default") else mode, *record.NetworkingConfig.EndpointsConfig]
        found = {network.Id: network for network in map(self.get, wanted)}
        return tuple(network for network in found.values() if network.Id not in record.Left)

    def leases(self, network: Network) -> Leases:
        """Who has which address."""
        return Leases(f"{self.directory}/{network.Id}/leases")

    def subnet(self, network: Network) -> Subnet:
        """A network as the kernel has it; the subnet of ``bridge`` is chosen now, if it was not."""
        return self._settled(network).subnet(uplink.mtu())

    # Making and removing

    def create(self, wanted: Wanted) -> Network:
        """Make a network. Its bridge is made when the first container comes. ``Conflict`` for its name, ``Denied`` for its subnet."""
        network_file.check_name(wanted.Name)
        if wanted.Driver not in ("", "default", "bridge"):
            raise NotFound(f'plugin "{wanted.Driver}" not found')
        if wanted.Ingress or wanted.ConfigOnly or wanted.Scope not in ("", "local"):
            raise InvalidInput("labkit makes networks of one machine alone: leave out --ingress, --config-only and --scope")
        if wanted.Name in network_file.PREDEFINED:
            raise Denied(f"operation is not permitted on predefined {wanted.Name} network")
        with self._lock:
            if any(each.Name == wanted.Name for each in self._all.values()):
                raise Conflict(f"network with name {wanted.Name} already exists")
            self._settled(self.get("bridge"))  # it comes first, and has the first subnet
            id = names.new_id()
            made = Network(
                Name=wanted.Name,
                Id=id,
                Driver="bridge",
                Created=times.text(times.now()),
                EnableIPv6=bool(wanted.EnableIPv6),
                IPAM=self._addresses(wanted),
                Internal=wanted.Internal,
                Attachable=wanted.Attachable,
                Options=dict(wanted.Options),
                Labels=dict(wanted.Labels),
                Bridge=network_file.bridge_name(wanted.Options, id),
            )
            network_file.save(f"{self.directory}/{id}", made)
            self._all[id] = made
        self.tell("create", made)
        return made

    def remove(self, reference: str) -> Network:
        """Remove a network that no container is in. ``Denied`` in Docker's words if it cannot be."""
        with self._lock:
            network = self.get(reference)
            if network.is_predefined:
                raise Denied(f"{network.Name} is a pre-defined network and cannot be removed")
            if self.endpoints.of_network(network):
                raise Denied(f"error while removing network: network {network.Name} id {network.Id} has active endpoints")
            self.fabric.lower(network.subnet(0))
            shutil.rmtree(f"{self.directory}/{network.Id}", ignore_errors=True)
            del self._all[network.Id]
        self.tell("destroy", network)
        return network

    def prune(self, filters: Mapping[str, Sequence[str]] | None = None) -> tuple[str, ...]:
        """Remove the users' networks that no container is in; their names."""
        removed = []
        for network in network_filters.prunable(self.list(), filters or {}):
            if not self.endpoints.of_network(network):
                try:
                    removed.append(self.remove(network.Id).Name)
                except LabError:
                    continue  # somebody has just joined it
        return tuple(removed)

    # Who is in it

    def connect(self, reference: str, container: Container, wanted: EndpointSettings | None = None) -> None:
        """Put a container into one more network: at once if it runs, else when it is started."""
        network = self.get(reference)
        with container.lock:
            mode = container.record.HostConfig.NetworkMode
            if network.Name == "host" or mode == "host":
                raise Denied(_HOST_ALONE)
            if mode.startswith("container:"):
                raise Denied("container sharing network namespace with another container or host cannot be connected to any other network")
            if network.Name == "none" or mode == "none":
                raise Denied("container cannot be connected to multiple networks with one of the networks in private (none) mode")
            if network in self.of(container):
                raise Denied(f"endpoint with name {container.name} already exists in network {network.Name}")
            asked = wanted or EndpointSettings()
            if container.state.alive:
                self.endpoints.connect(container, network, asked)
            endpoints = {**container.record.NetworkingConfig.EndpointsConfig, network.Name: asked}
            left = tuple(each for each in container.record.Left if each != network.Id)
            container.save(NetworkingConfig=replace(container.record.NetworkingConfig, EndpointsConfig=endpoints), Left=left)

    def disconnect(self, reference: str, container: Container, force: bool = False) -> None:
        """Take a container out of a network, while it runs or not."""
        network = self.get(reference)
        with container.lock:
            if network.Name == "host" and container.record.HostConfig.NetworkMode == "host":
                raise Denied(_HOST_ALONE)
            if network not in self.of(container):
                raise Denied(f"container {container.id} is not connected to network {network.Name}")
            if container.state.alive:
                self.endpoints.disconnect(container, network)
            kept = container.record.NetworkingConfig.EndpointsConfig.items()
            endpoints = {name: asked for name, asked in kept if self.get(name) != network}
            networking = replace(container.record.NetworkingConfig, EndpointsConfig=endpoints)
            container.save(NetworkingConfig=networking, Left=(*container.record.Left, network.Id))

    def inspected(self, network: Network, verbose: bool = True) -> dict[str, object]:
        """All about it, as Docker's API tells it; without ``verbose`` not who is in it."""
        pool = [_shown(each) for each in network.IPAM.Config]
        return {
            "Name": network.Name,
            "Id": network.Id,
            "Created": network.Created or times.text(int(os.path.getmtime(self.engine.root) * times.SECOND)),
            "Scope": network.Scope,
            "Driver": network.Driver,
            "EnableIPv6": network.EnableIPv6,
            "IPAM": {"Driver": network.IPAM.Driver, "Options": dict(network.IPAM.Options) or None, "Config": pool},
            "Internal": network.Internal,
            "Attachable": network.Attachable,
            "Ingress": False,
            "ConfigFrom": {"Network": ""},
            "ConfigOnly": False,
            "Containers": self.endpoints.told(network) if verbose else {},
            "Options": {**network.Options, **({"com.docker.network.bridge.name": network.Bridge} if network.Name == "bridge" else {})},
            "Labels": dict(network.Labels),
        }

    def close(self) -> None:
        """Let go of what this process holds; what containers use stays for the next engine."""
        self.endpoints.close()
        bridges = [network for network in self.list() if network.Driver == "bridge" and network.pool.Subnet]
        self.fabric.close([network.subnet(0) for network in bridges if not self.endpoints.of_network(network)])
        self.ports.close()

    def tell(self, action: str, network: Network, container: Container | None = None) -> None:
        """Publish an event."""
        attributes = {"name": network.Name, "type": network.Driver}
        self.engine.events.publish("network", action, network.Id, attributes | ({"container": container.id} if container else {}))

    # Choosing addresses

    def _settled(self, network: Network) -> Network:
        """A network whose subnet is chosen: that of ``bridge`` is when it is first needed, and then it is written down."""
        with self._lock:
            network = self._all[network.Id]
            bip = ip_interface(self.bip) if self.bip and network.Name == "bridge" else None
            if network.Driver != "bridge" or (network.pool.Subnet and not bip):
                return network
            if bip:
                pool = IPAMConfig(str(bip.network), Gateway=str(bip.ip))
            else:
                pool = _pool(pools.choose(self._taken(), pools.reached()))
            if network.pool != pool:
                network = replace(network, IPAM=IPAM(Config=(pool,)), Created=network.Created or times.text(times.now()))
                network_file.save(f"{self.directory}/{network.Id}", network)
                self._all[network.Id] = network
            return network

    def _taken(self) -> builtins.list[str]:
        return [pool.Subnet for network in self._all.values() for pool in network.IPAM.Config if pool.Subnet]

    def _addresses(self, wanted: Wanted) -> IPAM:
        """The pools of a new network: what was asked for, and what was not."""
        ipam = wanted.IPAM or IPAM()
        if ipam.Driver not in ("", "default"):
            raise NotFound(f'plugin "{ipam.Driver}" not found')
        found: builtins.list[IPAMConfig] = []
        for pool in ipam.Config:
            if not pool.Subnet:
                continue
            try:
                pools.check(pool.Subnet, [*self._taken(), *(each.Subnet for each in found)])
            except Conflict as error:
                raise Denied(str(error)) from None
            found.append(_checked(pool))
        if not any(":" not in pool.Subnet for pool in found):
            found.insert(0, _pool(pools.choose(self._taken(), pools.reached())))
        if wanted.EnableIPv6 and not any(":" in pool.Subnet for pool in found):
            number = sha256(wanted.Name.encode() + self.engine.root.encode()).hexdigest()[:10]
            found.append(_pool(f"fd{number[:2]}:{number[2:6]}:{number[6:]}::/64"))
        if not wanted.EnableIPv6:
            found = [pool for pool in found if ":" not in pool.Subnet]
        return IPAM("default", dict(ipam.Options), tuple(found))


def called(run: str) -> tuple[str, str]:
    """The default bridge and the firewall's table of the engine with this run directory: a second one on the machine has its own."""
    mark = sha256(run.encode()).hexdigest()[:8]
    return ("labkit0", "labkit") if run == RUN else (f"lk0-{mark}", f"labkit_{mark}")


def _pool(subnet: str) -> IPAMConfig:
    """A subnet, with its first address for the bridge."""
    return IPAMConfig(subnet, Gateway=str(next(ip_network(subnet).hosts())))


def _checked(pool: IPAMConfig) -> IPAMConfig:
    """A pool that a user has given, with a gateway. ``InvalidInput`` in Docker's words."""
    subnet = pools.subnet(pool.Subnet)
    if subnet.num_addresses < 4:
        raise InvalidInput(f"invalid subnet {pool.Subnet}: it has no room for a bridge and a container")
    for what, text in (("gateway", pool.Gateway), *(("auxiliary address", each) for each in pool.AuxiliaryAddresses.values())):
        try:
            fits = not text or ip_address(text.partition("/")[0]) in subnet
        except ValueError:
            fits = False
        if not fits:
            raise InvalidInput(f"invalid {what} {text}: it is not in the subnet {subnet}")
    if pool.IPRange:
        within = pools.subnet(pool.IPRange)
        if within.version != subnet.version or not within.subnet_of(subnet):  # type: ignore[arg-type]  # of one version
            raise InvalidInput(f"invalid ip-range {pool.IPRange}: it is not in the subnet {subnet}")
    return replace(pool, Gateway=pool.Gateway.partition("/")[0] or str(next(subnet.hosts())))


def _shown(pool: IPAMConfig) -> dict[str, object]:
    shown = {"Subnet": pool.Subnet, "IPRange": pool.IPRange, "Gateway": pool.Gateway, "AuxiliaryAddresses": dict(pool.AuxiliaryAddresses)}
    return {name: value for name, value in shown.items() if value}
