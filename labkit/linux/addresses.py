"""Addresses of links, and routes: in the network namespace of the calling thread.

    >>> from labkit.linux import addresses
    >>> addresses.add("eth0", "172.17.0.2/16")
    >>> addresses.route("default", "172.17.0.1")
    >>> addresses.of("eth0")
    ('172.17.0.2/16',)
    >>> addresses.routes()
    (Route(destination='0.0.0.0/0', gateway='172.17.0.1', link=2), Route(destination='172.17.0.0/16', gateway='', link=2))

Both in IPv4 and in IPv6. What is there already is fine, and so is removing what is gone.
Source: ``man 8 ip-address``, ``man 8 ip-route``, ``man 7 rtnetlink``. Shown in notebook 07-networks-and-ports.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface, ip_network

from labkit.errors import KernelError
from labkit.linux import links, netlink
from labkit.records import record

_NO_DAD = 0x02  # an IPv6 address is used at once, without asking the others first
_MAIN, _STATIC, _UNIVERSE, _UNICAST = 254, 4, 0, 1


@record
class Route:
    """A route: where packets for ``destination`` go; through ``gateway``, or to the hosts on the link itself."""

    destination: str
    gateway: str
    link: int


def add(link: str, address: str) -> None:
    """Give a link an address with its prefix, such as ``172.17.0.2/16``."""
    wanted = ip_interface(address)
    try:
        netlink.ask(netlink.RTM_NEWADDR, netlink.CREATE | netlink.EXCLUSIVE, _body(link, wanted), "add address", f"{address} to {link}")
    except KernelError as error:
        if error.errno != errno.EEXIST:
            raise


def remove(link: str, address: str) -> None:
    """Take an address from a link."""
    try:
        netlink.ask(netlink.RTM_DELADDR, 0, _body(link, ip_interface(address)), "remove address", f"{address} from {link}")
    except KernelError as error:
        if error.errno != errno.EADDRNOTAVAIL:
            raise


def of(link: str) -> tuple[str, ...]:
    """The addresses of a link, with their prefixes; those that IPv6 gives itself (fe80::) are left out."""
    index = links.index(link)
    return tuple(str(each) for of_link, each in _all() if of_link == index and not each.is_link_local)


def all() -> dict[int, tuple[str, ...]]:
    """The same of every link, by its number."""
    found: dict[int, tuple[str, ...]] = {}
    for link, each in _all():
        if not each.is_link_local:
            found[link] = (*found.get(link, ()), str(each))
    return found


def local() -> frozenset[str]:
    """The addresses of all links, without prefixes: what is sent to one of them stays here."""
    return frozenset(str(each.ip) for _, each in _all())


def _all() -> Iterator[tuple[int, IPv4Interface | IPv6Interface]]:
    for answer in netlink.ask(netlink.RTM_GETADDR, netlink.DUMP, struct.pack("=BBBBI", 0, 0, 0, 0, 0), "list addresses"):
        _, prefix, _, _, of_link = struct.unpack_from("=BBBBI", answer)
        given = netlink.attributes(answer[8:])
        if packed := given.get(netlink.IFA_LOCAL) or given.get(netlink.IFA_ADDRESS):
            yield of_link, ip_interface((packed, prefix))


def route(destination: str, gateway: str, replace: bool = False) -> None:
    """Send packets for ``destination``, a subnet or ``default``, through a gateway that is on one of our links."""
    flags = netlink.CREATE | (netlink.REPLACE if replace else netlink.EXCLUSIVE)
    try:
        netlink.ask(netlink.RTM_NEWROUTE, flags, _route(destination, gateway), "add route", f"{destination} via {gateway}")
    except KernelError as error:
        if error.errno != errno.EEXIST:
            raise


def unroute(destination: str, gateway: str) -> None:
    """Take a route away."""
    try:
        netlink.ask(netlink.RTM_DELROUTE, 0, _route(destination, gateway), "remove route", f"{destination} via {gateway}")
    except KernelError as error:
        if error.errno != errno.ESRCH:
            raise


def routes() -> tuple[Route, ...]:
    """The routes of the main table, as ``ip route`` lists them; of IPv4."""
    found = []
    body = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
    for answer in netlink.ask(netlink.RTM_GETROUTE, netlink.DUMP, body, "list routes"):
        _, prefix, _, _, table, _, _, kind, _ = struct.unpack_from("=BBBBBBBBI", answer)
        given = netlink.attributes(answer[12:])
        if table == _MAIN and kind == _UNICAST:
            target = ip_address(given.get(netlink.RTA_DST, bytes(4)))
            gateway = given.get(netlink.RTA_GATEWAY)
            link = struct.unpack("=I", given.get(netlink.RTA_OIF, bytes(4)))[0]
            found.append(Route(f"{target}/{prefix}", str(ip_address(gateway)) if gateway else "", link))
    return tuple(found)


def _body(link: str, wanted: IPv4Interface | IPv6Interface) -> bytes:
    is_old = wanted.version == 4
    family = socket.AF_INET if is_old else socket.AF_INET6
    given = [netlink.attribute(netlink.IFA_LOCAL, wanted.packed), netlink.attribute(netlink.IFA_ADDRESS, wanted.packed)]
    if is_old and wanted.network.prefixlen < 31:
        given.append(netlink.attribute(netlink.IFA_BROADCAST, wanted.network.broadcast_address.packed))
    header = struct.pack("=BBBBI", family, wanted.network.prefixlen, 0 if is_old else _NO_DAD, _UNIVERSE, links.index(link))
    return header + b"".join(given)


def _route(destination: str, gateway: str) -> bytes:
    through = ip_address(gateway)
    family = socket.AF_INET if through.version == 4 else socket.AF_INET6
    target = None if destination == "default" else ip_network(destination)
    given = netlink.attribute(netlink.RTA_GATEWAY, through.packed)
    if target:
        given += netlink.attribute(netlink.RTA_DST, target.network_address.packed)
    return struct.pack("=BBBBBBBBI", family, target.prefixlen if target else 0, 0, 0, _MAIN, _STATIC, _UNIVERSE, _UNICAST, 0) + given
