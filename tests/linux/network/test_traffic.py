"""Packets between containers, the machine and another machine: the kernel says who may talk with whom, and as whom."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from labkit.linux import addresses, conntrack, namespaces, sysctls
from labkit.linux.conntrack import Flow
from labkit.network import nat
from labkit.network.nat import Published
from labkit.network.steps.publish import PublishPorts
from labkit.network.steps.step import Somebody
from tests import packets
from tests.linux.network.conftest import BLUE, INNER, RED, Machine
from tests.packets import MACHINE, MACHINE6, OTHER

WEB, APP = "172.18.0.2", "172.18.0.3"


@pytest.fixture
def web(machine: Machine) -> Machine:
    machine.connect("web", BLUE, WEB, "fd00:18::2")
    machine.connect("app", BLUE, APP, "fd00:18::3")
    return machine


def publish(machine: Machine, *ports: Published) -> None:
    with namespaces.entered(machine.box.pid, "net"):
        nat.publish(ports, "web")


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_port_of_every_address_is_reached_from_everywhere(web: Machine, kind: str) -> None:
    publish(web, Published(kind, "0.0.0.0", 8080, WEB, 80))
    app, container = web.containers["app"], web.containers["web"]
    assert web.ask(web.other, MACHINE, 8080, kind) == OTHER
    assert web.ask(web.box, MACHINE, 8080, kind) == MACHINE
    assert web.ask(web.box, "127.0.0.1", 8080, kind) == BLUE.gateway
    assert web.ask(app, MACHINE, 8080, kind) == BLUE.gateway
    assert web.ask(app, BLUE.gateway, 8080, kind) == BLUE.gateway
    assert web.ask(container, MACHINE, 8080, kind) == BLUE.gateway
    assert web.ask(app, WEB, 80, kind) == APP


def test_a_port_of_loopback_is_the_machines_alone(web: Machine) -> None:
    publish(web, Published("tcp", "127.0.0.1", 8080, WEB, 80))
    assert web.ask(web.box, "127.0.0.1", 8080) == BLUE.gateway
    assert web.ask(web.other, MACHINE, 8080) == ""
    assert web.ask(web.containers["app"], BLUE.gateway, 8080) == ""


def test_a_port_of_ipv6_is_reached_over_ipv6(web: Machine) -> None:
    publish(web, Published("tcp", "::", 8080, "fd00:18::2", 80))
    with namespaces.entered(web.box.pid, "net"):
        sysctls.write("net.ipv6.conf.all.forwarding", "1")
    assert web.ask(web.other, "fd00:2::2", 8080) == "fd00:2::1"
    assert web.ask(web.box, "fd00:2::2", 8080) == "fd00:2::2"
    assert web.ask(web.other, MACHINE, 8080) == ""


def test_what_is_not_published_is_not_reached_from_outside(web: Machine) -> None:
    publish(web, Published("tcp", "0.0.0.0", 8080, WEB, 80))
    with namespaces.entered(web.other.pid, "net"):
        addresses.route(BLUE.subnet, MACHINE)  # a neighbour who knows the way
    assert web.ask(web.other, APP, 80) == ""
    assert web.ask(web.other, WEB, 80) == ""
    assert web.ask(web.box, WEB, 80) == BLUE.gateway


def test_a_container_leaves_the_machine_as_the_machine(web: Machine) -> None:
    web.serve(web.other, 99)
    assert web.ask(web.containers["app"], OTHER, 99) == MACHINE
    assert web.ask(web.containers["app"], OTHER, 99, "udp") == MACHINE


def test_networks_are_apart_but_for_published_ports(web: Machine) -> None:
    stranger = web.connect("stranger", RED, "172.19.0.2")
    assert web.ask(stranger, WEB, 80) == ""
    publish(web, Published("tcp", "0.0.0.0", 8080, WEB, 80))
    assert web.ask(stranger, MACHINE, 8080) != ""


def test_an_internal_network_has_no_way_out_and_none_in(web: Machine) -> None:
    inner = web.connect("inner", INNER, "172.20.0.2")
    web.connect("inner2", INNER, "172.20.0.3")
    web.serve(web.other, 99)
    with namespaces.entered(inner.pid, "net"):
        addresses.route("default", INNER.gateway)  # even if it tries
    assert web.ask(inner, "172.20.0.3", 80) == "172.20.0.2"
    assert web.ask(inner, OTHER, 99) == ""
    assert web.ask(web.containers["app"], "172.20.0.2", 80) == ""


def test_no_container_reaches_what_listens_on_the_machines_loopback(web: Machine) -> None:
    web.serve(web.box, 99)
    app = web.containers["app"]
    with namespaces.entered(app.pid, "net"):
        # Loopback by way of the gateway, as an attacker with CAP_NET_RAW or such a route would try (CVE-2020-8558).
        sysctls.write("net.ipv4.conf.all.route_localnet", "1")
        sysctls.write("net.ipv4.conf.eth0.route_localnet", "1")
        app.run("ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.1/32 via 172.18.0.1 src 172.18.0.3")
    assert web.ask(app, "127.0.0.1", 99) == ""
    assert web.ask(web.box, "127.0.0.1", 99) == "127.0.0.1"


@pytest.mark.parametrize("firewall", ["iptables-legacy", "iptables-nft"])
def test_it_works_beside_an_iptables_that_drops_what_nobody_accepts(machine: Machine, firewall: str) -> None:
    machine.box.run(f"{firewall} -P FORWARD DROP")
    before = machine.box.run(f"{firewall} -S")
    machine.connect("web", BLUE, WEB)
    publish(machine, Published("tcp", "0.0.0.0", 8080, WEB, 80))
    assert machine.ask(machine.other, MACHINE, 8080) == OTHER
    with namespaces.entered(machine.box.pid, "net"):
        machine.fabric.lower(BLUE)
    assert machine.box.run(f"{firewall} -S") == before


@pytest.mark.parametrize(("address", "six"), [(MACHINE, ""), (MACHINE6, "fd00:18::")])
def test_a_client_of_udp_that_goes_on_sending_reaches_whoever_the_port_leads_to_next(web: Machine, address: str, six: str) -> None:
    everywhere = "::" if six else "0.0.0.0"
    first = PublishPorts("web", (Published("udp", everywhere, 53, f"{six}2" if six else WEB, 80),))
    second = PublishPorts("app", (Published("udp", everywhere, 53, f"{six}3" if six else APP, 81),))
    web.serve(web.containers["app"], 81)
    with namespaces.entered(web.box.pid, "net"):
        sysctls.write("net.ipv6.conf.all.forwarding", "1")

    def ask() -> str:
        return packets.asked(web.other.pid, address, 53, "udp", mine=5353)

    def does(act: Callable[[], None]) -> list[Flow]:
        with namespaces.entered(web.box.pid, "net"):
            act()
            return [flow for flow in conntrack.flows("udp") if flow.to_port == 53]

    assert ask() == "", "nobody is there, and the kernel takes a note of it"
    assert does(lambda: first.apply(Somebody())) == []
    assert ask() != ""
    assert [flow.answered_at for flow in does(lambda: None)] == [80]
    assert does(first.undo) == [], "or it would go on to whoever gets the address next"
    assert ask() == ""
    does(lambda: second.apply(Somebody()))
    assert ask() != ""
    assert [flow.answered_at for flow in does(lambda: None)] == [81]


def test_only_flows_of_udp_for_the_port_are_ended(web: Machine) -> None:
    web.serve(web.other, 53)
    web.serve(web.box, 99)
    packets.asked(web.containers["app"].pid, OTHER, 53, "udp")  # of another machine
    packets.asked(web.other.pid, MACHINE, 99, "udp")  # another port
    packets.asked(web.other.pid, MACHINE, 99, "tcp")
    with namespaces.entered(web.box.pid, "net"):
        before = {flow.key for kind in ("tcp", "udp") for flow in conntrack.flows(kind)}
        nat.publish((Published("udp", "0.0.0.0", 53, WEB, 80), Published("tcp", "0.0.0.0", 99, WEB, 80)), "web")
        assert {flow.key for kind in ("tcp", "udp") for flow in conntrack.flows(kind)} == before
    assert len(before) >= 3
