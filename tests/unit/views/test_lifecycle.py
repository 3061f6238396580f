"""The life of a container: where it is, how it got there, what the buttons send, and that the picture follows."""

import json
import os
import queue
import re
import threading

import pytest

from labkit.views import lifecycle
from labkit.views.lifecycle import ABSENT, ARROWS, CREATED, PAUSED, PLACES, RUNNING, STOPPED, Life


class Answer:
    def __init__(self, status, json):
        self.status, self.json = status, json


class Daemon:
    """One container, in whatever state; ``happens`` is what it tells of."""

    def __init__(self, state=None):
        self.state = state
        self.happens = queue.SimpleQueue()

    def ask(self, method, path):
        assert (method, path) == ("GET", "/containers/box/json")
        return Answer(200, {"State": {"Status": self.state}}) if self.state else Answer(404, {"message": "No such container: box"})

    def events(self):
        return iter(self.happens.get, None)


@pytest.fixture
def daemon():
    made = Daemon()
    yield made
    made.happens.put(None)


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """A client that writes down what it is told, and refuses to remove."""
    program = tmp_path / "docker"
    program.write_text(f'#!/bin/sh\necho "docker $*" >> {tmp_path}/said\n[ $1 = rm ] && {{ echo "You cannot" >&2; exit 1; }}\necho box\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return lambda: (tmp_path / "said").read_text().splitlines()


def marked(text):
    return [line.split("  ")[1].removeprefix("▶ ") for line in text.splitlines() if line.startswith("  ▶")]


@pytest.mark.parametrize(
    ("state", "place"),
    [(None, ABSENT), ("created", CREATED), ("running", RUNNING), ("restarting", RUNNING), ("paused", PAUSED), ("exited", STOPPED),
     ("dead", STOPPED), ("removing", STOPPED)],
)  # fmt: skip
def test_every_state_of_docker_has_its_place(state, place):
    life = Life(Daemon(state), "box")
    assert life.place == place and marked(str(life)) == [place]
    assert str(life).splitlines()[0] == f"box · docker says: {state or 'no such container'}"


def test_the_text_says_what_leads_away_from_each_place():
    lines = str(Life(Daemon("running"), "box")).splitlines()
    assert lines[3] == "  ▶ running     docker pause, docker stop, docker kill, or its program ends"
    assert len(lines) == 1 + len(PLACES)


def test_the_diagram_has_the_same_ways_as_the_text():
    drawn = {(arrow.start, word) for arrow in ARROWS for word in arrow.words.replace(", or its program ends", "").split(", ")}
    told = {(name, way.removeprefix("docker ")) for name, place in PLACES.items() for way in place.ways.split(", ") if "docker" in way}
    assert drawn == told


def way_taken(life):
    """The words beside the arrow that is drawn thick, with a dot running along it."""
    return re.findall(r"animateMotion [^>]*/></circle><text [^>]*font-weight='700'[^>]*>([^<]*)<", life.html())


def test_the_way_that_was_taken_is_marked_until_the_next_one_is(daemon):
    life = Life(daemon, "box")
    assert way_taken(life) == []
    daemon.state = "running"
    life.refresh()
    assert way_taken(life) == ["run -d"]
    life.refresh()
    assert way_taken(life) == ["run -d"]
    daemon.state = "paused"
    life.refresh()
    assert way_taken(life) == ["pause"]


def test_the_picture_says_in_words_where_it_is(daemon):
    daemon.state = "paused"
    html = Life(daemon, "box").html()
    assert "role='img' aria-label='box is paused; from there: docker unpause'" in html and "▶ paused" in html


def test_a_button_sends_the_command_that_stands_on_it(daemon, docker):
    life = Life(daemon, "box", "busybox sleep 9")
    buttons = {each.description: each for each in life.widget().children[0].children}
    for label in "create", "run -d", "start", "pause", "unpause", "stop", "kill", "rm":
        buttons[label].click()
        assert docker()[-1] == buttons[label].tooltip
    assert docker()[:2] == ["docker create --name box busybox sleep 9", "docker run -d --name box busybox sleep 9"]


def test_what_docker_answers_is_shown_and_a_refusal_too(daemon, docker):
    life = Life(daemon, "box")
    buttons, picture = life.widget().children
    buttons.children[2].click()
    assert str(life).splitlines()[-2:] == ["$ docker start box", "✔ box"]
    buttons.children[7].click()
    assert str(life).splitlines()[-2:] == ["$ docker rm box", "✘ You cannot"] and "✘ You cannot" in picture.value


def test_a_machine_without_docker_is_said_so(daemon, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    life = Life(daemon, "box")
    life.send("docker start box")
    assert "✘ [Errno 2]" in str(life)


def test_the_picture_follows_what_happens(daemon, monkeypatch):
    drawn = threading.Event()
    life = Life(daemon, "box")
    picture = life.widget().children[1]
    picture.observe(lambda _: drawn.set(), "value")
    daemon.state = "created"
    daemon.happens.put({"Action": "create"})
    assert drawn.wait(10) and "docker says: created" in picture.value


def test_the_view_outlives_its_daemon(daemon):
    life = Life(daemon, "box")
    life.widget()
    daemon.happens.put(None)
    life._follower.join(10)
    assert not life._follower.is_alive() and marked(str(life)) == [ABSENT]


def test_the_bundle_of_a_notebook_has_the_widget_and_the_text(daemon):
    bundle = Life(daemon, "box")._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle and bundle["text/plain"].startswith("box · docker says")
    assert json.dumps(bundle["text/plain"])


def test_the_figure_has_every_place_and_marks_the_one(daemon):
    daemon.state = "exited"
    figure = Life(daemon, "box").figure()
    words = [text.get_text() for text in figure.axes[0].texts]
    assert {"not there", "created", "running", "paused", "▶ stopped"} <= set(words) and {"create", "pause", "unpause"} <= set(words)
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_arrows_begin_and_end_at_the_edges_of_their_places():
    w, h = lifecycle._HALF
    for arrow in ARROWS:
        for name, (x, y) in ((arrow.start, arrow.points[0]), (arrow.end, arrow.points[-1])):
            place = PLACES[name]
            assert max(abs(x - place.x) / w, abs(y - place.y) / h) == pytest.approx(1, abs=0.02), (arrow.words, name)
