"""Requests below the cell that made them, and a conversation to unfold."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from IPython.core.events import EventManager, available_events

from labkit.views import traffic as view
from labkit.views.traffic import Asked, Traffic


@dataclass
class Exchange:
    """What a tap writes down."""

    method: str
    path: str
    status: int
    answer: bytes = b""
    fields: dict = field(default_factory=dict)
    connection: int = 1
    is_aside: bool = False

    @property
    def request(self):
        return f"{self.method} {self.path}"


class Wire:
    def __init__(self, *exchanges):
        self.new, self.latest = exchanges, ()

    def news(self, everything=False):
        new, self.new = self.new, ()
        self.latest = new or self.latest
        return new if everything else tuple(each for each in new if not each.is_aside)


PING = Exchange("HEAD", "/_ping", 200, is_aside=True)
CREATE = Exchange("POST", "/containers/create", 201, b'{"Id":"5"}', {"Image": "busybox", "Cmd": ["<b>"]})
ATTACH = Exchange("POST", "/containers/ID/attach", 101, b"\x01\x00\x00\x00\x00\x00\x00\x03hi\n", connection=2)
REMOVE = Exchange("DELETE", "/containers/box", 409, b'{"message":"no"}')


def test_each_request_has_a_line_with_its_answer_and_what_it_means():
    assert repr(Asked((CREATE, REMOVE))).splitlines() == [
        "docker asked              the daemon answered",
        "POST /containers/create   201 Created           make a container; nothing runs yet",
        "DELETE /containers/box    409 Conflict          remove it",
    ]


def test_the_table_for_the_browser_has_the_same_facts():
    table = Asked((CREATE, REMOVE))._repr_html_()
    for words in "POST /containers/create", "201 Created", "make a container; nothing runs yet", "409 Conflict", "scope='col'":
        assert words in table


def test_nothing_is_said_to_be_nothing():
    assert repr(Asked(())) == "nothing was asked" and "nothing was asked" in Asked(())._repr_html_()
    assert str(Traffic(Wire())) == "nothing was asked" and "nothing was asked" in Traffic(Wire()).html()


@pytest.mark.parametrize(("status", "words"), [(204, "204 No Content"), (0, "no answer yet"), (799, "799")])
def test_a_status_has_words(status, words):
    assert view.answered(Exchange("GET", "/", status)) == words


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("POST", "/containers/create", "make a container; nothing runs yet"),
        ("POST", "/containers/box/start", "start its program"),
        ("GET", "/containers/json", "which containers are there?"),
        ("GET", "/containers/box/json", "tell me all about it"),
        ("DELETE", "/containers/box", "remove it"),
        ("POST", "/exec/ID/start", "start that program"),
        ("GET", "/exec/ID/json", "how did that program end?"),
        ("GET", "/images/json", "which images are there?"),
        ("GET", "/images/127.0.0.1:5000/me/web:v1/json", "tell me all about this image"),
        ("POST", "/images/create", "fetch an image from a registry"),
        ("POST", "/swarm/init", ""),
    ],
)
def test_requests_of_the_classroom_are_explained(method, path, words):
    assert view.meaning(Exchange(method, path, 200)) == words


def test_the_conversation_leaves_out_what_is_aside_until_it_is_wanted():
    shown = Traffic(Wire(PING, CREATE))
    assert "/_ping" not in str(shown) and str(shown).endswith("(greetings and look-ups are left out)")
    _, toggle = shown.widget().children[1].children
    toggle.value = True
    assert "HEAD /_ping" in str(shown) and "left out" not in str(shown)
    assert "HEAD /_ping" in shown.widget().children[0].value


def test_look_again_shows_what_is_new_and_keeps_what_was_there_if_nothing_is():
    wire = Wire(CREATE)
    shown = Traffic(wire)
    picture, (again, _) = shown.widget().children[0], shown.widget().children[1].children
    again.click()
    assert "/containers/create" in picture.value
    wire.new = (REMOVE,)
    again.click()
    assert "409 Conflict" in picture.value and "/containers/create" not in picture.value


def test_what_was_shown_already_can_be_unfolded_still():
    wire = Wire(CREATE)
    wire.news()
    assert "POST /containers/create" in str(Traffic(wire))


def test_a_row_unfolds_to_what_was_sent_and_what_came_back_and_never_as_html():
    html = Traffic(Wire(CREATE, ATTACH)).html()
    first, second = html.split("<details")[1:]
    assert "&quot;Image&quot;: &quot;busybox&quot;" in first and "&lt;b&gt;" in first and "&quot;Id&quot;: &quot;5&quot;" in first
    assert "\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x03hi\n" in second and "⇄ 101" in second and "on connection 2" in second


def test_a_long_body_is_cut_and_a_request_without_any_says_so():
    html = Traffic(Wire(Exchange("GET", "/x", 200, b"y" * 5000), Exchange("POST", "/y", 204))).html()
    assert f"{'y' * 1200}…" in html and "y" * 1201 not in html and "no body, either way" in html


def test_the_figure_has_an_arrow_for_each_request():
    figure = Traffic(Wire(CREATE, ATTACH)).figure()
    words = [text.get_text() for text in figure.axes[0].texts]
    assert {"docker", "daemon", "POST /containers/create", "101 Switching Protocols"} <= set(words)
    assert figure._repr_png_().startswith(b"\x89PNG")


@pytest.fixture
def cell(monkeypatch):
    """Runs a cell, as far as its hooks are concerned; what they display is in ``cell.shown``."""
    events = EventManager(None, available_events)
    shown = []
    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(events=events))
    monkeypatch.setattr("IPython.display.display", shown.append)
    yield SimpleNamespace(run=lambda: events.trigger("post_run_cell", None), shown=shown)
    view._hooks.clear()


def test_below_a_cell_stands_what_it_asked_for_once_and_if_it_did(cell):
    wire = Wire(CREATE)
    view.below_each_cell(wire)
    view.below_each_cell(wire)  # a cell that is run again
    cell.run()
    assert cell.shown == []
    wire.new = (PING, REMOVE)
    cell.run()
    cell.run()
    assert list(map(repr, cell.shown)) == [repr(Asked((REMOVE,)))]
