"""Which link is the other end of which, across namespaces that count alike; and that what happens there is heard here."""

import os
import subprocess
import threading

import pytest

from labkit.linux import cables, namespaces
from labkit.linux.cables import HERE, End
from labkit.linux.linknews import LinkNews


def ip(words):
    subprocess.run(["ip", *words.split()], check=True)


@pytest.fixture
def three():
    boxes = [namespaces.new("net") for _ in range(3)]
    yield boxes
    for each in boxes:
        each.close()


@pytest.fixture
def news():
    made = LinkNews()
    yield made
    made.close()


def lay(one, other, name="eth0", peer="eth0"):
    ip(f"link add {name} netns {one.pid} type veth peer name {peer} netns {other.pid}")


def told(box, others):
    """The ends in a box, each with the number in ``others`` of whom it leads to."""
    with namespaces.entered(box.pid, "net"):
        ends, ids = cables.ends(), {}
        for number, other in enumerate(others):
            with open(f"/proc/{other.pid}/ns/net") as space:
                ids[cables.id_of(space.fileno())] = number
        return [(end.index, end.peer, ids.get(end.where)) for end in ends]


def test_ends_that_have_the_same_numbers_are_told_apart_by_their_namespaces(three):
    red, blue, green = three
    lay(red, blue)
    lay(red, green, "eth1")
    assert told(red, three) == [(2, 2, 1), (3, 2, 2)]
    assert told(blue, three) == [(2, 2, 0)] and told(green, three) == [(2, 3, 0)]


def test_a_pair_in_one_namespace_is_here(three):
    lay(three[0], three[0], "one", "two")
    with namespaces.entered(three[0].pid, "net"):
        assert set(cables.ends()) == {End(2, 3, HERE), End(3, 2, HERE)}


def test_a_namespace_without_cables_has_no_ends_and_no_id_for_others(three):
    assert told(three[0], three) == []
    with namespaces.entered(three[0].pid, "net"), open(f"/proc/{three[1].pid}/ns/net") as space:
        assert cables.id_of(space.fileno()) == HERE


def test_an_id_is_given_once_and_stays(three):
    with open(f"/proc/{three[0].pid}/ns/net") as space:
        cables.give_id(space.fileno())
        first = cables.id_of(space.fileno())
        cables.give_id(space.fileno())
        assert cables.id_of(space.fileno()) == first != HERE


def test_what_happens_in_a_namespace_that_has_an_id_is_heard(three, news):
    red, blue, _ = three
    lay(red, blue)
    with open(f"/proc/{red.pid}/ns/net") as space:
        cables.give_id(space.fileno())
    heard = threading.Event()
    listener = threading.Thread(target=lambda: news.wait() and heard.set())
    listener.start()
    red.run("ip addr add 10.0.0.1/24 dev eth0")
    assert heard.wait(10)
    listener.join()


def test_a_rule_of_the_firewall_is_heard(news):
    try:
        subprocess.run(["nft", "add table inet labkit_heard; add chain inet labkit_heard c"], check=True)
        assert news.wait(10)
        subprocess.run(["nft", "add rule inet labkit_heard c accept"], check=True)
        assert news.wait(10)
    finally:
        subprocess.run(["nft", "delete table inet labkit_heard"], check=True)


def test_to_listen_does_not_keep_a_namespace_alive(three, news):
    ip(f"link add lk-heard type veth peer name eth0 netns {three[0].pid}")
    with open(f"/proc/{three[0].pid}/ns/net") as space:
        cables.give_id(space.fileno())
    three[0].close()
    while os.path.exists("/sys/class/net/lk-heard"):  # the kernel ends the pair with the namespace, and tells of it
        news.wait(10)


def test_who_waits_is_told_when_it_is_closed(news):
    said = []
    listener = threading.Thread(target=lambda: said.append([news.wait() for _ in iter(news.wait, False)]))
    listener.start()
    news.close()
    listener.join(10)
    assert not listener.is_alive()
