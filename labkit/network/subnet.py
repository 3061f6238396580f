"""A network as the kernel sees it: a bridge with an address, and the subnet that is reached through it.

>>> from labkit.network.subnet import Subnet
>>> blue = Subnet("labkit0", "172.17.0.0/16", "172.17.0.1")
>>> blue.gateway_with_prefix, mac("172.17.0.2")
('172.17.0.1/16', '02:42:ac:11:00:02')
"""

from __future__ import annotations

from hashlib import sha256
from ipaddress import IPv4Address, ip_network

from labkit.records import record


@record
class Subnet:
    """A bridge and the addresses behind it. ``internal``: no way out and none in. ``subnet6`` is "" without IPv6."""

    bridge: str
    subnet: str
    gateway: str
    internal: bool = False
    mtu: int = 1500
    subnet6: str = ""
    gateway6: str = ""
    masquerades: bool = True
    """Whether packets that leave the machine get the machine's own address as their source."""
    isolated: bool = False
    """Whether the containers in it may not reach each other."""

    @property
    def gateway_with_prefix(self) -> str:
        """The bridge's own address."""
        return with_prefix(self.gateway, self.subnet)

    @property
    def gateway6_with_prefix(self) -> str:
        """The bridge's own IPv6 address, or ""."""
        return with_prefix(self.gateway6, self.subnet6) if self.subnet6 else ""


def with_prefix(address: str, subnet: str) -> str:
    """An address as ``ip addr add`` wants it: ``172.17.0.2/16``."""
    return f"{address}/{ip_network(subnet).prefixlen}"


def mac(address: str) -> str:
    """The MAC address that Docker gives to whoever has this IPv4 address: one of those that anybody may give (02:…)."""
    return f"02:42:{IPv4Address(address).packed.hex(':')}"


def bridge_mac(bridge: str) -> str:
    """A MAC address for a bridge, always the same: neighbours remember it while ports come and go."""
    return f"02:42:{sha256(bridge.encode()).digest()[:4].hex(':')}"


def veth(container: str, network: str) -> str:
    """The name of the host's end of the cable between a container and a network; links have at most 15 bytes."""
    return f"lk{sha256(f'{container} {network}'.encode()).hexdigest()[:12]}"
