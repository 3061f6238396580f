"""What there is of a network, read from the kernel: who is joined to whom, by which cables and bridges, and through which ports.

    >>> seen = survey.take({"red": red.pid, "blue": blue.pid})
    >>> seen.cables
    (Cable(one=Plug(place='red', link='eth0', addresses=('10.0.0.1/24',), …), other=Plug(place='blue', …)),)
    >>> survey.take({"web": pid}, table="labkit").doors
    (Door(port=Published('tcp', '0.0.0.0', 8080, '172.17.0.2', 80), place='web'),)

Namespaces are those of the processes that are named, and this machine's own, that of the calling thread. Only what leads to one of them
is told: a machine may have other links, bridges and rules. Nothing is remembered, and no daemon is asked.
Source: ``man 7 rtnetlink``, ``man 5 libnftables-json``. Shown in notebook 07-networks-and-ports.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack

from labkit.errors import LabError
from labkit.linux import addresses, cables, links, namespaces, nftables
from labkit.network import nat
from labkit.network.nat import Published
from labkit.records import record

MACHINE = ""
"""The place that this machine's own network namespace is."""


@record
class Plug:
    """One end of a cable: in which place, by what name; ``bridge`` is the one that it is a port of."""

    place: str
    link: str
    addresses: tuple[str, ...]
    is_up: bool
    bridge: str = ""


@record
class Cable:
    """A veth pair. If one end is at this machine, it is ``one``."""

    one: Plug
    other: Plug


@record
class Bridge:
    """A bridge of this machine."""

    name: str
    addresses: tuple[str, ...]
    is_up: bool


@record
class Door:
    """A published port, and the place that it leads to: ``MACHINE`` if it is none of those that were named."""

    port: Published
    place: str


@record
class Survey:
    """All that was seen. ``guests`` live in this machine's own network namespace; ``gone`` have ended."""

    places: tuple[str, ...]
    cables: tuple[Cable, ...]
    bridges: tuple[Bridge, ...]
    doors: tuple[Door, ...]
    ways_out: tuple[str, ...]
    """Subnets whose packets bear this machine's address when they leave it (masquerade)."""
    guests: tuple[str, ...]
    gone: tuple[str, ...]


@record
class _Link:
    link: links.Link
    addresses: tuple[str, ...]


@record
class _Space:
    """What one network namespace holds: its links, the ends among them, and the ids that it has for the others."""

    links: Mapping[int, _Link]
    ends: tuple[cables.End, ...]
    ids: Mapping[int, str]


def take(people: Mapping[str, int], bridges: Sequence[str] = (), table: str = nat.TABLE) -> Survey:
    """Look at the namespaces of these processes. ``bridges`` are told even if nobody is plugged in; the ports are those of ``table``."""
    with ExitStack() as closing:
        opened, guests, gone = _opened(people, closing)
        spaces = {place: _space(file, opened) for place, file in opened.items()}
    found = tuple(_cables(spaces))
    used = {cable.one.bridge for cable in found} | {*bridges}
    here = [each for each in spaces[MACHINE].links.values() if each.link.kind == "bridge" and each.link.name in used]
    seen = tuple(Bridge(each.link.name, each.addresses, each.link.is_up) for each in here)
    at = {address.partition("/")[0]: plug.place for cable in found for plug in (cable.one, cable.other) for address in plug.addresses}
    doors = tuple(Door(port, at.get(port.to, MACHINE)) for port in published(table))
    places = tuple(place for place in spaces if place != MACHINE)
    return Survey(places, found, seen, doors, ways_out(table), guests, gone)


def published(table: str = nat.TABLE) -> tuple[Published, ...]:
    """The ports that the rules of this table lead elsewhere; none if there is no such table, or no nft."""
    return tuple(filter(None, map(_port, _expressions(table, nat.PUBLISHED))))


def ways_out(table: str = nat.TABLE) -> tuple[str, ...]:
    """The subnets whose packets are given this machine's address where they leave it."""
    found = []
    for parts in _expressions(table, "postrouting"):
        leaves = any(_key(part) == "oifname" and _of(part, "match", "op") == "!=" for part in parts)
        subnets = [_of(part, "match", "right", "prefix") for part in parts]
        if leaves and any("masquerade" in part for part in parts):
            found += [f"{subnet['addr']}/{subnet['len']}" for subnet in subnets if isinstance(subnet, dict)]
    return tuple(found)


def guarded(table: str = nat.TABLE) -> tuple[str, ...]:
    """The bridges that a table has rules for, be they there or not: whoever made it, and has died, had those."""
    found = [_of(part, "match", "right") for parts in _expressions(table, "guard") for part in parts if _key(part) == "iifname"]
    return tuple(str(name) for name in found)


def _key(part: dict[str, object]) -> object:
    return _of(part, "match", "left", "meta", "key")


def _opened(people: Mapping[str, int], closing: ExitStack) -> tuple[dict[str, int], tuple[str, ...], tuple[str, ...]]:
    """The namespaces as open files, so that none ends while we look: this machine's, and each of the others once, by the names of those
    who share it. Then who lives in this machine's own, and who has ended."""
    ours = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    closing.callback(os.close, ours)
    files, names, gone = {os.fstat(ours).st_ino: ours}, {os.fstat(ours).st_ino: list[str]()}, []
    for name, pid in people.items():
        try:
            file = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            gone.append(name)
            continue
        closing.callback(os.close, file)
        number = os.fstat(file).st_ino
        files.setdefault(number, file)
        names.setdefault(number, []).append(name)
    (_, guests), *others = names.items()
    return {MACHINE: ours, **{", ".join(each): files[number] for number, each in others}}, tuple(guests), tuple(gone)


def _space(file: int, all: Mapping[str, int]) -> _Space:
    with namespaces.entered(f"/proc/self/fd/{file}", "net"):
        ends = cables.ends()  # first: as it tells of them, the kernel gives ids to where they lead
        ids = {cables.id_of(other): place for place, other in all.items()}
        has = addresses.all()
        found = {link.index: _Link(link, has.get(link.index, ())) for link in links.all() if link.kind in ("veth", "bridge")}
        return _Space(found, ends, {number: place for number, place in ids.items() if number != cables.HERE})


def _cables(spaces: Mapping[str, _Space]) -> Iterator[Cable]:
    """Each cable once: seen from this machine, or from the place that was named first."""
    told = set()
    for place, space in spaces.items():
        for end in space.ends:
            there = place if end.where == cables.HERE else space.ids.get(end.where)
            if there is None or end.index not in space.links or end.peer not in spaces[there].links:
                continue  # it leads to somebody who was not asked about, or has just been laid, or taken away
            one, other = (place, end.index), (there, end.peer)
            if (other, one) in told or place == there == MACHINE:
                continue
            told.add((one, other))
            plugs = _plug(place, space, end.index), _plug(there, spaces[there], end.peer)
            # A cable that was laid while we looked may be known at its other end alone.
            yield Cable(*(reversed(plugs) if there == MACHINE else plugs))


def _plug(place: str, space: _Space, index: int) -> Plug:
    found = space.links[index]
    bridge = space.links.get(found.link.master)
    return Plug(place, found.link.name, found.addresses, found.link.is_up, bridge.link.name if bridge else "")


def _expressions(table: str, chain: str) -> list[list[dict[str, object]]]:
    """The parts of each rule in a chain."""
    try:
        listed = nftables.listed("chain", nat.FAMILY, table, chain)
    except LabError:
        return []
    found = [_of(each, "rule", "expr") for each in listed if "rule" in each]
    return [[part for part in parts if isinstance(part, dict)] for parts in found if isinstance(parts, list)]


def _port(parts: Sequence[dict[str, object]]) -> Published | None:
    """The rule of a published port, read backwards (``nat.publication`` writes it)."""
    protocol, address, port, to, to_port = "", "", 0, "", 0
    for part in parts:
        right = _of(part, "match", "right")
        if _of(part, "match", "left", "payload", "field") == "dport" and isinstance(right, int):
            protocol, port = str(_of(part, "match", "left", "payload", "protocol")), right
        elif _of(part, "match", "left", "payload", "field") == "daddr":
            address = str(right)
        elif _key(part) == "nfproto":
            address = "::" if right == "ipv6" else "0.0.0.0"
        elif "dnat" in part:
            to, number = str(_of(part, "dnat", "addr")), _of(part, "dnat", "port")
            to_port = number if isinstance(number, int) else 0
    return Published(protocol, address, port, to, to_port) if port and to else None


def _of(found: object, *keys: str) -> object:
    """What is at the end of a path of keys; None if it ends before."""
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found
