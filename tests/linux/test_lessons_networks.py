"""What notebook 07 joins: boxes, a switch, a laptop and containers; the picture of them follows, and with the lesson all is gone."""

import os
import socket
import subprocess
import threading

import pytest

from labkit import lessons
from labkit.errors import LabError, NotFound
from labkit.lessons import wiring
from labkit.lessons.terminals import terminal
from labkit.lessons.wiring import CABLE, LATE, SWITCH
from labkit.linux import links, namespaces, nftables
from labkit.network import survey
from labkit.network.survey import MACHINE
from labkit.views.network import Network

NOTEBOOK = "96-test"


@pytest.fixture
def lesson():
    begun = lessons.begin(NOTEBOOK)
    yield begun
    assert begun.end(), begun.remains()


@pytest.fixture
def net(lesson):
    return wiring.start(lesson)


def pair(one, other):
    subprocess.run(f"ip link add eth0 netns {one.pid} type veth peer name eth0 netns {other.pid}".split(), check=True)


# ── Boxes and what joins them ────────────────────────────────────────────────────────────────────────────────────────


def test_new_boxes_take_the_place_of_the_former_ones_and_of_their_switch(net):
    net.half_plugged()
    assert [name for name in (SWITCH, LATE) if not links.exists(name)] == []
    (red,) = net.boxes("red")
    assert net.people() == {"red": red.pid} and not links.exists(SWITCH) and not links.exists(LATE)
    with pytest.raises(NotFound):
        net.box("first")


def test_boxes_have_no_link_but_lo(net):
    assert [links.names(box.pid) for box in net.boxes("red", "blue")] == [("lo",), ("lo",)]


def test_a_survey_sees_a_cable_between_boxes_once_with_both_its_ends(net):
    red, blue = net.boxes("red", "blue")
    pair(red, blue)
    red.run("ip addr add 10.0.0.1/24 dev eth0; ip link set eth0 up")
    (cable,) = net.survey().cables
    assert (cable.one.place, cable.one.addresses, cable.one.is_up) == ("red", ("10.0.0.1/24",), True)
    assert (cable.other.place, cable.other.addresses, cable.other.is_up) == ("blue", (), False)


def test_a_survey_sees_who_is_on_a_switch_and_who_is_not(net):
    net.half_plugged()
    seen = net.survey()
    assert [bridge.name for bridge in seen.bridges] == [SWITCH]
    assert {cable.other.place: cable.one.bridge for cable in seen.cables} == {"first": SWITCH, "late": ""}


def test_who_lives_in_this_machines_namespace_is_a_guest_and_who_has_ended_is_gone(net):
    (red,) = net.boxes("red")
    pid = red.pid
    seen = survey.take({"me": os.getpid(), "red": pid, "twin": pid})
    assert (seen.places, seen.guests) == (("red, twin",), ("me",))
    red.close()
    assert survey.take({"red": pid}).gone == ("red",)


def test_the_machine_of_a_survey_is_the_namespace_of_the_thread_that_asks(net):
    red, blue = net.boxes("red", "blue")
    pair(red, blue)
    with namespaces.entered(red.pid, "net"):
        (cable,) = survey.take({"blue": blue.pid}).cables
    assert (cable.one.place, cable.other.place) == (MACHINE, "blue")


def test_the_laptop_is_reached_and_reaches_this_machine(net):
    laptop = net.laptop()
    assert net.laptop() is laptop
    assert laptop.run(f"busybox ping -c 1 -W 5 {net.address} > /dev/null && echo yes") == "yes"
    assert net.visit(f"{net.address}:9", laptop) == "refused"


# ── Ports ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_port_that_is_taken_makes_way_for_the_next_and_the_answer_stays(net):
    wanted = net.port(18080)
    other = wiring.Wiring(net.daemon)
    with socket.create_server(("0.0.0.0", wanted)):
        found = other.port(wanted)
        assert found > wanted
    assert other.port(wanted) == found


def test_a_port_that_somebody_has_taken_since_makes_way_but_not_one_that_a_container_of_ours_has(net):
    port = net.port(18080)
    terminal(f"docker run -d --name=web -p {port}:80 page")
    assert net.port(18080) == port
    net.daemon.remove("web")
    with socket.create_server(("0.0.0.0", port)):
        assert net.port(18080) > port


def test_a_page_is_waited_for_but_not_for_ever(net, monkeypatch):
    net.run("web")
    net.ready("web")
    assert net.visit(net.address_of("web")).startswith("Hello, ")
    terminal("docker run -d --name=deaf page sleep 600")
    monkeypatch.setattr(wiring, "_PATIENCE", 0.1)
    with pytest.raises(LabError, match="deaf does not answer"):
        net.ready("deaf")


def test_the_evidence_of_a_container_has_port_rule_and_who_gets_in(net):
    port = net.port(18080)
    terminal(f"docker run -d --name=web -p 127.0.0.1:{port}:80 page")
    said = [answer for _, answer in net.evidence("web").said]
    assert said[0] == f"LISTEN  127.0.0.1:{port}"
    assert said[1].startswith(f"ip daddr 127.0.0.1 tcp dport {port} dnat ip to {net.address_of('web')}:80")
    assert said[2].startswith("Hello, 1") and said[3] == "refused"
    assert f"laptop$ curl http://198.51.100.1:{port}" in repr(net.evidence("web"))


def test_a_container_without_a_door_has_no_evidence(net):
    net.run("shut")
    assert "no rule leads to shut" in repr(net.evidence("shut"))


def test_a_container_that_cannot_start_is_an_error(net):
    with pytest.raises(LabError, match="nowhere"):
        net.run("lost", NetworkMode="nowhere")


# ── The picture ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_picture_follows_containers_addresses_and_rules(net):
    drawn = threading.Condition()
    picture = Network(net.people, (SWITCH, net.bridge), net.table)
    shown = picture.widget().children[0]

    def hear(_):
        with drawn:
            drawn.notify_all()

    def shows(words):
        with drawn:
            return drawn.wait_for(lambda: words in shown.value, 20)

    def hides(words):
        with drawn:
            return drawn.wait_for(lambda: words not in shown.value.partition("in words")[2], 20)

    shown.observe(hear, "value")
    try:
        net.boxes("red")
        net.laptop()
        assert shows("lk-laptop 198.51.100.1/24")
        port = net.port(18080)
        terminal(f"docker run -d --name=web -p {port}:80 page")
        assert shows(f"0.0.0.0:{port} ▸ 80/tcp")
        net.daemon.remove("web")
        assert hides("of web")
    finally:
        picture.close()


# ── The end ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_with_the_lesson_boxes_laptop_switch_bridges_and_rules_are_gone(lesson, net, monkeypatch):
    net.half_plugged()
    net.laptop()
    net.apart()
    assert lesson.end()
    assert not [name for name in links.names() if name in (SWITCH, CABLE, LATE, net.bridge)]
    assert net.table not in {table["table"]["name"] for table in nftables.listed("tables", "inet") if "table" in table}
    with pytest.raises(LabError, match="over"):
        net.people()


def test_what_was_in_the_environment_before_is_there_again(lesson, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///somewhere/else.sock")
    monkeypatch.delenv("no_proxy", raising=False)
    net = wiring.start(lesson)
    assert os.environ["DOCKER_HOST"] == f"unix://{net.daemon.socket}"
    assert lesson.end()
    assert os.environ["DOCKER_HOST"] == "unix:///somewhere/else.sock" and "no_proxy" not in os.environ


def test_what_a_notebook_that_was_killed_has_left_is_gone_when_the_next_begins(lesson):
    for name in (SWITCH, "lk-port1"):
        links.add_bridge(name, 1500)
    wiring.start(lesson)
    assert not links.exists(SWITCH) and not links.exists("lk-port1")
