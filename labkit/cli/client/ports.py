"""The forms of ``-p`` and ``--expose``: which port of the container, and where on the host it is found.

    -p 80                     any free port of every address          -p 8080:80                 port 8080 of every address
    -p 0.0.0.0::80            any free port of this address           -p 0.0.0.0:8080:80         port 8080 of this address
    -p 8000-8010:80           a free port of those                    -p 53:53/udp, -p [::1]:8080:80, -p 8080-8081:80-81

    >>> published(["127.0.0.1:8080:80"])
    {'80/tcp': [{'HostIp': '127.0.0.1', 'HostPort': '8080'}]}

``0.0.0.0:80`` is a common slip: the error names the forms that were meant. Source: docker-run(1), ``-p``;
github.com/docker/go-connections, ``nat``. Shown in notebook 07.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from labkit.errors import InvalidInput

Bindings = dict[str, list[dict[str, str]]]


def published(specifications: Iterable[str]) -> Bindings:
    """``HostConfig.PortBindings`` of all ``-p``; ``InvalidInput`` names what is wrong with one."""
    bindings: Bindings = {}
    for text in specifications:
        for port, address, on_host in _parsed(_short(text)):
            bindings.setdefault(port, []).append({"HostIp": address, "HostPort": on_host})
    return bindings


def exposed(specifications: Iterable[str]) -> list[str]:
    """The ports of all ``--expose``."""
    found: list[str] = []
    for text in specifications:
        if ":" in text:
            raise InvalidInput(f"invalid port format for --expose: {text}")
        ports, _, protocol = text.partition("/")
        try:
            first, last = _range(ports)
        except ValueError as error:
            raise InvalidInput(f"invalid range format for --expose: {text}, error: {error}") from None
        found += [f"{port}/{protocol or 'tcp'}" for port in range(first, last + 1)]
    return found


def _parsed(text: str) -> Iterable[tuple[str, str, str]]:
    """Port and protocol in the container, address and port on the host, of each port of a specification."""
    before, _, container = text.rpartition(":")
    address, _, on_host = before.rpartition(":")
    ports, _, protocol = container.partition("/")
    protocol = protocol.lower() or "tcp"
    address = _address(address)
    if not ports:
        raise InvalidInput(f"no port specified: {text}<empty>")
    try:
        first, last = _range(ports)
    except ValueError:
        raise InvalidInput(f"invalid containerPort: {ports}") from None
    try:
        first_there, last_there = _range(on_host) if on_host else (0, 0)
    except ValueError:
        raise InvalidInput(f"invalid hostPort: {on_host}{_meant(on_host, container)}") from None
    if on_host and last - first != last_there - first_there and first != last:
        raise InvalidInput(f"invalid ranges specified for container and host Ports: {ports} and {on_host}")
    if protocol not in ("tcp", "udp", "sctp"):
        raise InvalidInput(f"invalid proto: {protocol}")
    for step in range(last - first + 1):
        there = str(first_there + step) if on_host else ""
        if first == last and first_there != last_there:
            there = f"{first_there}-{last_there}"
        yield f"{first + step}/{protocol}", address, there


def _short(text: str) -> str:
    """``target=80,published=8080`` in the short form."""
    if "=" not in text:
        return text
    given: dict[str, str] = {}
    for pair in text.split(","):
        name, equals, value = pair.partition("=")
        if not equals:
            raise InvalidInput(f"invalid publish opts format (should be name=value but got '{pair}')")
        given[name] = value
    return f"{given.get('published', '')}:{given.get('target', '')}/{given.get('protocol', 'tcp')}".removeprefix(":")


def _range(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    ends = [_port(each) for each in ((first, last) if dash else (first, first))]
    if ends[1] < ends[0]:
        raise ValueError(f"invalid range specified for port: {text}")
    return ends[0], ends[1]


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    if int(text) > 65535:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return int(text)


def _address(text: str) -> str:
    if not text:
        return ""
    bare = text.removeprefix("[").removesuffix("]")
    if not _is_address(bare):
        raise InvalidInput(f"invalid IP address: {bare}")
    return bare


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _meant(on_host: str, container: str) -> str:
    """For an address where a port should be: how the two forms with an address are written."""
    if not _is_address(on_host):
        return ""
    port = container.partition("/")[0]
    return f" (it is an address: -p {on_host}:{port}:{container} takes port {port} of it, -p {on_host}::{container} any free one)"
