"""Network links: which there are in a network namespace, switching one on, and making bridges and veth pairs.

A new network namespace holds one link, ``lo``, and that is down: even 127.0.0.1 does not answer until it is set up.

    >>> from labkit.linux import links, namespaces
    >>> with namespaces.new("net") as box: links.names(box.pid)
    ('lo',)
    >>> links.is_up("lo")
    True

A bridge joins its ports as a switch does. A veth pair is a cable: what goes in at one end comes out at the other, and the ends may be
in different network namespaces, which is how a container gets a line out.

    >>> links.add_bridge("blue", mtu=1500)
    >>> links.add_veth("blue-1", "eth0", box.pid, master="blue")
    >>> links.all()[-1]
    Link(index=3, name='blue-1', kind='veth', …, master=2, is_up=True)

Source: ``man 7 netdevice``, ``man 4 veth``, ``man 8 ip-link``. Shown in notebooks 01, 04 and 07.
"""

from __future__ import annotations

import errno
import struct
from fcntl import ioctl

from labkit.errors import InvalidInput, KernelError, NotFound
from labkit.records import record

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_IFINFO = struct.Struct("=BxHiII")  # family, type, index, flags, which of the flags are meant


@record
class Link:
    """A link as the kernel describes it. ``master`` is the index of the bridge that it is a port of, 0 for none."""

    index: int
    name: str
    kind: str
    address: str
    mtu: int
    master: int
    is_up: bool


def names(pid: int | str = "self") -> tuple[str, ...]:
    """The links in the network namespace of a process."""
    try:
        with open(f"/proc/{'thread-self' if pid == 'self' else pid}/net/dev", encoding="ascii") as file:
            _, _, *lines = file  # two lines of heading
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESRCH, errno.EINVAL):
            raise NotFound(f"process {pid}: no such process") from None
        raise KernelError.of(error, "read the links of process", str(pid)) from None
    return tuple(line.partition(":")[0].strip() for line in lines)


def is_up(name: str) -> bool:
    """Whether the link is switched on, in the network namespace of the caller."""
    return bool(_flags(_SIOCGIFFLAGS, name) & _IFF_UP)


def set_up(name: str) -> None:
    """Switch the link on, as ``ip link set NAME up`` does, in the network namespace of the caller."""
    _flags(_SIOCSIFFLAGS, name, _flags(_SIOCGIFFLAGS, name) | _IFF_UP)


def _flags(request: int, name: str, flags: int = 0) -> int:
    """Read or write a link's flags through ``struct ifreq``: a name of 16 bytes, a short, and padding."""
    import socket

    if not 0 < len(name.encode()) < 16:
        raise InvalidInput(f"link name: {name!r} must have 1 to 15 bytes")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            answer = ioctl(any_socket, request, struct.pack("16sH22x", name.encode(), flags))
        except OSError as error:
            if error.errno == errno.ENODEV:
                raise NotFound(f"link {name}: this network namespace has only {', '.join(names())}") from None
            raise KernelError.of(error, "set link up:" if request == _SIOCSIFFLAGS else "look at link", name) from None
    found: int = struct.unpack("16sH22x", answer)[1]
    return found


def index(name: str) -> int:
    """The kernel's number of a link. ``NotFound``."""
    import socket

    try:
        return socket.if_nametoindex(name)
    except OSError:
        raise NotFound(f"link {name}: this network namespace has only {', '.join(names())}") from None


def exists(name: str) -> bool:
    """Whether there is such a link."""
    import socket

    try:
        return socket.if_nametoindex(name) > 0
    except OSError:
        return False


def all() -> tuple[Link, ...]:
    """Every link of this network namespace."""
    from labkit.linux import netlink

    found = netlink.ask(netlink.RTM_GETLINK, netlink.DUMP, _IFINFO.pack(0, 0, 0, 0, 0), "list links")
    return tuple(map(_link, found))


def find(name: str) -> Link:
    """One link. ``NotFound``."""
    from labkit.linux import netlink

    return _link(netlink.ask(netlink.RTM_GETLINK, 0, _IFINFO.pack(0, 0, index(name), 0, 0), "look at link", name)[0])


def _link(answer: bytes) -> Link:
    from labkit.linux import netlink

    _, _, number, flags, _ = _IFINFO.unpack_from(answer)
    given = netlink.attributes(answer[16:])
    info = netlink.attributes(given.get(netlink.IFLA_LINKINFO, b""))
    (mtu,), (master,) = (struct.unpack("=I", given.get(each, bytes(4))) for each in (netlink.IFLA_MTU, netlink.IFLA_MASTER))
    kind, address = netlink.text(info.get(netlink.IFLA_INFO_KIND, b"")), given.get(netlink.IFLA_ADDRESS, b"").hex(":")
    return Link(number, netlink.text(given[netlink.IFLA_IFNAME]), kind, address, mtu, master, bool(flags & _IFF_UP))


def add_bridge(name: str, mtu: int, address: str = "") -> None:
    """Make a bridge and switch it on. ``address``: its MAC address; without one it takes that of its ports, which come and go."""
    from labkit.linux import netlink

    given = netlink.string(netlink.IFLA_IFNAME, name) + netlink.number(netlink.IFLA_MTU, mtu)
    if address:
        given += netlink.attribute(netlink.IFLA_ADDRESS, bytes.fromhex(address.replace(":", "")))
    given += netlink.attribute(netlink.IFLA_LINKINFO, netlink.string(netlink.IFLA_INFO_KIND, "bridge"))
    flags = netlink.CREATE | netlink.EXCLUSIVE
    netlink.ask(netlink.RTM_NEWLINK, flags, _IFINFO.pack(0, 0, 0, _IFF_UP, _IFF_UP) + given, "add bridge", name)


def add_veth(name: str, peer: str, pid: int, *, master: str = "", mtu: int = 1500, address: str = "") -> None:
    """Make a pair of links: ``name`` here, switched on and a port of the bridge ``master``, and ``peer`` where the process is, down.

    Whoever is on a port may reach themselves by way of the bridge (hairpin). ``address`` is the MAC address of the peer.
    """
    from labkit.linux import netlink

    there = netlink.string(netlink.IFLA_IFNAME, peer) + netlink.number(netlink.IFLA_MTU, mtu) + netlink.number(netlink.IFLA_NET_NS_PID, pid)
    if address:
        there += netlink.attribute(netlink.IFLA_ADDRESS, bytes.fromhex(address.replace(":", "")))
    other_end = netlink.attribute(netlink.VETH_INFO_PEER, _IFINFO.pack(0, 0, 0, 0, 0) + there)
    info = netlink.string(netlink.IFLA_INFO_KIND, "veth") + netlink.attribute(netlink.IFLA_INFO_DATA, other_end)
    given = netlink.string(netlink.IFLA_IFNAME, name) + netlink.number(netlink.IFLA_MTU, mtu)
    given += netlink.attribute(netlink.IFLA_LINKINFO, info)
    if master:
        given += netlink.number(netlink.IFLA_MASTER, index(master))
    flags = netlink.CREATE | netlink.EXCLUSIVE
    netlink.ask(netlink.RTM_NEWLINK, flags, _IFINFO.pack(0, 0, 0, _IFF_UP, _IFF_UP) + given, "add veth pair", f"{name}, {peer}")
    if master:
        mode = netlink.attribute(netlink.IFLA_BRPORT_MODE, b"\1")
        port = netlink.string(netlink.IFLA_INFO_SLAVE_KIND, "bridge") + netlink.attribute(netlink.IFLA_INFO_SLAVE_DATA, mode)
        body = _IFINFO.pack(0, 0, index(name), 0, 0) + netlink.attribute(netlink.IFLA_LINKINFO, port)
        netlink.ask(netlink.RTM_NEWLINK, 0, body, "set hairpin mode of", name)


def delete(name: str) -> None:
    """Remove a link, and with one end of a veth pair the other. What is gone is fine."""
    if exists(name):
        delete_numbered(index(name))


def delete_numbered(number: int) -> None:
    """The same for the link of that index, which no other link will have: whoever has the name by then is not meant."""
    from labkit.linux import netlink

    try:
        netlink.ask(netlink.RTM_DELLINK, 0, _IFINFO.pack(0, 0, number, 0, 0), "delete link", str(number))
    except KernelError as error:
        if error.errno != errno.ENODEV:
            raise
