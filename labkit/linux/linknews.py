"""Hears when links, addresses, routes or the firewall change: the kernel tells whoever listens.

    ip link add … ──▶ kernel ──▶ RTM_NEWLINK, RTM_NEWADDR, …   to this namespace's listeners, and to those of others that have an id for it
    nft add rule … ─▶        ──▶ NFT_MSG_NEWRULE, …            to this namespace's listeners

    >>> news = LinkNews()
    >>> news.wait()            # until something has changed, and then until it is quiet again
    True
    >>> news.close()           # and whoever waits is told: False

A socket that is opened in a namespace keeps it alive; so all of them are heard from here, by their ids (``cables.give_id``), and none is
held. Source: ``man 7 netlink``, ``man 7 rtnetlink``; linux/netlink.h, NETLINK_LISTEN_ALL_NSID. Shown in notebook 07-networks-and-ports.
"""

from __future__ import annotations

import os
import select
import socket
from contextlib import suppress

from labkit.errors import KernelError

_SOL_NETLINK, _ADD_MEMBERSHIP, _LISTEN_ALL_NSID = 270, 1, 8
_NETFILTER, _NFTABLES_GROUP = 12, 7
# RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_IFADDR, RTNLGRP_NSID
_GROUPS = (1, 5, 7, 9, 28)
_SILENCE = 0.1  # seconds


class LinkNews:
    """What the calling thread's network namespace is told, from now on. One thread waits, any may close."""

    def __init__(self) -> None:
        self._end = os.eventfd(0, os.EFD_CLOEXEC)
        self._sockets = [_listening(socket.NETLINK_ROUTE, _GROUPS), _listening(_NETFILTER, (_NFTABLES_GROUP,))]
        self._sockets[0].setsockopt(_SOL_NETLINK, _LISTEN_ALL_NSID, 1)

    def wait(self, timeout: float | None = None) -> bool:
        """Return when something has changed and then nothing for a moment; False if ``timeout`` seconds pass before, or if it is closed."""
        poll = select.poll()
        for fd in (self._end, *(each.fileno() for each in self._sockets)):
            poll.register(fd, select.POLLIN)
        changed = False
        while True:
            patience = _SILENCE if changed else timeout
            ready = {fd for fd, _ in poll.poll(None if patience is None else patience * 1000)}
            if self._end in ready:
                return False
            if not ready:
                return changed
            changed = True
            for each in self._sockets:
                with suppress(OSError):  # ENOBUFS: more was told than the socket holds; that is news, too
                    while each.fileno() in ready and each.recv(1 << 16):
                        pass

    def close(self) -> None:
        """Whoever waits returns; nothing is heard any more."""
        os.eventfd_write(self._end, 1)

    def __del__(self) -> None:
        for each in getattr(self, "_sockets", ()):
            each.close()
        with suppress(AttributeError):
            os.close(self._end)


def _listening(protocol: int, groups: tuple[int, ...]) -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
    try:
        made.bind((0, 0))  # who has no address hears nothing
        for group in groups:
            made.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
    except OSError as error:
        made.close()
        raise KernelError.of(error, "listen to", "netlink") from None
    return made
