"""Hears when somebody changes the machine's firewall: the kernel tells whoever listens.

    nft flush ruleset ──▶ kernel ──▶ "table inet labkit was deleted" ──▶ a moment of silence ──▶ repair()

    >>> watch = Watch(fabric.repair)
    >>> watch.close()

Source: ``man 7 netlink``, multicast groups; linux/netfilter/nfnetlink.h, NFNLGRP_NFTABLES.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import struct
import threading
from collections.abc import Callable

_NETFILTER, _NFTABLES_GROUP = 12, 7
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
# NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_…
_DELETED_TABLE, _DELETED_CHAIN, _NEW_CHAIN = 0xA02, 0xA05, 0xA03
_SILENCE = 100  # milliseconds

_log = logging.getLogger(__name__)


class Watch:
    """Calls ``then`` in a thread of its own after a table or a chain was deleted or made, until it is closed."""

    def __init__(self, then: Callable[[], object]) -> None:
        self._then = then
        self._end = os.eventfd(0, os.EFD_CLOEXEC)
        self._firewall = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
        self._firewall.bind((0, 0))  # who has no address hears nothing
        self._firewall.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _NFTABLES_GROUP)
        self._thread = threading.Thread(target=self._run, name="labkit-firewall", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        os.eventfd_write(self._end, 1)
        self._thread.join()
        self._firewall.close()
        os.close(self._end)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._firewall, select.POLLIN)
        poll.register(self._end, select.POLLIN)
        is_due = False
        while True:
            ready = [fd for fd, _ in poll.poll(_SILENCE if is_due else None)]
            if self._end in ready:
                return
            if ready:
                is_due = self._hear() or is_due
                continue
            is_due = False
            try:
                self._then()
            except Exception:
                _log.exception("after a change of the firewall")

    def _hear(self) -> bool:
        """Whether what was told is worth a look."""
        try:
            told = self._firewall.recv(1 << 16)
        except OSError:  # more was told than the socket holds: whatever it was
            return True
        kinds = []
        while len(told) >= 16:
            length, kind = struct.unpack_from("=IH", told)
            kinds.append(kind)
            told = told[max((length + 3) & ~3, 16) :]
        return not {_DELETED_TABLE, _DELETED_CHAIN, _NEW_CHAIN}.isdisjoint(kinds)
