"""What the engine remembers of a network: ``network.json``, readable with ``cat``, written by rename; beside it the leases.

    /var/lib/labkit/networks/ID/
        network.json        this file: its name, its subnet, its options
        leases/172.18.0.2   whose address that is                      labkit.network.leases

The names are Docker's. Three networks are always there: ``bridge``, which is written down once its subnet is chosen, ``host`` and ``none``.

Source: Docker Engine API v1.47, Network, NetworkCreate.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import field

from labkit import codec
from labkit.errors import InvalidInput, KernelError
from labkit.network.subnet import Subnet
from labkit.records import record

FILE = "network.json"
_OPTION = "com.docker.network."
PREDEFINED = ("bridge", "host", "none")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")


@record
class IPAMConfig:
    """A pool of addresses. ``IPRange``: the part of it that is given out."""

    Subnet: str = ""
    IPRange: str = ""
    Gateway: str = ""
    AuxiliaryAddresses: Mapping[str, str] = field(default_factory=dict)


@record
class IPAM:
    """How addresses are given."""

    Driver: str = "default"
    Options: Mapping[str, str] = field(default_factory=dict)
    Config: tuple[IPAMConfig, ...] = ()


@record
class Wanted:
    """The body of ``POST /networks/create``."""

    Name: str = ""
    CheckDuplicate: bool = False
    Driver: str = ""
    Scope: str = ""
    Internal: bool = False
    Attachable: bool = False
    Ingress: bool = False
    ConfigOnly: bool = False
    EnableIPv4: bool | None = None
    EnableIPv6: bool | None = None
    IPAM: IPAM | None = None
    Options: Mapping[str, str] = field(default_factory=dict)
    Labels: Mapping[str, str] = field(default_factory=dict)


@record
class Network:
    """A network. ``Bridge`` is the kernel's name for it, "" for host and none."""

    Name: str
    Id: str
    Driver: str
    Created: str = ""
    Scope: str = "local"
    EnableIPv6: bool = False
    IPAM: IPAM = IPAM()
    Internal: bool = False
    Attachable: bool = False
    Options: Mapping[str, str] = field(default_factory=dict)
    Labels: Mapping[str, str] = field(default_factory=dict)
    Bridge: str = ""

    @property
    def is_predefined(self) -> bool:
        """Whether it is always there, and cannot be removed."""
        return self.Name in PREDEFINED

    @property
    def has_names(self) -> bool:
        """Whether containers in it find each other by name: on every network that a user has made."""
        return not self.is_predefined

    @property
    def pool(self) -> IPAMConfig:
        """The IPv4 addresses; ``Subnet`` is "" until they are chosen."""
        return next((each for each in self.IPAM.Config if ":" not in each.Subnet), IPAMConfig())

    @property
    def pool6(self) -> IPAMConfig:
        """The IPv6 addresses; ``Subnet`` is "" if it has none."""
        return next((each for each in self.IPAM.Config if ":" in each.Subnet), IPAMConfig())

    def subnet(self, uplink_mtu: int) -> Subnet:
        """It, as the kernel has it."""
        pool, pool6 = self.pool, self.pool6
        mtu = self.Options.get(f"{_OPTION}driver.mtu", "")
        return Subnet(
            self.Bridge,
            pool.Subnet,
            pool.Gateway,
            self.Internal,
            int(mtu) if mtu.isdecimal() else uplink_mtu,
            pool6.Subnet,
            pool6.Gateway,
            masquerades=self.Options.get(f"{_OPTION}bridge.enable_ip_masquerade", "true") != "false",
            isolated=self.Options.get(f"{_OPTION}bridge.enable_icc", "true") == "false",
        )


def predefined(bridge: str) -> tuple[Network, ...]:
    """The three that are always there."""
    return (_predefined("bridge", "bridge", bridge), _predefined("host", "host"), _predefined("none", "null"))


def _predefined(name: str, driver: str, bridge: str = "") -> Network:
    return Network(name, hashlib.sha256(f"labkit network {name}".encode()).hexdigest(), driver, Bridge=bridge)


def check_name(name: str) -> None:
    """``InvalidInput`` for what cannot be the name of a network."""
    if not name:
        raise InvalidInput("network name cannot be empty")
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"invalid network name: {name} (letters, digits and _ . - may be in it)")


def bridge_name(wanted: Mapping[str, str], id: str) -> str:
    """The name of a network's bridge: its own wish, or the beginning of its ID."""
    return wanted.get(f"{_OPTION}bridge.name") or f"lk-{id[:12]}"


def save(directory: str, network: Network) -> None:
    """Write the file."""
    path = f"{directory}/{FILE}"
    try:
        os.makedirs(directory, exist_ok=True)
        with open(f"{path}.new", "w") as file:
            file.write(json.dumps(codec.encode(network)))
        os.rename(f"{path}.new", path)
    except OSError as error:
        raise KernelError.of(error, "write", path) from None


def load(directory: str) -> Network:
    """Read the file; ``InvalidInput`` if somebody has damaged it."""
    path = f"{directory}/{FILE}"
    try:
        with open(path, "rb") as file:
            return codec.decode(Network, json.load(file), path)
    except OSError as error:
        raise KernelError.of(error, "read", path) from None
    except ValueError as error:
        raise InvalidInput(f"{path}: is not JSON: {error}") from None
