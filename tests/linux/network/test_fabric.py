from __future__ import annotations

import socket

import pytest

from labkit.errors import Conflict, NotFound
from labkit.linux import links, namespaces
from labkit.network import nat
from labkit.network.fabric import Fabric
from labkit.network.nat import Published
from labkit.network.resolver import Resolver
from labkit.network.steps.bridge import MakeBridge
from labkit.network.steps.publish import PublishPorts
from labkit.network.steps.step import Somebody
from labkit.network.steps.veth import VethPair
from labkit.network.watch import Watch
from tests.linux.network.conftest import BLUE, RED, Machine
from tests.packets import until

WEB = "172.18.0.2"
PORT = Published("tcp", "0.0.0.0", 8080, WEB, 80)


@pytest.mark.parametrize(
    "command", ["nft flush ruleset", "nft delete table inet labkit", "nft flush table inet labkit; nft delete chain inet labkit forward"]
)
def test_what_somebody_deletes_by_hand_is_made_anew(machine: Machine, command: str) -> None:
    machine.connect("web", BLUE, WEB)
    with namespaces.entered(machine.box.pid, "net"):
        machine.fabric.expect("web", (PORT,))
        nat.publish((PORT,), "web")
        watch = Watch(machine.fabric.repair)
    try:
        machine.box.run(command)
        assert until(lambda: "dnat ip to 172.18.0.2:80" in machine.box.run("nft list ruleset"))
        assert machine.ask(machine.other, "192.0.2.2", 8080) == "192.0.2.1"
    finally:
        watch.close()


def test_a_network_that_is_lowered_leaves_nothing_and_the_others_stay(machine: Machine) -> None:
    with namespaces.entered(machine.box.pid, "net"):
        before = links.names()
        machine.fabric.raise_up(BLUE)
        machine.fabric.raise_up(RED)
        machine.fabric.raise_up(BLUE)
        machine.fabric.lower(RED)
        assert links.names() == (*before, "lk-blue")
        assert "lk-red" not in machine.box.run("nft list ruleset")
        machine.fabric.lower(BLUE)
        assert links.names() == before
        assert nat.tables() == ()


def test_closing_takes_down_what_nobody_is_in(machine: Machine) -> None:
    machine.connect("web", BLUE, WEB)
    with namespaces.entered(machine.box.pid, "net"):
        machine.fabric.raise_up(RED)
        Fabric("labkit").close([RED])  # of a process that has not raised it
        assert links.exists("lk-blue")
        assert not links.exists("lk-red")


def test_rules_of_others_are_not_touched(machine: Machine) -> None:
    machine.box.run("nft add table inet theirs; nft add chain inet theirs c; nft add rule inet theirs c tcp dport 1 drop")
    before = machine.box.run("nft list table inet theirs")
    with namespaces.entered(machine.box.pid, "net"):
        machine.fabric.raise_up(BLUE)
        machine.fabric.renew()
        machine.fabric.lower(BLUE)
    assert machine.box.run("nft list ruleset") == before


@pytest.mark.parametrize(
    ("made", "what"),
    [
        ("ip link add lk-blue type veth peer name lk-peer", "a link of kind veth"),
        ("ip link add lk-blue type bridge; ip addr add 10.7.0.1/24 dev lk-blue", r"a bridge with 10\.7\.0\.1/24"),
    ],
)
def test_a_link_of_the_bridges_name_that_is_not_ours_is_left_alone(machine: Machine, made: str, what: str) -> None:
    machine.box.run(made)
    with namespaces.entered(machine.box.pid, "net"), pytest.raises(Conflict, match=what):
        MakeBridge("lk-blue", "172.18.0.1/16", 1500).apply(Somebody())
    assert "172.18" not in machine.box.run("ip addr")


def test_undoing_twice_or_what_was_never_done_is_fine(machine: Machine) -> None:
    machine.connect("web", BLUE, WEB)
    with namespaces.entered(machine.box.pid, "net"):
        steps = (PublishPorts("web", (PORT,)), VethPair("lkweb", "eth0", "lk-blue", "", 1500))
        steps[0].apply(Somebody())
        for step in (*steps, *steps, PublishPorts("other", (PORT,), "no_such_table")):
            step.undo()
        assert nat.in_force() == []
        assert until(lambda: not links.exists("lkweb"))


def test_only_the_rules_of_one_container_are_withdrawn(machine: Machine) -> None:
    with namespaces.entered(machine.box.pid, "net"):
        machine.fabric.raise_up(BLUE)
        nat.publish((PORT,), "web")
        nat.publish((Published("tcp", "0.0.0.0", 8081, "172.18.0.3", 80),), "app")
        nat.withdraw("web")
        assert [comment for comment, _ in nat.in_force()] == ["app"]


def test_ports_without_a_table_are_an_error_that_says_so(machine: Machine) -> None:
    with namespaces.entered(machine.box.pid, "net"), pytest.raises(NotFound, match="nft"):
        nat.publish((PORT,), "web")


def test_the_steps_in_shell_make_the_same_as_applied(machine: Machine) -> None:
    with namespaces.entered(machine.box.pid, "net"):
        for step in machine.fabric.steps(BLUE):
            step.apply(Somebody())
        PublishPorts("web", (PORT,)).apply(Somebody())
        wanted = machine.box.run("nft list table inet labkit; ip -o addr show lk-blue; cat /proc/sys/net/ipv4/conf/lk-blue/route_localnet")
    with namespaces.new("net") as twin:
        for step in (*machine.fabric.steps(BLUE), PublishPorts("web", (PORT,))):
            twin.run(step.shell())
        found = twin.run("nft list table inet labkit; ip -o addr show lk-blue; cat /proc/sys/net/ipv4/conf/lk-blue/route_localnet")
        assert _without_numbers(found) == _without_numbers(wanted)
        twin.run(PublishPorts("web", (PORT,)).shell_undo())
        assert "dnat ip to" not in twin.run("nft list table inet labkit")


def _without_numbers(text: str) -> list[str]:
    """Without the indices of links, and without fe80:: addresses, which may come a moment later."""
    return [line.partition(": ")[2] or line for line in text.splitlines() if "inet6 fe80" not in line]


def test_names_are_answered_in_the_containers_namespace(machine: Machine) -> None:
    box = machine.connect("web", BLUE, WEB)
    resolver = Resolver(lambda asker, name: (WEB,) if (asker, name) == ("web", "db.") else None)
    try:
        resolver.attend("web", box.pid, is_internal=True)
        with namespaces.entered(box.pid, "net"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.settimeout(5)
            asker.connect(("127.0.0.11", 53))
            asker.send(bytes.fromhex("0707010000010000000000000264620000010001"))
            assert socket.inet_aton(WEB) in asker.recv(512)
            asker.send(bytes.fromhex("0707010000010000000000000278790000010001"))
            assert asker.recv(512)[2:4] == b"\x81\x82"  # SERVFAIL: there is nobody to ask
    finally:
        resolver.close()
