"""Ports of the machine that are held for containers, so that no other program takes them and none is given twice.

    >>> ports = Ports()
    >>> ports.take("tcp", "0.0.0.0", "8080")          # what -p 8080:80 asks for
    8080
    >>> ports.take("tcp", "127.0.0.1", "")            # -p 127.0.0.1::80, -P: the next free one of the ephemeral range
    32768
    >>> ports.take("tcp", "0.0.0.0", "8080")
    Conflict: Bind for 0.0.0.0:8080 failed: port is already allocated

A port is held by a socket that is bound to it; ``ss -ltn`` shows it. Nobody ever accepts on it, because packets for it have another
destination before they come that far (``nat.py``). When the process that holds it dies, the rules are still there; the next one
binds it again (``keep``).

Source: ``man 2 bind``, ``man 7 ip`` (ip_local_port_range); moby's ``libnetwork/portallocator``. Shown in notebook 07.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterable
from ipaddress import ip_address
from itertools import chain

from labkit.errors import Conflict, InvalidInput
from labkit.linux import sysctls
from labkit.records import record

_TYPES = {"tcp": (socket.SOCK_STREAM, 0), "udp": (socket.SOCK_DGRAM, 0), "sctp": (socket.SOCK_STREAM, socket.IPPROTO_SCTP)}


@record
class Port:
    """One port of the machine."""

    protocol: str
    address: str
    number: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.number}" if ":" in self.address else f"{self.address}:{self.number}"


class Ports:
    """All ports that this process holds. Any thread may ask."""

    def __init__(self) -> None:
        self._held: dict[Port, socket.socket | None] = {}
        self._lock = threading.Lock()
        self._next = 0

    def take(self, protocol: str, address: str, wanted: str = "") -> int:
        """Hold a port: the one that is wanted, the first free one of a range (``8000-8010``), or any; its number.

        ``Conflict`` in Docker's words if it is taken.
        """
        first, last = _range(wanted)
        with self._lock:
            if first == last and first:
                self._hold(Port(protocol, address, first))
                return first
            candidates = range(first, last + 1) if first else self._ephemeral()
            for number in candidates:
                try:
                    self._hold(Port(protocol, address, number))
                except Conflict:
                    continue
                if not first:
                    self._next = number + 1
                return number
        raise Conflict("all ports are allocated" + (f": {address}:{wanted}" if wanted else ""))

    def keep(self, protocol: str, address: str, number: int) -> None:
        """Hold a port that leads to a container already. ``Conflict`` if another program has taken it meanwhile."""
        with self._lock:
            if Port(protocol, address, number) not in self._held:
                self._hold(Port(protocol, address, number))

    def release(self, protocol: str, address: str, number: int) -> None:
        """Let a port go; one that is not held is fine."""
        with self._lock:
            held = self._held.pop(Port(protocol, address, number), None)
        if held:
            held.close()

    def close(self) -> None:
        """Let all ports go."""
        with self._lock:
            held, self._held = self._held, {}
        for each in held.values():
            if each:
                each.close()

    def _ephemeral(self) -> Iterable[int]:
        """The numbers that the kernel gives to whoever does not care, beginning after the last one that was given here."""
        first, last = map(int, sysctls.read("net.ipv4.ip_local_port_range").split())
        start = self._next if first <= self._next <= last else first
        return chain(range(start, last + 1), range(first, start))

    def _hold(self, port: Port) -> None:
        if port in self._held:
            raise Conflict(f"Bind for {port} failed: port is already allocated")
        self._held[port] = _bound(port)


def _bound(port: Port) -> socket.socket | None:
    is_old = ip_address(port.address).version == 4
    family = socket.AF_INET if is_old else socket.AF_INET6
    try:
        made = socket.socket(family, *_TYPES[port.protocol])
    except OSError as error:
        if error.errno == errno.EPROTONOSUPPORT:
            return None  # a kernel without SCTP; then no other program can hold the port either
        raise
    try:
        if not is_old:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((port.address, port.number))
        if port.protocol != "udp" and is_old:
            made.listen(0)  # ss shows it. At ::1 no rule translates (nat.py), and there a socket that listens would keep callers waiting
    except OSError as error:
        made.close()
        kind = f"{port.protocol}{4 if is_old else 6}"
        raise Conflict(f"listen {kind} {port}: bind: {os.strerror(error.errno or 0).lower()}") from None
    return made


def _range(wanted: str) -> tuple[int, int]:
    """The first and the last number of ``8080``, ``8000-8010`` or "" (0, 0)."""
    if not wanted:
        return 0, 0
    first, dash, last = wanted.partition("-")
    numbers = (first, last) if dash else (first, first)
    if not all(number.isascii() and number.isdecimal() and int(number) < 65536 for number in numbers) or int(numbers[1]) < int(numbers[0]):
        raise InvalidInput(f"Invalid port specification: {wanted!r}")
    return int(numbers[0]), int(numbers[1])
