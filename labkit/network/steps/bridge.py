"""The step that makes a network's bridge."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, ClassVar

from labkit.errors import Conflict, KernelError, NotFound
from labkit.linux import addresses, links, sysctls
from labkit.network.steps.step import NetworkStep
from labkit.network.subnet import bridge_mac
from labkit.records import record

if TYPE_CHECKING:
    from labkit.network.steps.step import Born


@record
class MakeBridge(NetworkStep):
    """A switch in the kernel, with an address of its own on it: the containers' gateway. ``Conflict`` if the name is another link's.

    One of ours is known by its MAC address. If it has another address, that is from another time, and is taken away.
    """

    man: ClassVar[str] = "ip-link(8)"
    name: str
    address: str
    mtu: int
    address6: str = ""

    def __str__(self) -> str:
        return f"bridge {self.name} with {' '.join(filter(None, (self.address, self.address6)))}, mtu {self.mtu}"

    @property
    def why(self) -> str:
        return "a bridge joins the containers like a switch, and its address is their way out: the gateway"

    def apply(self, context: Born) -> None:
        if links.exists(self.name):
            self._check()
            for address in addresses.of(self.name):
                if address not in (self.address, self.address6):
                    addresses.remove(self.name, address)
        else:
            try:
                links.add_bridge(self.name, self.mtu, bridge_mac(self.name))
            except KernelError as error:
                if error.errno != errno.EEXIST:  # somebody was quicker
                    raise
        if self.address6:
            sysctls.write(f"net/ipv6/conf/{self.name}/accept_dad", "0")  # its addresses are used at once
        links.set_up(self.name)
        for address in filter(None, (self.address, self.address6)):
            addresses.add(self.name, address)
        # Packets from 127.0.0.1 may leave by this link, once their address is translated: a published port answers there without a proxy.
        sysctls.write(f"net/ipv4/conf/{self.name}/route_localnet", "1")

    def _check(self) -> None:
        if not is_ours(self.name):
            kind = links.find(self.name).kind
            has = f" with {', '.join(found)}" if (found := addresses.of(self.name)) else ""
            what = f"a bridge{has}" if kind == "bridge" else f"a link of kind {kind or 'hardware'}"
            raise Conflict(
                f"bridge {self.name}: there is {what} of that name, which is not labkit's"
                f" (`ip link delete {self.name}` removes it, if nobody needs it)"
            )

    def shell(self) -> str:
        lines = [
            f"if ! ip link show {self.name} >/dev/null 2>&1; then",
            f"  MADE_{_word(self.name)}=1",
            f"  ip link add {self.name} address {bridge_mac(self.name)} mtu {self.mtu} type bridge",
            *(f"  ip addr add {address} broadcast + dev {self.name}" for address in (self.address,)),
            *(f"  ip addr add {address} dev {self.name} nodad" for address in filter(None, (self.address6,))),
            *(f"  echo 0 > /proc/sys/net/ipv6/conf/{self.name}/accept_dad" for _ in filter(None, (self.address6,))),
            f"  ip link set {self.name} up",
            "fi",
            f"echo 1 > /proc/sys/net/ipv4/conf/{self.name}/route_localnet",
        ]
        return "\n".join(lines)

    def shell_undo(self) -> str:
        return f'[ -z "${{MADE_{_word(self.name)}:-}}" ] || ip link delete {self.name}'


def is_ours(name: str) -> bool:
    """Whether there is a bridge of this name that this step has made, at any time."""
    if not links.exists(name):
        return False
    try:
        found = links.find(name)
    except NotFound:
        return False  # it has just been deleted
    return found.kind == "bridge" and found.address == bridge_mac(name)


def _word(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name)
