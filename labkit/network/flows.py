"""What a client that goes on sending notices of a port: UDP flows end when the port leads elsewhere.

    client ── udp ──▶ 192.0.2.2:53 ──▶ 172.17.0.2, which has ended       until the kernel forgets the flow (see labkit.linux.conntrack)
                                  └──▶ 172.17.0.3, the next container

    >>> flows.end([Published("udp", "0.0.0.0", 53, "172.17.0.3", 53)])

Called after the rules of a port were added, and after they were taken away: a flow that begins in between would stay as wrong as it
began. What cannot be done is left: then the client waits for half a minute of silence, as it would without labkit.

Source: moby's ``libnetwork/iptables/conntrack.go``. Shown in notebook 07-networks-and-ports.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Set
from ipaddress import ip_address
from typing import TYPE_CHECKING

from labkit.errors import LabError
from labkit.linux import addresses, conntrack

if TYPE_CHECKING:
    from labkit.network.nat import Published

_log = logging.getLogger(__name__)


def end(ports: Iterable[Published]) -> None:
    """Forget the UDP flows that came for these ports, wherever they go."""
    udp = [port for port in ports if port.protocol == "udp"]
    if not udp:
        return
    try:
        ours = addresses.local()
        for flow in conntrack.flows("udp"):
            if any(is_for(port, flow, ours) for port in udp):
                conntrack.forget(flow)
    except LabError as error:
        _log.warning("%s; clients of udp that go on sending wait until the kernel forgets them", error)


def is_for(port: Published, flow: conntrack.Flow, ours: Set[str]) -> bool:
    """Whether a flow came for a port of the machine, whose addresses are ``ours``, and not for the same number elsewhere."""
    wanted, found = ip_address(port.address), ip_address(flow.destination)
    if port.port != flow.to_port or wanted.version != found.version:
        return False
    return found.is_loopback or flow.destination in ours if wanted.is_unspecified else wanted == found
