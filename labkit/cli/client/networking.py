"""``--network`` and what goes with it: the networks that a new container is in, and as whom.

    --network n1 --network-alias web --ip 172.18.0.9
    --network name=n1,alias=web,ip=172.18.0.9            the same in one word, which may be given for several networks

    >>> NETWORK.read("name=n1,alias=web")
    Attachment(name='n1', aliases=('web',), …)

Source: docker-run(1), ``--network``; github.com/docker/cli, ``opts/network.go``; Docker Engine API, EndpointSettings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import field, replace

from labkit.cli.client.values import Kind, fields
from labkit.errors import InvalidInput
from labkit.records import record

_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}")


@record
class Attachment:
    """One network, and what is asked of it."""

    name: str
    aliases: Sequence[str] = ()
    ip: str = ""
    ip6: str = ""
    link_local: Sequence[str] = ()
    links: Sequence[str] = ()
    mac: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0

    @property
    def settings(self) -> dict[str, object]:
        """``EndpointSettings`` of the API: those fields that a client may set."""
        wanted = {"IPv4Address": self.ip, "IPv6Address": self.ip6, "LinkLocalIPs": list(self.link_local)}
        said = {name: value for name, value in wanted.items() if value}
        return {
            "IPAMConfig": said or None, "Links": list(self.links) or None, "Aliases": list(self.aliases) or None, "MacAddress": self.mac,
            "DriverOpts": dict(self.options) or None, "GwPriority": self.priority,
        }  # fmt: skip


def _attachment(text: str) -> Attachment:
    if "=" not in text:
        return Attachment(text)
    found = Attachment("")
    for pair in fields(text):
        key, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"invalid field {pair}")
        key, value = key.strip().lower(), value.strip()
        if key == "name":
            found = replace(found, name=value)
        elif key == "ip":
            found = replace(found, ip=value)
        elif key == "ip6":
            found = replace(found, ip6=value)
        elif key == "alias":
            found = replace(found, aliases=(*found.aliases, value))
        elif key == "link-local-ip":
            found = replace(found, link_local=(*found.link_local, value))
        elif key == "mac-address":
            found = replace(found, mac=value)
        elif key == "driver-opt":
            name, equals, option = value.partition("=")
            if not equals:
                raise ValueError(f"invalid key value pair format in driver options: {value}")
            found = replace(found, options={**found.options, name: option})
        elif key == "gw-priority":
            found = replace(found, priority=int(value))
        else:
            raise ValueError(f"invalid field key {key}")
    if not found.name:
        raise ValueError("network name/id is not specified")
    return found


NETWORK = Kind("network", _attachment)


def attachments(networks: Sequence[Attachment], given: Mapping[str, object]) -> tuple[Attachment, ...]:
    """All of them; what the other options say belongs to the first. ``given`` has click's names."""
    if len(networks) > 1 and any(not _is_user_defined(each.name) for each in networks):
        raise InvalidInput("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
    first, rest = networks[0] if networks else Attachment("default"), networks[1:]
    aliases, links = _words(given, "network_alias"), _words(given, "link")
    if aliases and not _is_user_defined(first.name):
        raise InvalidInput("network-scoped aliases are only supported for user-defined networks")
    mac = str(given.get("mac_address") or "") or first.mac
    if mac and not _MAC.fullmatch(mac):
        raise InvalidInput(f"{mac} is not a valid mac address")
    whole = replace(
        first,
        aliases=(*first.aliases, *aliases),
        ip=str(given.get("ip") or "") or first.ip,
        ip6=str(given.get("ip6") or "") or first.ip6,
        link_local=(*first.link_local, *_words(given, "link_local_ip")),
        links=links if _is_user_defined(first.name) else (),
        mac=mac,
    )
    return (whole, *rest)


def _is_user_defined(name: str) -> bool:
    return name not in ("default", "bridge", "host", "none") and not name.startswith("container:")


def _words(given: Mapping[str, object], name: str) -> tuple[str, ...]:
    found = given.get(name) or ()
    assert isinstance(found, tuple)
    return found
