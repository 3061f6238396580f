"""Leases: which address of a network is whose, a file each, as a DHCP server keeps them.

    /var/lib/labkit/networks/blue/
        172.18.0.2      "4cfc…": a container's ID, or whatever its owner is called
        172.18.0.3      …

    >>> leases = Leases("/tmp/networks/blue")
    >>> leases.take("172.18.0.0/16", "web", reserved=("172.18.0.1",))
    '172.18.0.2'
    >>> leases.give_back("172.18.0.2", "web")

A lease is taken by making its file, which the kernel lets only one do: no lock, no database, and after a crash the files say
who had what. The lowest free address is taken. Source: what CNI's host-local does; ``man 2 open``, O_EXCL.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network
from itertools import islice

from labkit.errors import Conflict, InvalidInput, KernelError

_MOST = 1 << 17  # addresses of a pool that are looked at: more than a bridge has ports


class Leases:
    """The addresses of one network that are taken."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def __repr__(self) -> str:
        return f"Leases({self.directory!r})"

    def of(self) -> dict[str, str]:
        """Owner by address. An owner of "" was interrupted while taking it."""
        found = {}
        with suppress(FileNotFoundError):
            for name in os.listdir(self.directory):
                with suppress(FileNotFoundError, ValueError), open(f"{self.directory}/{name}") as file:
                    found[str(ip_address(_address(name)))] = file.read()
        return found

    def take(self, subnet: str, owner: str, wanted: str = "", reserved: Sequence[str] = (), within: str = "") -> str:
        """An address for ``owner``: the one that is wanted, or the lowest that is free (in ``within``, a part of the subnet).

        ``Conflict`` in Docker's words if it is taken, or none is left.
        """
        pool = ip_network(subnet)
        if wanted:
            asked = ip_address(wanted)
            if asked not in pool:
                raise InvalidInput(f"invalid address {wanted}: It does not belong to any of this network's subnets")
            if wanted in reserved or asked in (pool.network_address, *_broadcast(pool)) or not self._make(str(asked), owner):
                raise Conflict("Address already in use")
            return str(asked)
        ends = {pool.network_address, *_broadcast(pool)}
        taken = {*reserved, *self.of()}
        for address in islice(ip_network(within or subnet), _MOST):
            if address not in ends and str(address) not in taken and self._make(str(address), owner):
                return str(address)
        raise Conflict(f"no available IPv{pool.version} addresses on this network's address pools: {subnet}")

    def give_back(self, address: str, owner: str) -> None:
        """End a lease, if it is still this owner's."""
        path = self._path(address)
        with suppress(FileNotFoundError):
            with open(path) as file:
                if file.read() not in (owner, ""):
                    return
            os.unlink(path)

    def sweep(self, keeps: Callable[[str], bool]) -> tuple[str, ...]:
        """Give back what belongs to owners that are no more; the addresses."""
        gone = tuple(address for address, owner in self.of().items() if not keeps(owner))
        for address in gone:
            with suppress(FileNotFoundError):
                os.unlink(self._path(address))
        return gone

    def _make(self, address: str, owner: str) -> bool:
        os.makedirs(self.directory, exist_ok=True)
        try:
            fd = os.open(self._path(address), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            return False
        except OSError as error:
            raise KernelError.of(error, "take address", address) from None
        try:
            os.write(fd, owner.encode())
        except OSError as error:
            os.unlink(self._path(address))
            raise KernelError.of(error, "take address", address) from None
        finally:
            os.close(fd)
        return True

    def _path(self, address: str) -> str:
        return f"{self.directory}/{address.replace(':', '-')}"


def _address(name: str) -> str:
    """A file's name is its address, but that colons would have to be quoted in a shell."""
    return name.replace("-", ":")


def _broadcast(pool: IPv4Network | IPv6Network) -> tuple[IPv4Address, ...]:
    return (pool.broadcast_address,) if isinstance(pool, IPv4Network) and pool.prefixlen < 31 else ()
