"""Cables: which link is the other end of a veth pair, and in which network namespace it is.

A link has a number, but each namespace counts anew: the ends of a pair name each other by number, and the namespace of the other end by
an *id* that is valid in one's own namespace alone. ``ip link`` shows both as ``eth0@if7 … link-netnsid 0``.

    namespace red                                 namespace blue
    ┌───────────────────────────────────┐         ┌───────────────────────────────────┐
    │ 2: eth0   peer 5, namespace id 0 ─┼─────────┼─ 5: eth0   peer 2, namespace id 1 │     blue is 0 for red, red is 1 for blue
    └───────────────────────────────────┘         └───────────────────────────────────┘

    >>> from labkit.linux import cables, namespaces
    >>> with namespaces.entered(red.pid, "net"), open(f"/proc/{blue.pid}/ns/net") as space: cables.ends(), cables.id_of(space.fileno())
    ((End(index=2, peer=5, where=0),), 0)

Source: ``man 4 veth``, ``man 8 ip-netns`` (list-id), linux/net_namespace.h. Shown in notebook 07-networks-and-ports.
"""

from __future__ import annotations

import errno
import struct

from labkit.errors import KernelError
from labkit.linux import netlink
from labkit.records import record

HERE = -1
_RTM_NEWNSID, _RTM_GETNSID = 88, 90
_NETNSA_NSID, _NETNSA_FD = 1, 3
_IFLA_LINK, _IFLA_LINK_NETNSID = 5, 37
_IFINFO = struct.Struct("=BxHiII")


@record
class End:
    """One end of a pair: its own number, that of the other end, and the id of the other's namespace; ``HERE`` if it is this one."""

    index: int
    peer: int
    where: int


def ends() -> tuple[End, ...]:
    """Every end of a veth pair that is in the network namespace of the calling thread. Where they lead to has an id from then on."""
    found = []
    for answer in netlink.ask(netlink.RTM_GETLINK, netlink.DUMP, _IFINFO.pack(0, 0, 0, 0, 0), "list links"):
        given = netlink.attributes(answer[16:])
        info = netlink.attributes(given.get(netlink.IFLA_LINKINFO, b""))
        if netlink.text(info.get(netlink.IFLA_INFO_KIND, b"")) == "veth":
            (index,) = struct.unpack_from("=i", answer, 4)
            found.append(End(index, _signed(given, _IFLA_LINK, 0), _signed(given, _IFLA_LINK_NETNSID, HERE)))
    return tuple(found)


def id_of(space: int) -> int:
    """The id that a network namespace, an open file, has in the calling thread's; ``HERE`` if it has none, or is the same one."""
    answers = netlink.ask(_RTM_GETNSID, 0, _about(space), "ask for the id of", "a network namespace")
    return _signed(netlink.attributes(answers[0][4:]), _NETNSA_NSID, HERE) if answers else HERE


def give_id(space: int) -> None:
    """See that a network namespace, an open file, has an id here: then we hear of what happens in it (``linknews``)."""
    body = _about(space) + netlink.attribute(_NETNSA_NSID, struct.pack("=i", -1))  # any
    try:
        netlink.ask(_RTM_NEWNSID, 0, body, "give an id to", "a network namespace")
    except KernelError as error:
        if error.errno != errno.EEXIST:
            raise


def _about(space: int) -> bytes:
    return bytes(4) + netlink.number(_NETNSA_FD, space)


def _signed(given: dict[int, bytes], kind: int, default: int) -> int:
    return int(struct.unpack("=i", given[kind])[0]) if kind in given else default
