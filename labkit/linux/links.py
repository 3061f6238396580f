"""Network links: which there are in a network namespace, and switching one on.

A new network namespace holds one link, ``lo``, and that is down: even 127.0.0.1 does not answer until it is set up.

    >>> from labkit.linux import links, namespaces
    >>> with namespaces.new("net") as box: links.names(box.pid)
    ('lo',)
    >>> links.is_up("lo")
    True

This is all that a container without a network needs, and it is fast; making bridges and veth pairs is the work of netlink.

Source: ``man 7 netdevice``, ``man 7 network_namespaces``. Shown in notebooks 01 and 04.
"""

from __future__ import annotations

import errno
import struct
from fcntl import ioctl

from labkit.errors import InvalidInput, KernelError, NotFound

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


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
