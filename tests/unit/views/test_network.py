"""The picture of a network: what stands where, in words and in drawings, and that it follows what the kernel tells."""

import itertools
import json
import re
import threading
from dataclasses import replace

import pytest

from labkit.errors import LabError
from labkit.network import survey
from labkit.network.nat import Published
from labkit.network.survey import Bridge, Cable, Door, Plug, Survey
from labkit.views import network, network_layout
from labkit.views.network import Network

NOTHING = Survey((), (), (), (), (), (), ())
RED, BLUE = Plug("red", "eth0", ("10.0.0.1/24",), True), Plug("blue", "eth0", ("10.0.0.2/24",), True)
LAID = replace(NOTHING, places=("red", "blue"), cables=(Cable(RED, BLUE),))


def port(place, address="", bridge="lk0", link="lk1"):
    return Cable(Plug("", link, (), True, bridge), Plug(place, "eth0", (address,) if address else (), True))


def door(place, address="0.0.0.0", number=8080):
    return Door(Published("tcp", address, number, "172.17.0.2", 80), place)


SERVED = replace(
    NOTHING,
    places=("web", "laptop", "db"),
    cables=(
        port("web", "172.17.0.2/16"),
        Cable(Plug("", "lk-laptop", ("198.51.100.1/24",), True), Plug("laptop", "eth0", ("198.51.100.2/24",), True)),
        port("db", "172.17.0.3/16", link="lk2"),
    ),
    bridges=(Bridge("lk0", ("172.17.0.1/16",), True),),
    doors=(door("web"), door("web", "127.0.0.1", 8081)),
    ways_out=("172.17.0.0/16",),
)


class Kernel:
    """What ``survey.take`` sees, and a listener that hears when ``tell`` says so."""

    def __init__(self):
        self.seen = NOTHING
        self.people = {}
        self.listeners = []

    def take(self, people, bridges, table):
        assert (people, bridges, table) == (self.people, ("lk0",), "labkit")
        return self.seen

    def listen(self):
        self.listeners.append(Listener())
        return self.listeners[-1]


class Listener:
    def __init__(self):
        self.told = threading.Semaphore(0)
        self.is_closed = False

    def wait(self):
        self.told.acquire()
        return not self.is_closed

    def close(self):
        self.is_closed = True
        self.told.release()


@pytest.fixture
def kernel(monkeypatch):
    made = Kernel()
    monkeypatch.setattr(survey, "take", made.take)
    monkeypatch.setattr(network, "LinkNews", made.listen)
    yield made
    for each in made.listeners:
        each.close()


@pytest.fixture
def view(kernel):
    def look(seen):
        kernel.seen = seen
        return Network(lambda: kernel.people, ["lk0"], "labkit")

    return look


# ── In words ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_cable_from_place_to_place_is_told_with_both_its_ends(view):
    assert str(view(LAID)) == "this machine\ncable eth0 of red, 10.0.0.1/24 ═ eth0 of blue, 10.0.0.2/24"


def test_who_is_plugged_in_stands_below_the_bridge_and_doors_say_where_they_lead_and_for_whom(view):
    assert str(view(SERVED)).splitlines() == [
        "this machine",
        "  bridge lk0 172.17.0.1/16 · masquerade",
        "    ═ eth0 of web, 172.17.0.2/16",
        "    ═ eth0 of db, 172.17.0.3/16",
        "  cable lk-laptop 198.51.100.1/24 ═ eth0 of laptop, 198.51.100.2/24",
        "  port 0.0.0.0:8080/tcp ▸ 172.17.0.2:80 of web · for everybody",
        "  port 127.0.0.1:8081/tcp ▸ 172.17.0.2:80 of web · for this machine alone",
    ]


def test_what_is_missing_is_told(view):
    loose = Cable(replace(RED, addresses=(), is_up=False), BLUE)
    joined = replace(LAID, places=("red", "blue", "green"), cables=(loose,), bridges=(Bridge("lk0", (), False),))
    seen = replace(joined, guests=("tom",), gone=("old",))
    assert str(view(seen)).splitlines() == [
        "this machine",
        "  bridge lk0 without an address  (down)",
        "  tom lives in this machine's own namespace",
        "cable eth0 of red, no address  (down) ═ eth0 of blue, 10.0.0.2/24",
        "green: no cable",
        "old has ended",
    ]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("0.0.0.0", "for everybody"),
        ("::", "for everybody"),
        ("127.0.0.9", "for this machine alone"),
        ("::1", "for this machine alone"),
        ("192.0.2.7", "for who comes to 192.0.2.7"),
    ],
)
def test_for_whom_a_port_is_open_follows_from_its_address(address, words):
    assert network_layout.who(address) == words


# ── Where it stands ──────────────────────────────────────────────────────────────────────────────────────────────────


def boxes(seen, kind):
    return {box.key: box for box in network_layout.of(seen).boxes if box.kind == kind}


def wires(seen, *kinds):
    return [wire for wire in network_layout.of(seen).wires if wire.kind in kinds]


def test_who_is_on_the_same_bridge_stands_side_by_side_below_it():
    places, (bridge,) = boxes(SERVED, "place"), boxes(SERVED, "bridge").values()
    assert sorted(places, key=lambda name: places[name].x) == ["web", "db", "laptop"]
    for name in "web", "db":
        assert bridge.x <= places[name].x and places[name].x + places[name].width <= bridge.x + bridge.width
        assert places[name].y > bridge.y + bridge.height


def test_a_cable_goes_from_the_bridge_to_its_place_and_bears_the_name_of_its_end_here():
    places, (bridge,) = boxes(SERVED, "place"), boxes(SERVED, "bridge").values()
    found = {wire.label: wire.points for wire in wires(SERVED, "cable")}
    assert found["lk1"][0][1] == bridge.y + bridge.height and found["lk1"][-1][1] == places["web"].y
    assert places["db"].x < found["lk2"][-1][0] < places["db"].x + places["db"].width


def test_a_cable_between_places_goes_below_them():
    (wire,), places = wires(LAID, "cable"), boxes(LAID, "place")
    assert wire.points[0][1] == places["red"].y + places["red"].height < wire.points[1][1] == wire.points[2][1]


def test_a_cable_that_is_down_and_a_place_without_one_are_drawn_in_other_ways():
    seen = replace(LAID, places=("red", "blue", "green"), cables=(Cable(replace(RED, is_up=False), BLUE),))
    assert [wire.kind for wire in wires(seen, "cable", "loose")] == ["loose"]
    assert boxes(seen, "alone")["green"].lines == ("green", "no cable")


def test_only_a_door_that_outsiders_can_reach_has_a_way_in():
    ways = {wire.key: wire.kind for wire in wires(SERVED, "in")}
    assert list(ways) == ["0.0.0.0:8080/tcp → 172.17.0.2:80"]
    assert len(wires(SERVED, "on")) == 2


def test_a_place_on_two_bridges_has_a_cable_to_each_and_both_lines_of_addresses():
    second = Cable(Plug("", "lk3", (), True, "lk-shop"), Plug("web", "eth1", ("172.18.0.2/16",), True))
    seen = replace(SERVED, cables=(*SERVED.cables, second), bridges=(*SERVED.bridges, Bridge("lk-shop", ("172.18.0.1/16",), True)))
    assert boxes(seen, "place")["web"].lines == ("web", "eth0  172.17.0.2/16", "eth1  172.18.0.2/16")
    ends = [wire.points[-1] for wire in wires(seen, "cable") if wire.label in ("lk1", "lk3")]
    assert ends[0] != ends[1] and ends[0][1] == ends[1][1]


LOST = replace(SERVED, doors=(door("", number=1), door("web")))


@pytest.mark.parametrize("seen", [NOTHING, LAID, SERVED, LOST], ids=["nothing", "laid", "served", "lost"])
def test_everything_is_inside_of_the_picture_and_no_two_boxes_of_a_kind_overlap(seen):
    layout = network_layout.of(seen)
    points = [(box.x + dx, box.y + dy) for box in layout.boxes for dx in (0, box.width) for dy in (0, box.height)]
    for x, y in [*points, *(point for wire in layout.wires for point in wire.points)]:
        assert 0 <= x <= layout.width and 0 <= y <= layout.height
    for one, other in itertools.combinations(layout.boxes, 2):
        if one.kind == other.kind:
            beside = one.x + one.width <= other.x or other.x + other.width <= one.x
            assert beside or one.y + one.height <= other.y or other.y + other.height <= one.y


# ── On the page ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_picture_says_in_words_what_it_shows(view):
    html = view(SERVED).html()
    label = re.search(r"role='img' [^>]*aria-label='([^']*)'", html)[1]
    assert "port 127.0.0.1:8081/tcp ▸ 172.17.0.2:80 of web · for this machine alone" in label
    assert "<summary style='cursor:pointer'>in words</summary>" in html and "═ eth0 of web, 172.17.0.2/16\n" in html


def test_names_are_no_html(view, kernel):
    assert "<b>" not in view(replace(LAID, places=("<b>", "blue"), cables=(Cable(replace(RED, place="<b>"), BLUE),))).html()


def test_at_first_nothing_is_new_and_then_what_has_come_is_marked_and_told(view, kernel):
    shown = view(LAID)
    assert network.NEW not in shown.html() and shown.news == ()
    kernel.seen = replace(LAID, places=("red", "blue", "green"))
    shown.refresh()
    assert shown.news == ("+ green: no cable",)
    assert f"{network.NEW} green" in shown.html() and f"{network.NEW} red" not in shown.html()
    kernel.seen = LAID
    shown.refresh()
    assert shown.news == ("− green: no cable",)


def test_what_is_new_stays_marked_until_something_changes(view, kernel):
    shown = view(LAID)
    kernel.seen = replace(LAID, places=("red", "blue", "green"))
    shown.refresh()
    shown.refresh()
    assert f"{network.NEW} green" in shown.html()


def test_much_news_is_told_in_part(view, kernel):
    shown = view(NOTHING)
    kernel.seen = SERVED
    shown.refresh()
    assert "… and 2 more" in shown.html()


def test_it_is_drawn_anew_when_the_kernel_tells_of_a_change(view, kernel):
    drawn = threading.Event()
    shown = view(LAID)
    picture = shown.widget().children[0]
    picture.observe(lambda _: drawn.set(), "value")
    kernel.seen = SERVED
    kernel.listeners[0].told.release()
    assert drawn.wait(10) and "lk-laptop" in picture.value


def test_the_box_that_is_unchecked_makes_it_stand_still_and_checked_again_it_looks_and_follows(view, kernel):
    shown = view(LAID)
    _, controls = shown.widget().children
    again, follow = controls.children
    assert again.description == "Look again" and follow.value
    follow.value = False
    assert kernel.listeners[0].is_closed
    kernel.seen = SERVED
    follow.value = True
    assert "lk-laptop" in shown.widget().children[0].value and len(kernel.listeners) == 2 and not kernel.listeners[1].is_closed


def test_when_the_play_is_over_the_last_picture_stays(kernel):
    def people():
        if is_over:
            raise LabError("the lesson is over")
        return {}

    is_over, kernel.seen = False, LAID
    shown = Network(people, ["lk0"], "labkit")
    is_over, kernel.seen = True, NOTHING
    shown.refresh()
    assert "red" in str(shown)


def test_the_bundle_of_a_notebook_has_the_widget_and_the_text(view):
    bundle = view(LAID)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle and bundle["text/plain"].startswith("this machine")
    assert json.dumps(bundle["text/plain"])


@pytest.mark.parametrize("seen", [NOTHING, LAID, SERVED], ids=["nothing", "laid", "served"])
def test_the_figure_has_every_line_that_the_boxes_have(view, seen):
    figure = view(seen).figure()
    words = [text.get_text() for text in figure.axes[0].texts]
    assert {line for box in network_layout.of(seen).boxes for line in box.lines} <= set(words)
    assert figure._repr_png_().startswith(b"\x89PNG")
