"""The steps inside the container: its address, and the way out."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, Literal

from labkit.errors import Unsupported
from labkit.linux import addresses, links, sysctls
from labkit.network.steps.step import NetworkStep
from labkit.records import record

if TYPE_CHECKING:
    from labkit.network.steps.step import Born


@record
class Address(NetworkStep):
    """Addresses of the container's end of the cable, which is switched on. Without ``address6`` the link has no IPv6 at all."""

    side: ClassVar[Literal["host", "container"]] = "container"
    man: ClassVar[str] = "ip-address(8)"
    link: str
    address: str
    address6: str = ""

    def __str__(self) -> str:
        return f"ip addr add {self.address} dev {self.link}" + (f", {self.address6}" if self.address6 else "")

    @property
    def why(self) -> str:
        return "the address was leased for this container; whoever is on the bridge reaches it there, without a router"

    def apply(self, context: Born) -> None:
        if not self.address6:
            with suppress(Unsupported):  # a kernel without IPv6 has nothing to be switched off
                sysctls.write(f"net/ipv6/conf/{self.link}/disable_ipv6", "1")
        else:
            sysctls.write(f"net/ipv6/conf/{self.link}/accept_dad", "0")  # no second of asking whether somebody has its addresses
        for address in filter(None, (self.address, self.address6)):
            addresses.add(self.link, address)
        links.set_up(self.link)

    def shell(self) -> str:
        lines = [f"ip addr add {self.address} broadcast + dev {self.link}"]
        if self.address6:
            lines.insert(0, f"echo 0 > /proc/sys/net/ipv6/conf/{self.link}/accept_dad")
            lines.append(f"ip addr add {self.address6} dev {self.link} nodad")
        else:
            lines.insert(0, f"[ ! -e /proc/sys/net/ipv6 ] || echo 1 > /proc/sys/net/ipv6/conf/{self.link}/disable_ipv6")
        return "\n".join((*lines, f"ip link set {self.link} up"))


@record
class Route(NetworkStep):
    """The default route: what is on no link of the container's goes to the bridge."""

    side: ClassVar[Literal["host", "container"]] = "container"
    man: ClassVar[str] = "ip-route(8)"
    gateway: str

    def __str__(self) -> str:
        return f"ip route add default via {self.gateway}"

    @property
    def why(self) -> str:
        return "everything that is not on its own link the container gives to the bridge's address, and the machine passes it on"

    def apply(self, context: Born) -> None:
        addresses.route("default", self.gateway)

    def shell(self) -> str:
        return f"ip {'-6 ' if ':' in self.gateway else ''}route add default via {self.gateway}"
