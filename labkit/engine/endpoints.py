"""Containers in networks: who has which address and which ports, from a container's start to its end.

    start    join     addresses are leased, ports are held; they stand in the record
             steps    VethPair, Address, Route, PublishPorts: part of the container's plan, done by its builder, journaled by the runtime
             attend   names are answered in its network namespace, before the program begins
    end      (runtime) the journal is undone: cable and rules are gone
             leave    leases and ports are given back
    a new engine      rejoin: what runs keeps what it has; leases of those that do not run are given back

``connect`` and ``disconnect`` do to a running container what its plan would have done. Called with the container's lock held.
Source: moby's ``daemon/container_operations.go``. Shown in notebook 07-networks-and-ports.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING

from labkit.engine import etc_files, names, publishing
from labkit.engine.config import EndpointIPAMConfig, EndpointSettings
from labkit.errors import InvalidInput, LabError, NotFound
from labkit.linux import links, namespaces
from labkit.network import subnet as subnets
from labkit.network.nat import Published
from labkit.network.resolver import ADDRESS, Resolver
from labkit.network.steps.address import Address, Route
from labkit.network.steps.publish import PublishPorts
from labkit.network.steps.step import NetworkStep, Somebody
from labkit.network.steps.veth import VethPair
from labkit.network.watch import Watch

if TYPE_CHECKING:
    from labkit.engine.container import Container
    from labkit.engine.network_file import Network
    from labkit.engine.networks import Networks

_log = logging.getLogger(__name__)


class Unconnected(LabError):
    """A container could not be connected; in Docker's words, and no fault of the one who asked."""


class Endpoints:
    """Which containers are in which networks now."""

    def __init__(self, networks: Networks) -> None:
        self.networks = networks
        self._in: dict[str, dict[str, Container]] = {}  # by network, by container
        self._joined: set[str] = set()  # containers whose leases are not to be given back
        self._lock = threading.RLock()
        self._watch: Watch | None = None
        self._resolver: Resolver | None = None
        self._is_settled = False

    # At the start of a container

    def join(self, container: Container) -> None:
        """Before it is born: see that its networks exist, take addresses and ports, tell. ``leave`` takes it back."""
        self.settle()
        found: dict[str, EndpointSettings] = {}
        published: tuple[Published, ...] = ()
        networks = self.networks.of(container)
        try:
            for network in networks:
                self._joined.add(container.id)
                found[network.Name] = self._take(container, network, self.asked(container, network), is_first=not found)
            published = self._publish(container, found)
            container.save(Endpoints=found, Ports=publishing.told(published))
        except BaseException:
            self._give_back(container, networks, found, published)
            raise
        with self._lock:
            for network in networks:
                self._in.setdefault(network.Id, {})[container.id] = container
        for network in networks:
            self.networks.tell("connect", network, container)

    def _take(self, container: Container, network: Network, asked: EndpointSettings, is_first: bool = False) -> EndpointSettings:
        """Bring the network up, if it is not, and lease addresses in it."""
        endpoint = replace(asked, NetworkID=network.Id, EndpointID=names.new_id())
        if network.Driver != "bridge":
            return endpoint
        subnet = self.networks.subnet(network)
        network = self.networks.get(network.Id)
        ipam = asked.IPAMConfig or EndpointIPAMConfig()
        if network.is_predefined and (ipam.IPv4Address or ipam.IPv6Address):
            raise InvalidInput("user specified IP address is supported on user defined networks only")
        if network.is_predefined and asked.Aliases:
            raise InvalidInput("network-scoped alias is supported only for containers in user defined networks")
        self.networks.fabric.raise_up(subnet)
        self._begin_watching()
        leases, pool, pool6 = self.networks.leases(network), network.pool, network.pool6
        reserved = (pool.Gateway, *pool.AuxiliaryAddresses.values())
        address = leases.take(pool.Subnet, container.id, ipam.IPv4Address, reserved, pool.IPRange)
        try:
            address6 = leases.take(pool6.Subnet, container.id, ipam.IPv6Address, (pool6.Gateway,), pool6.IPRange) if pool6.Subnet else ""
        except BaseException:
            leases.give_back(address, container.id)
            raise
        return replace(
            endpoint,
            Gateway="" if network.Internal else pool.Gateway,
            IPAddress=address,
            IPPrefixLen=ip_network(pool.Subnet).prefixlen,
            IPv6Gateway=pool6.Gateway,
            GlobalIPv6Address=address6,
            GlobalIPv6PrefixLen=ip_network(pool6.Subnet).prefixlen if pool6.Subnet else 0,
            MacAddress=asked.MacAddress or (container.record.Config.MacAddress if is_first else "") or subnets.mac(address),
            DNSNames=_names(container, asked) if network.has_names else (),
        )

    def _publish(self, container: Container, found: dict[str, EndpointSettings]) -> tuple[Published, ...]:
        """Hold its ports, which lead to its first address that the outside can reach."""
        endpoint = next((each for each in found.values() if each.Gateway), None)
        if endpoint is None:
            return ()
        try:
            published = publishing.take(
                publishing.wanted(container.record.Config, container.record.HostConfig), endpoint, self.networks.ports
            )
        except InvalidInput:
            raise
        except LabError as error:
            what = f"endpoint {container.name} ({endpoint.EndpointID})"
            raise Unconnected(f"driver failed programming external connectivity on {what}: {error}") from None
        self.networks.fabric.expect(container.short_id, published)
        return published

    def steps(self, container: Container, whole: bool = False) -> tuple[NetworkStep, ...]:
        """The steps that connect it; with ``whole`` also those that its networks need, which are up already when it is started."""
        found: list[NetworkStep] = []
        for network in self.networks.of(container) if whole else ():
            if network.Driver == "bridge":
                found += self.networks.fabric.steps(self.networks.subnet(network))
        for number, (network, endpoint) in enumerate(self._connected(container)):
            found += self._cable(container, network, endpoint, f"eth{number}")
        found += self._ways_out(container)
        if published := self._published(container):
            found.append(PublishPorts(container.short_id, published, self.networks.fabric.table))
        return tuple(found)

    def _published(self, container: Container) -> tuple[Published, ...]:
        """Its ports, as ``_publish`` has found them."""
        endpoint = next((each for each in container.record.Endpoints.values() if each.Gateway), None)
        return publishing.again(container.record.Ports, endpoint) if endpoint else ()

    def _cable(self, container: Container, network: Network, endpoint: EndpointSettings, link: str) -> Iterator[NetworkStep]:
        subnet = self.networks.subnet(network)
        cable = subnets.veth(container.id, network.Id)
        address6 = subnets.with_prefix(endpoint.GlobalIPv6Address, subnet.subnet6) if endpoint.GlobalIPv6Address else ""
        yield VethPair(cable, link, subnet.bridge, endpoint.MacAddress, subnet.mtu)
        yield Address(link, subnets.with_prefix(endpoint.IPAddress, subnet.subnet), address6)

    def _ways_out(self, container: Container) -> Iterator[NetworkStep]:
        """Its default routes, by way of the first network that has any."""
        ways = [endpoint for _, endpoint in self._connected(container) if endpoint.Gateway]
        if ways:
            yield Route(ways[0].Gateway)
        ways6 = [endpoint for endpoint in ways if endpoint.IPv6Gateway]
        if ways6:
            yield Route(ways6[0].IPv6Gateway)

    def _connected(self, container: Container) -> list[tuple[Network, EndpointSettings]]:
        """Its endpoints that have an address."""
        endpoints = container.record.Endpoints.values()
        return [(self.networks.get(each.NetworkID), each) for each in endpoints if each.IPAddress]

    def attend(self, container: Container) -> None:
        """It is born, and its program has not begun: answer its questions for names, if it is in a network that has any."""
        if any(network.has_names for network, _ in self._connected(container)):
            with self._lock:
                if self._resolver is None:
                    self._resolver = Resolver(self._look_up)
            try:
                is_internal = not any(endpoint.Gateway for _, endpoint in self._connected(container))
                self._resolver.attend(container.id, container.state.Init.Pid, container.record.HostConfig.Dns, is_internal)
            except (LabError, OSError):
                _log.exception("container %s: names are not answered", container.short_id)

    def resolver(self, container: Container) -> str:
        """The nameserver of its /etc/resolv.conf: 127.0.0.11 where containers have names, "" for the machine's own."""
        return ADDRESS if any(network.has_names for network, _ in self._connected(container)) else ""

    # At its end

    def leave(self, container: Container) -> None:
        """It has ended, or was not born: give back what ``join`` took. What its plan has done is undone already."""
        networks = []
        for endpoint in container.record.Endpoints.values():
            with suppress(NotFound):
                networks.append(self.networks.get(endpoint.NetworkID))
        self._give_back(container, networks, container.record.Endpoints, self._published(container))
        container.note(Endpoints={}, Ports={})
        for network in networks:
            self.networks.tell("disconnect", network, container)

    def _give_back(
        self,
        container: Container,
        networks: Sequence[Network],
        found: Mapping[str, EndpointSettings],
        published: tuple[Published, ...],
    ) -> None:
        if self._resolver:
            self._resolver.forget(container.id)
        for network in networks:
            endpoint = found.get(network.Name)
            if endpoint:
                self._release(container, network, endpoint)
        publishing.release(published, self.networks.ports)
        self.networks.fabric.release(container.short_id)
        self._joined.discard(container.id)

    def _release(self, container: Container, network: Network, endpoint: EndpointSettings) -> None:
        with self._lock:
            self._in.get(network.Id, {}).pop(container.id, None)
        for address in filter(None, (endpoint.IPAddress, endpoint.GlobalIPv6Address)):
            self.networks.leases(network).give_back(address, container.id)

    # While it runs

    def connect(self, container: Container, network: Network, asked: EndpointSettings) -> None:
        """Lay one more cable to it."""
        endpoint = self._take(container, network, asked)
        pid = container.state.Init.Pid
        try:
            with namespaces.entered(pid, "net"):
                link = next(name for name in map("eth{}".format, range(1000)) if not links.exists(name))
            cable, address = self._cable(container, network, endpoint, link)
            cable.apply(Somebody(pid))
            container.save(Endpoints={**container.record.Endpoints, network.Name: endpoint})
            with namespaces.entered(pid, "net"):
                address.apply(Somebody(pid))
                for way in self._ways_out(container):
                    way.apply(Somebody(pid))
        except BaseException:
            links.delete(subnets.veth(container.id, network.Id))
            self._release(container, network, endpoint)
            raise
        with self._lock:
            self._in.setdefault(network.Id, {})[container.id] = container
        self.attend(container)
        self._renew_files(container)
        self.networks.tell("connect", network, container)

    def disconnect(self, container: Container, network: Network) -> None:
        """Take a cable away."""
        endpoint = container.record.Endpoints.get(network.Name)
        links.delete(subnets.veth(container.id, network.Id))
        container.save(Endpoints={name: each for name, each in container.record.Endpoints.items() if name != network.Name})
        if endpoint:
            self._release(container, network, endpoint)
        with namespaces.entered(container.state.Init.Pid, "net"):
            for way in self._ways_out(container):  # another network's, if the way out led through this one
                way.apply(Somebody())
        self._renew_files(container)
        self.networks.tell("disconnect", network, container)

    def _renew_files(self, container: Container) -> None:
        """Its /etc/hosts and, if it has come into the first network with names, its /etc/resolv.conf."""
        etc_files.write_hosts(container.directory, container.record.HostConfig, self.addresses(container))
        if self.resolver(container):
            etc_files.write_resolver(container.directory, container.record.HostConfig, self.resolver(container))

    # For the rest of the engine

    def of_network(self, network: Network) -> dict[str, EndpointSettings]:
        """The endpoints in a network, by the ID of their container."""
        with self._lock:
            members = dict(self._in.get(network.Id, {}))
        return {id: each.record.Endpoints[network.Name] for id, each in members.items() if network.Name in each.record.Endpoints}

    def told(self, network: Network) -> dict[str, object]:
        """``Containers`` of ``docker network inspect``."""
        with self._lock:
            members = dict(self._in.get(network.Id, {}))
        found: dict[str, object] = {}
        for id, endpoint in self.of_network(network).items():
            found[id] = {
                "Name": members[id].name,
                "EndpointID": endpoint.EndpointID,
                "MacAddress": endpoint.MacAddress,
                "IPv4Address": f"{endpoint.IPAddress}/{endpoint.IPPrefixLen}" if endpoint.IPAddress else "",
                "IPv6Address": f"{endpoint.GlobalIPv6Address}/{endpoint.GlobalIPv6PrefixLen}" if endpoint.GlobalIPv6Address else "",
            }
        return found

    def asked(self, container: Container, network: Network) -> EndpointSettings:
        """What its user wants it to be in a network."""
        wanted = container.record.NetworkingConfig.EndpointsConfig.items()
        return next((each for name, each in wanted if each and self._is(network, name)), EndpointSettings())

    def _is(self, network: Network, name: str) -> bool:
        try:
            return self.networks.get(name).Id == network.Id
        except NotFound:
            return False

    def addresses(self, container: Container) -> tuple[tuple[str, str], ...]:
        """Lines of its /etc/hosts: an address and the names for it."""
        config = container.record.Config
        host = config.Hostname or container.short_id
        own = f"{host}.{config.Domainname} {host}" if config.Domainname else host
        found = []
        for _, endpoint in self._connected(container):
            found += [(address, own) for address in (endpoint.IPAddress, endpoint.GlobalIPv6Address) if address]
        return (*found, *self._linked(container))

    def _linked(self, container: Container) -> Iterator[tuple[str, str]]:
        """What ``--link name:alias`` gives on the default bridge, where there are no other names."""
        for link in container.record.HostConfig.Links:
            name, _, alias = link.partition(":")
            try:
                other = self.networks.engine.containers.get(name)
            except NotFound as error:
                raise InvalidInput(f"could not get container for {name}: {error}") from None
            endpoint = other.record.Endpoints.get("bridge")
            if endpoint and endpoint.IPAddress:
                known = dict.fromkeys((alias.rpartition("/")[2] or other.name, other.short_id, other.name))
                yield endpoint.IPAddress, " ".join(known)

    def _look_up(self, asker: str, name: str) -> tuple[str, ...] | None:
        """The addresses that a container knows by a name: those of the others in its networks. None if it is nobody's."""
        wanted = name.rstrip(".").lower()
        found: list[str] = []
        is_known = False
        with self._lock:
            groups = [dict(members) for members in self._in.values() if asker in members]
        for members in groups:
            for other in members.values():
                for _, endpoint in self._shared(other, members[asker]):
                    if wanted in map(str.lower, _names(other, endpoint)):
                        is_known = True
                        found += [each for each in (endpoint.IPAddress, endpoint.GlobalIPv6Address) if each and each not in found]
        return tuple(found) if is_known else None

    def _shared(self, other: Container, asker: Container) -> list[tuple[str, EndpointSettings]]:
        mine = {endpoint.NetworkID for endpoint in asker.record.Endpoints.values()}
        theirs = other.record.Endpoints.items()
        return [(name, each) for name, each in theirs if each.NetworkID in mine and self.networks.get(each.NetworkID).has_names]

    # A new engine

    def expect(self, containers: Sequence[Container]) -> None:
        """Before any of them is taken up: the rules of those that may run still are theirs, whoever renews the table meanwhile."""
        for container in containers:
            if container.state.alive and (published := self._published(container)):
                self.networks.fabric.expect(container.short_id, published)

    def rejoin(self, container: Container) -> None:
        """The engine has come up, and it runs still: what it has is its own."""
        self._joined.add(container.id)
        for network, _ in self._connected(container):
            self.networks.fabric.raise_up(self.networks.subnet(network))
            self._begin_watching()
        with self._lock:
            for endpoint in container.record.Endpoints.values():
                self._in.setdefault(endpoint.NetworkID, {})[container.id] = container
        for port in self._published(container):
            try:
                self.networks.ports.keep(port.protocol, port.address, port.port)
            except LabError as error:
                _log.warning("container %s: %s; its rule stands", container.short_id, error)
        self.attend(container)

    def settle(self) -> None:
        """Once in the life of an engine, when all are taken up or one is to start: give back leases of those that do not run, and
        see that all rules are there."""
        with self._lock:
            if self._is_settled:
                return
            self._is_settled = True
        alive = {each.id for each in self.networks.engine.containers.list(all=True) if each.state.alive}
        for network in self.networks.list():
            if network.Driver == "bridge":
                self.networks.leases(network).sweep(lambda owner: owner in alive or owner in self._joined)
        self.networks.fabric.repair(ports=True)

    def close(self) -> None:
        """Answer nobody any more."""
        if self._watch:
            self._watch.close()
        if self._resolver:
            self._resolver.close()

    def _begin_watching(self) -> None:
        with self._lock:
            if self._watch is None:
                self._watch = Watch(self.networks.fabric.repair)


def _names(container: Container, endpoint: EndpointSettings) -> tuple[str, ...]:
    """The names by which others in a network find a container."""
    hostname = container.record.Config.Hostname
    return tuple(dict.fromkeys(filter(None, (container.name, *endpoint.Aliases, container.short_id, hostname))))
