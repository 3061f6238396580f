from __future__ import annotations

import json

import pytest

from labkit import codec
from labkit.network import nat
from labkit.network.nat import Published
from labkit.network.steps.publish import PublishPorts
from labkit.network.steps.table import MakeTable
from labkit.network.steps.veth import VethPair
from labkit.network.subnet import Subnet, bridge_mac, mac, veth

BLUE = Subnet("lk-blue", "172.18.0.0/16", "172.18.0.1")
WEB = Published("tcp", "0.0.0.0", 8080, "172.18.0.2", 80)


def texts(network: Subnet, chain: str) -> list[str]:
    return [rule.text for rule in nat.rules([network]) if rule.chain == chain]


@pytest.mark.parametrize(
    ("port", "text"),
    [
        (WEB, "meta nfproto ipv4 tcp dport 8080 dnat ip to 172.18.0.2:80"),
        (Published("udp", "127.0.0.1", 53, "172.18.0.2", 53), "ip daddr 127.0.0.1 udp dport 53 dnat ip to 172.18.0.2:53"),
        (Published("tcp", "::", 80, "fd00::2", 80), "meta nfproto ipv6 tcp dport 80 dnat ip6 to [fd00::2]:80"),
        (Published("tcp", "fd00::9", 80, "fd00::2", 80), "ip6 daddr fd00::9 tcp dport 80 dnat ip6 to [fd00::2]:80"),
    ],
)
def test_a_published_port_is_one_rule(port: Published, text: str) -> None:
    assert nat.publication(port, "web").text == f'{text} comment "web"'


def test_what_leaves_is_masqueraded_and_what_stays_is_not() -> None:
    assert 'ip saddr 172.18.0.0/16 oifname != "lk-blue" masquerade comment "lk-blue"' in texts(BLUE, "postrouting")


def test_from_outside_only_answers_and_published_ports_come_in() -> None:
    ways_in = [text.partition('iifname != "lk-blue" ')[2] for text in texts(BLUE, "forward")]
    assert [way.partition(" comment")[0] for way in ways_in] == ["ct state established,related accept", "ct status dnat accept", "drop"]


def test_an_internal_network_has_no_way_out_and_none_in() -> None:
    internal = Subnet("lk-in", "10.0.0.0/24", "10.0.0.1", internal=True)
    assert [text.rpartition(" comment")[0].rpartition(" ")[2] for text in texts(internal, "forward")] == ["drop", "drop"]
    assert not any('oifname != "lk-in" masquerade' in text for text in texts(internal, "postrouting"))


def test_nobody_reaches_the_machines_loopback_from_a_bridge() -> None:
    assert texts(BLUE, "guard") == ['iifname "lk-blue" ip daddr 127.0.0.0/8 drop comment "lk-blue"']


def test_a_network_may_keep_its_containers_apart() -> None:
    apart = Subnet("lk-a", "10.0.0.0/24", "10.0.0.1", isolated=True)
    assert texts(apart, "forward")[0] == 'iifname "lk-a" oifname "lk-a" drop comment "lk-a"'


def test_every_command_is_json_and_names_our_table() -> None:
    for command in nat.whole([BLUE], {"web": [WEB]}, "mine"):
        text = json.dumps(command)
        assert '"inet"' in text
        assert '"mine"' in text


def test_steps_that_are_undone_can_be_read_back_from_the_journal() -> None:
    for step in (PublishPorts("web", (WEB,), "mine"), VethPair("lk1", "eth0", "lk-blue", "02:42:ac:12:00:02", 1500)):
        assert step.undoable
        assert codec.decode(type(step), json.loads(json.dumps(codec.encode(step)))) == step


def test_what_belongs_to_a_network_is_not_undone_with_a_container() -> None:
    assert not MakeTable((BLUE,)).undoable


def test_addresses_of_links_are_dockers_and_names_fit() -> None:
    assert mac("172.17.0.2") == "02:42:ac:11:00:02"
    assert len(bytes.fromhex(bridge_mac("labkit0").replace(":", ""))) == 6
    assert len(veth("4cfc" * 16, "beef" * 16)) < 16
    assert veth("a", "b") != veth("a", "c")
