"""The link that leads out of the machine, which says how long packets may be.

>>> from labkit.network import uplink
>>> uplink.name(), uplink.mtu()
('eth0', 1500)
"""

from __future__ import annotations

import socket

from labkit.linux import addresses, links

USUAL = 1500
"""Bytes, of Ethernet."""


def name() -> str:
    """The link of the default route; "" if there is none."""
    number = next((route.link for route in addresses.routes() if route.destination == "0.0.0.0/0"), 0)
    try:
        return socket.if_indextoname(number) if number else ""
    except OSError:  # it has just been taken away
        return ""


def mtu() -> int:
    """How many bytes a packet may have that leaves the machine; the usual number if no route leads out."""
    link = name()
    return links.find(link).mtu if link else USUAL
