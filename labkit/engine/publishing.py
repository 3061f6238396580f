"""From what a container asks for to ports of the machine that lead to it.

    HostConfig.PortBindings  {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}     -p 8080:80
    HostConfig.PublishAllPorts, Config.ExposedPorts                               -P
      ──▶ Published("tcp", "0.0.0.0", 8080, "172.17.0.2", 80), …                  the rules
      ──▶ {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}                 inspect, ps, port

An address that is not given is every address that the container can be reached by: 0.0.0.0, and :: if it has an IPv6 address.

Source: moby's ``libnetwork/drivers/bridge/port_mapping_linux.go``. Shown in notebook 07-networks-and-ports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING

from labkit.engine.config import Config, EndpointSettings, HostConfig, PortBinding
from labkit.errors import InvalidInput
from labkit.network.nat import Published

if TYPE_CHECKING:
    from labkit.network.ports import Ports

Bindings = Mapping[str, tuple[PortBinding, ...]]


def wanted(config: Config, host: HostConfig) -> dict[str, tuple[PortBinding, ...]]:
    """What is to be published, by port and protocol: "80/tcp"."""
    found: dict[str, tuple[PortBinding, ...]] = {}
    for key, bindings in host.PortBindings.items():
        for port in _each(key):
            found[port] = bindings or (PortBinding(),)
    if host.PublishAllPorts:
        for key in config.ExposedPorts:
            for port in _each(key):
                found.setdefault(port, (PortBinding(),))
    return found


def take(asked: Bindings, endpoint: EndpointSettings, ports: Ports) -> tuple[Published, ...]:
    """Hold ports of the machine, all or none. ``Conflict`` in Docker's words."""
    taken: list[Published] = []
    try:
        for key, bindings in asked.items():
            number, _, protocol = key.partition("/")
            for binding in bindings:
                at = binding.HostPort if binding.HostPort not in ("", "0") else ""
                for address, to in _addresses(key, binding, endpoint):
                    held = ports.take(protocol, address, at)
                    taken.append(Published(protocol, address, held, to, int(number)))
                    at = str(held)  # the same number for :: as for 0.0.0.0
    except BaseException:
        release(taken, ports)
        raise
    return tuple(taken)


def release(published: tuple[Published, ...] | list[Published], ports: Ports) -> None:
    """Let ports go."""
    for port in published:
        ports.release(port.protocol, port.address, port.port)


def told(published: tuple[Published, ...]) -> dict[str, tuple[PortBinding, ...]]:
    """As ``docker inspect`` shows them."""
    found: dict[str, tuple[PortBinding, ...]] = {}
    for port in published:
        key = f"{port.to_port}/{port.protocol}"
        found[key] = (*found.get(key, ()), PortBinding(port.address, str(port.port)))
    return found


def again(bindings: Bindings, endpoint: EndpointSettings) -> tuple[Published, ...]:
    """What ``take`` has returned once, from what ``told`` made of it."""
    found = []
    for key, each in bindings.items():
        number, _, protocol = key.partition("/")
        for binding in each:
            to = endpoint.GlobalIPv6Address if ":" in binding.HostIp else endpoint.IPAddress
            found.append(Published(protocol, binding.HostIp, int(binding.HostPort), to, int(number)))
    return tuple(found)


def _addresses(key: str, binding: PortBinding, endpoint: EndpointSettings) -> Iterator[tuple[str, str]]:
    """Addresses of the machine, each with that of the container which it leads to."""
    if not binding.HostIp:
        yield "0.0.0.0", endpoint.IPAddress
        if endpoint.GlobalIPv6Address:
            yield "::", endpoint.GlobalIPv6Address
    elif ":" not in binding.HostIp:
        yield binding.HostIp, endpoint.IPAddress
    elif ip_address(binding.HostIp).is_loopback:
        raise InvalidInput(
            f"port {key}: nothing that is sent to [{binding.HostIp}] can be handed on to a container: IPv6 keeps it on the loopback"
            " (take 127.0.0.1, whose rule the kernel can translate)"
        )
    elif endpoint.GlobalIPv6Address:
        yield binding.HostIp, endpoint.GlobalIPv6Address
    else:
        raise InvalidInput(
            f"port {key}: [{binding.HostIp}] cannot lead to {endpoint.IPAddress}, the container has no IPv6 address"
            " (put it in a network that has them: `docker network create --ipv6 --subnet fd00:77::/64 NAME`)"
        )


def _each(key: str) -> Iterator[str]:
    """``80-82/tcp`` stands for three."""
    numbers, _, protocol = key.partition("/")
    first, _, last = numbers.partition("-")
    for number in range(int(first), int(last or first) + 1):
        yield f"{number}/{protocol or 'tcp'}"
