"""Connection tracking: the kernel's notes of who talks with whom, and what it makes of their addresses.

    >>> from labkit.linux import conntrack
    >>> conntrack.flows("udp")
    (Flow(source='192.0.2.1', port=5000, destination='192.0.2.2', to_port=53, answered_by='172.17.0.2', answered_at=53), …)
    >>> conntrack.forget(_[0])

Rules of nat are asked for the first packet of a flow only; the others go where the first one went. By TCP a new connection is a new flow.
By UDP there are no connections: a client that goes on sending keeps its flow alive, also when the rule behind it has changed, until
somebody makes the kernel forget.

Source: linux/netfilter/nfnetlink_conntrack.h; ``man 8 conntrack``, which is not needed. Shown in notebook 07-networks-and-ports.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address

from labkit.errors import KernelError
from labkit.linux import netlink
from labkit.records import record

_NETFILTER = 12
_GET, _DELETE = 0x101, 0x102  # NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_…
_ORIGINAL, _REPLY, _ZONE, _ID = 1, 2, 18, 12
_IP, _PROTO = 1, 2
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
_NESTED = 0x8000
_PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}


@record
class Flow:
    """Packets of one sender to one destination, as they came, and who answers them: the same, or whoever a rule has put there."""

    source: str
    port: int
    destination: str
    to_port: int
    answered_by: str
    answered_at: int
    key: bytes
    """What the kernel knows it by."""


def flows(protocol: str) -> tuple[Flow, ...]:
    """All of a protocol, of both families; in the network namespace of the calling thread. ``KernelError`` if the kernel cannot tell."""
    found: list[Flow] = []
    for family in (socket.AF_INET, socket.AF_INET6):
        found += _flows(_PROTOCOLS[protocol], family)
    return tuple(found)


def _flows(number: int, family: int) -> Iterator[Flow]:
    head = struct.pack("=BBH", family, 0, 0)
    for answer in netlink.ask(_GET, netlink.DUMP, head, "list flows", protocol=_NETFILTER):
        given = netlink.attributes(answer[len(head) :])
        if answer[0] != family or _ORIGINAL not in given or _REPLY not in given:
            continue
        proto = netlink.attributes(netlink.attributes(given[_ORIGINAL]).get(_PROTO, b""))
        if proto.get(_NUMBER, b"\0")[0] != number:
            continue
        source, port, destination, to_port = _ends(given[_ORIGINAL])
        answered_by, answered_at, _, _ = _ends(given[_REPLY])
        key = netlink.attribute(_ORIGINAL | _NESTED, given[_ORIGINAL])
        key += b"".join(netlink.attribute(kind, given[kind]) for kind in (_ZONE, _ID) if kind in given)
        yield Flow(source, port, destination, to_port, answered_by, answered_at, head + key)


def _ends(flow: bytes) -> tuple[str, int, str, int]:
    """Addresses and ports of both ends."""
    parts = netlink.attributes(flow)
    source, destination = (str(ip_address(packed)) for _, packed in sorted(netlink.attributes(parts[_IP]).items()))
    ports = netlink.attributes(parts[_PROTO])
    port, to_port = (struct.unpack("!H", ports.get(kind, b"\0\0"))[0] for kind in (_SOURCE_PORT, _DESTINATION_PORT))
    return source, port, destination, to_port


def forget(flow: Flow) -> None:
    """Let its next packet be the first of a new one. What has ended is fine."""
    try:
        netlink.ask(_DELETE, 0, flow.key, "forget flow", f"{flow.source} to {flow.destination}", protocol=_NETFILTER)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
