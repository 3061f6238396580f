"""Netlink: how a program talks with the kernel about links, addresses and routes: messages over a socket, no file and no ioctl.

    struct nlmsghdr                 body                     attributes, each padded to four bytes
    ┌─────┬──────┬───────┬───┬───┐ ┌──────────────────────┐ ┌─────┬──────┬────────────┐
    │ len │ type │ flags │seq│pid│ │ struct ifinfomsg, …  │ │ len │ type │ value      │ …     a value may be attributes again
    └─────┴──────┴───────┴───┴───┘ └──────────────────────┘ └─────┴──────┴────────────┘

    >>> from labkit.linux import netlink
    >>> answers = netlink.ask(netlink.RTM_GETLINK, netlink.DUMP, struct.pack("BxHiII", 0, 0, 0, 0, 0), "list links")
    >>> netlink.text(netlink.attributes(answers[0][16:])[netlink.IFLA_IFNAME])
    'lo'

This is all of the protocol that a container's start needs, without a library: pyroute2, which knows it all and which the lab's pictures
use, takes 75 ms and 25 MB to import, and what is imported for a start is in the memory of every container's monitor.

Source: ``man 7 netlink``, ``man 7 rtnetlink``, ``man 3 rtnetlink``. Shown in notebook 07-networks-and-ports.
"""

from __future__ import annotations

import os
import socket
import struct

from labkit.errors import KernelError

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_LINKINFO, IFLA_NET_NS_PID, IFLA_NET_NS_FD = 1, 3, 4, 10, 18, 19, 28
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
IFLA_BRPORT_MODE, VETH_INFO_PEER = 4, 1
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST = 1, 2, 4
RTA_DST, RTA_OIF, RTA_GATEWAY = 1, 4, 5

_REQUEST, _ACK = 1, 4
DUMP = 0x300
CREATE, EXCLUSIVE, REPLACE = 0x400, 0x200, 0x100
_ERROR, _DONE = 2, 3
_INTERRUPTED, _TRIES = 0x10, 10  # NLM_F_DUMP_INTR
_HEADER = struct.Struct("=IHHII")
_SOL_NETLINK, _EXT_ACK, _CAP_ACK = 270, 11, 10
_CAPPED, _ACK_TLVS = 0x100, 0x200


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    return struct.pack("=HH", len(value) + 4, kind) + value + bytes(-len(value) % 4)


def string(kind: int, value: str) -> bytes:
    """An attribute that is a string, with a zero byte at its end."""
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    """An attribute that is a number of 32 bits."""
    return attribute(kind, struct.pack("=I", value))


def attributes(data: bytes) -> dict[int, bytes]:
    """Attributes in a row, by their type."""
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found


def text(value: bytes) -> str:
    """The value of an attribute that is a string."""
    return value.rstrip(b"\0").decode(errors="replace")


def ask(kind: int, flags: int, body: bytes, operation: str, object: str = "", protocol: int = 0) -> list[bytes]:
    """Send one message and return the bodies of the answers. ``KernelError`` carries the kernel's own sentence, where it gives one.

    ``protocol``: whom in the kernel it is for; 0 for links, addresses and routes (NETLINK_ROUTE).
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as kernel:
        kernel.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        kernel.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        want = _REQUEST | flags | (0 if flags & DUMP == DUMP and (protocol or kind % 4 == 2) else _ACK)
        message = _HEADER.pack(_HEADER.size + len(body), kind, want, 1, 0) + body
        for _ in range(_TRIES):
            kernel.send(message)
            answers, is_whole = _answers(kernel, operation, object)
            if is_whole:
                break
        return answers


def _answers(kernel: socket.socket, operation: str, object: str) -> tuple[list[bytes], bool]:
    """The bodies, and whether the list is whole: one that has changed while it was told may lack what was there all the time."""
    answers: list[bytes] = []
    is_whole = True
    while True:
        packet = kernel.recv(1 << 17)
        while packet:
            length, what, answered, _, _ = _HEADER.unpack_from(packet)
            message, packet = packet[_HEADER.size : length], packet[(length + 3) & ~3 :]
            is_whole = is_whole and not answered & _INTERRUPTED
            if what == _ERROR:
                _raise(message, answered, operation, object)
                return answers, is_whole
            if what == _DONE:
                return answers, is_whole
            answers.append(message)


def _raise(message: bytes, flags: int, operation: str, object: str) -> None:
    (code,) = struct.unpack_from("=i", message)
    if code == 0:
        return
    begin = 20 if flags & _CAPPED else 4 + struct.unpack_from("=I", message, 4)[0]
    said = attributes(message[begin:]).get(1, b"") if flags & _ACK_TLVS else b""
    raise KernelError(-code, operation, object, f"{os.strerror(-code)}; the kernel says: {text(said)}" if said else "")
