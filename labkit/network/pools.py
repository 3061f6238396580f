"""Which subnets are free: neither another network's nor anything that the machine reaches already.

    >>> from labkit.network import pools
    >>> pools.choose(taken=["172.17.0.0/16"], routes=["192.168.0.0/24"])
    '172.18.0.0/16'

The order is Docker's: 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/20 and on. A subnet that a user asks for may overlap with
what the machine reaches, as in Docker, but not with another network of containers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network

from labkit.errors import Conflict, InvalidInput
from labkit.linux import addresses

Network = IPv4Network | IPv6Network

DEFAULT = (*(f"172.{number}.0.0/16" for number in range(17, 32)), *(f"192.168.{number}.0/20" for number in range(0, 256, 16)))


def subnet(text: str) -> Network:
    """A subnet as a user writes it. ``InvalidInput`` in Docker's words."""
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        wider = ip_network(text, strict=False)
    except ValueError:
        raise InvalidInput(f"invalid subnet {text}: invalid CIDR block notation") from None
    raise InvalidInput(f"invalid subnet {text}: it should be {wider}")


def reached() -> tuple[str, ...]:
    """The subnets that the machine reaches by a route of its own, but for the default route."""
    return tuple(route.destination for route in addresses.routes() if not route.destination.endswith("/0"))


def choose(taken: Iterable[str], routes: Iterable[str] = (), pools: Iterable[str] = DEFAULT, first: str = "") -> str:
    """The first pool that overlaps with nothing; ``first`` is tried before the others. ``Conflict`` if none is left."""
    busy = [ip_network(each, strict=False) for each in (*taken, *routes)]
    for candidate in (*filter(None, (first,)), *pools):
        if not any(_overlap(ip_network(candidate), each) for each in busy):
            return candidate
    raise Conflict(
        "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network"
        " (give one yourself: `docker network create --subnet 10.77.0.0/24 NAME`; `docker network prune` removes unused networks)"
    )


def check(wanted: str, taken: Iterable[str]) -> None:
    """``Conflict`` in Docker's words if a network has a part of the subnet already."""
    network = subnet(wanted)
    if any(_overlap(network, ip_network(each)) for each in taken):
        raise Conflict("Pool overlaps with other one on this address space")


def split(network: str, size: int) -> Iterator[str]:
    """The parts of a pool, each with a prefix of ``size`` bits."""
    return map(str, ip_network(network).subnets(new_prefix=size))


def _overlap(a: Network, b: Network) -> bool:
    return a.version == b.version and a.overlaps(b)
