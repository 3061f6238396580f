"""labkit's own table in the kernel's firewall: who may talk with whom, and which address a packet bears on its way.

    a packet for 8080 of the machine                   a packet from the machine itself, to 127.0.0.1:8080
      prerouting  ─▶ published: dnat to 172.17.0.2:80    output ─▶ published: dnat to 172.17.0.2:80
      forward        it was translated: it may pass      postrouting   from 127.0.0.1: masquerade, or the answer would not come back
    a packet from a container
      guard          to 127.0.0.0/8 of the machine: drop
      forward        to another network of containers: drop, if it is not for a published port
      postrouting    out of the machine: masquerade; back to its own network by way of a published port: masquerade

Each rule is written in both of nft's languages: ``json`` is what labkit hands over, ``text`` what ``explain --shell`` prints and what
``nft list table inet labkit`` shows. Nothing outside this table is touched.

Source: ``man 8 nft``, ``man 5 libnftables-json``; moby's ``libnetwork/drivers/bridge``. Shown in notebook 07-networks-and-ports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_network

from labkit.errors import NotFound
from labkit.linux import nftables
from labkit.network import flows
from labkit.network.subnet import Subnet
from labkit.records import record

FAMILY, TABLE = "inet", "labkit"
PUBLISHED = "published"  # the chain

Command = nftables.Command


@record
class Published:
    """A port of the machine that leads to one of a container's. ``address`` is the machine's: 0.0.0.0 or :: for all that it has."""

    protocol: str
    address: str
    port: int
    to: str
    to_port: int

    def __str__(self) -> str:
        here = f"[{self.address}]" if ":" in self.address else self.address
        there = f"[{self.to}]" if ":" in self.to else self.to
        return f"{here}:{self.port}/{self.protocol} → {there}:{self.to_port}"


@record
class Expression:
    """A part of a rule in both languages."""

    text: str
    json: object


@record
class Rule:
    """A rule in a chain of ours."""

    chain: str
    parts: tuple[Expression, ...]
    comment: str = ""

    @property
    def text(self) -> str:
        """As ``nft`` reads and shows it."""
        comment = f' comment "{self.comment}"' if self.comment else ""
        return " ".join(part.text for part in self.parts) + comment

    def json(self, table: str) -> Command:
        """As ``nft -j`` reads it."""
        comment = {"comment": self.comment} if self.comment else {}
        rule = {"family": FAMILY, "table": table, "chain": self.chain, "expr": [part.json for part in self.parts], **comment}
        return {"add": {"rule": rule}}


@record
class Chain:
    """A chain of ours; with ``hook`` the kernel sends packets through it, without one only another chain's jump does."""

    name: str
    type: str = ""
    hook: str = ""
    priority: int = 0

    @property
    def text(self) -> str:
        """As ``nft`` reads it."""
        return f"{{ type {self.type} hook {self.hook} priority {self.priority}; }}" if self.hook else ""

    def json(self, table: str) -> Command:
        """As ``nft -j`` reads it."""
        hook = {"type": self.type, "hook": self.hook, "prio": self.priority} if self.hook else {}
        return {"add": {"chain": {"family": FAMILY, "table": table, "name": self.name, **hook}}}


# The numbers are those of man 8 nft: raw, dstnat, filter, srcnat.
CHAINS = (
    Chain(PUBLISHED),
    Chain("guard", "filter", "prerouting", -300),
    Chain("prerouting", "nat", "prerouting", -100),
    Chain("output", "nat", "output", -100),
    Chain("forward", "filter", "forward", 0),
    Chain("postrouting", "nat", "postrouting", 100),
)


def rules(networks: Sequence[Subnet]) -> Iterator[Rule]:
    """What holds for networks, whatever ports are published."""
    yield Rule("prerouting", (_FOR_US, _jump(PUBLISHED)))
    # IPv6 knows no route_localnet: what is sent to ::1 stays on lo, and its answer would be lost. So it finds nobody there, at once.
    yield Rule("output", (_match("ip6", "daddr", "::1"), _RETURN))
    yield Rule("output", (_FOR_US, _jump(PUBLISHED)))
    for network in networks:
        yield from _of(network)


def _of(network: Subnet) -> Iterator[Rule]:
    name = network.bridge
    inside, outside = _meta("oifname", name), _meta("iifname", name, "!=")  # goes to the bridge, comes from elsewhere
    comes, leaves = _meta("iifname", name), _meta("oifname", name, "!=")
    # route_localnet lets 127.0.0.1 leave by the bridge; nothing may use it to come in.
    yield Rule("guard", (comes, _match("ip", "daddr", "127.0.0.0/8"), _DROP), name)
    if network.isolated:
        yield Rule("forward", (comes, inside, _DROP), name)
    if network.internal:
        yield Rule("forward", (inside, outside, _DROP), name)
        yield Rule("forward", (comes, leaves, _DROP), name)
    else:
        yield Rule("forward", (inside, outside, _STATE, _ACCEPT), name)
        yield Rule("forward", (inside, outside, _TRANSLATED, _ACCEPT), name)
        yield Rule("forward", (inside, outside, _DROP), name)
    for family, subnet in (("ip", network.subnet), ("ip6", network.subnet6)):
        if not subnet:
            continue
        source, back = _match(family, "saddr", subnet), _match(family, "daddr", subnet)
        if not network.internal and network.masquerades:
            yield Rule("postrouting", (source, leaves, _MASQUERADE), name)
        yield Rule("postrouting", (source, back, _TRANSLATED, _MASQUERADE), name)
        if family == "ip":
            yield Rule("postrouting", (_match(family, "saddr", "127.0.0.0/8"), inside, _MASQUERADE), name)


def publication(port: Published, comment: str) -> Rule:
    """The rule of a published port."""
    family = "ip6" if ip_address(port.to).version == 6 else "ip"
    everywhere = ip_address(port.address).is_unspecified
    where = _NFPROTO[family] if everywhere else _match(family, "daddr", port.address)
    to = f"[{port.to}]" if family == "ip6" else port.to
    target = Expression(f"dnat {family} to {to}:{port.to_port}", {"dnat": {"family": family, "addr": port.to, "port": port.to_port}})
    return Rule(PUBLISHED, (where, _match(port.protocol, "dport", port.port), target), comment)


def table(networks: Sequence[Subnet], name: str = TABLE) -> list[Command]:
    """The commands that make the table, or make it fit other networks; published ports stay as they are."""
    skeleton = [_add(name), *(chain.json(name) for chain in CHAINS)]
    empty = [_of_chain("flush", name, chain.name) for chain in CHAINS if chain.name != PUBLISHED]
    return [*skeleton, *empty, *(rule.json(name) for rule in rules(networks))]


def whole(networks: Sequence[Subnet], published: Mapping[str, Sequence[Published]], name: str = TABLE) -> list[Command]:
    """The commands after which the table is as it should be, whatever it was. ``published``: ports by the comment of their rules."""
    ports = [publication(port, comment).json(name) for comment, each in published.items() for port in each]
    return [*_gone(name), *table(networks, name), *ports]


def publish(ports: Sequence[Published], comment: str, name: str = TABLE) -> None:
    """Add the rules of one container's ports: all or none. ``NotFound`` if the table has gone."""
    nftables.run([publication(port, comment).json(name) for port in ports])
    flows.end(ports)


def withdraw(comment: str, name: str = TABLE) -> None:
    """Remove the rules that bear this comment; what is gone is fine."""
    for _ in range(5):
        handles = [handle for found, handle in in_force(name) if found == comment]
        if not handles:
            return
        rules = ({"family": FAMILY, "table": name, "chain": PUBLISHED, "handle": handle} for handle in handles)
        try:
            nftables.run([{"delete": {"rule": rule}} for rule in rules])
            return
        except NotFound:
            continue  # somebody has renewed the table in between: other handles


def in_force(name: str = TABLE) -> list[tuple[str, int]]:
    """Comment and handle of each rule of a published port that the kernel has now; ``is_whole`` says more."""
    try:
        found = nftables.listed("chain", FAMILY, name, PUBLISHED)
    except NotFound:
        return []
    rules = [rule for each in found if isinstance(rule := each.get("rule"), dict)]
    return [(str(rule.get("comment", "")), int(rule["handle"])) for rule in rules]


def is_whole(networks: Sequence[Subnet], published: Mapping[str, Sequence[Published]], name: str = TABLE) -> bool:
    """Whether the kernel still has all that ``whole`` makes; only counted, not compared word by word."""
    try:
        found = nftables.listed("table", FAMILY, name)
    except NotFound:
        return False
    has = [str(rule["chain"]) for each in found if isinstance(rule := each.get("rule"), dict)]
    wanted = [rule.chain for rule in rules(networks)]
    ports = sum(map(len, published.values()))
    return all(has.count(chain.name) >= wanted.count(chain.name) for chain in CHAINS) and has.count(PUBLISHED) >= ports


def tables() -> tuple[str, ...]:
    """The names of all tables of our family, whoever made them."""
    found = [table for each in nftables.listed("tables", FAMILY) if isinstance(table := each.get("table"), dict)]
    return tuple(str(table["name"]) for table in found)


def remove(name: str = TABLE) -> None:
    """Remove the table with all that is in it."""
    nftables.run(_gone(name))


def script(networks: Sequence[Subnet], name: str = TABLE) -> str:
    """``table`` for ``sh``."""
    lines = [f"add table {FAMILY} {name}"]
    lines += [f"add chain {FAMILY} {name} {chain.name} {chain.text}".rstrip() for chain in CHAINS]
    lines += [f"flush chain {FAMILY} {name} {chain.name}" for chain in CHAINS if chain.name != PUBLISHED]
    lines += [f"add rule {FAMILY} {name} {rule.chain} {rule.text}" for rule in rules(networks)]
    return "\n".join(("nft -f - <<'RULES'", *lines, "RULES"))


def _add(table: str) -> Command:
    return {"add": {"table": {"family": FAMILY, "name": table}}}


def _gone(table: str) -> list[Command]:
    """Only what is there can be deleted, so it is added before."""
    return [_add(table), {"delete": {"table": {"family": FAMILY, "name": table}}}]


def _of_chain(verb: str, table: str, chain: str) -> Command:
    return {verb: {"chain": {"family": FAMILY, "table": table, "name": chain}}}


def _match(protocol: str, field: str, value: str | int) -> Expression:
    right: object = value
    if isinstance(value, str) and "/" in value:
        subnet = ip_network(value)
        right = {"prefix": {"addr": str(subnet.network_address), "len": subnet.prefixlen}}
    left = {"payload": {"protocol": protocol, "field": field}}
    return Expression(f"{protocol} {field} {value}", {"match": {"op": "==", "left": left, "right": right}})


def _meta(key: str, value: str, op: str = "==") -> Expression:
    shown = f'"{value}"' if key.endswith("ifname") else value
    text = f"{'meta ' if key == 'nfproto' else ''}{key} {'!= ' if op == '!=' else ''}{shown}"
    return Expression(text, {"match": {"op": op, "left": {"meta": {"key": key}}, "right": value}})


def _ct(key: str, text: str, value: object) -> Expression:
    return Expression(f"ct {key} {text}", {"match": {"op": "in", "left": {"ct": {"key": key}}, "right": value}})


def _jump(chain: str) -> Expression:
    return Expression(f"jump {chain}", {"jump": {"target": chain}})


_FOR_US = Expression(
    "fib daddr type local", {"match": {"op": "==", "left": {"fib": {"result": "type", "flags": ["daddr"]}}, "right": "local"}}
)
_NFPROTO = {"ip": _meta("nfproto", "ipv4"), "ip6": _meta("nfproto", "ipv6")}
_STATE = _ct("state", "established,related", ["established", "related"])
_TRANSLATED = _ct("status", "dnat", "dnat")
_ACCEPT = Expression("accept", {"accept": None})
_DROP = Expression("drop", {"drop": None})
_RETURN = Expression("return", {"return": None})
_MASQUERADE = Expression("masquerade", {"masquerade": None})
