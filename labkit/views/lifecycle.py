"""The life of a container: five places, a command on each arrow between them, and a mark where it is now.

    >>> life = Life(daemon, "box", "busybox sleep infinity")
    >>> life
    box · docker says: running
        not there   docker create, docker run -d
        created     docker start, docker rm
      ▶ running     docker pause, docker stop, docker kill, or its program ends
        paused      docker unpause
        stopped     docker start, docker rm

              ┌────── run -d ───────┐
    not there ──create──▶ created ──start──▶ running ◀──pause, unpause──▶ paused
        ▲                    │ rm              ▲ │ stop, kill, its program ends
        └────────────────────┘           start │ ▼
        └───────────────── rm ──────────────── stopped

The buttons send the command that stands on them, to the letter, through ``$DOCKER_HOST``; what docker answers is shown below, and a
refusal, too. Between clicks the view follows the daemon's events, so the mark moves whoever sends the commands. ``daemon`` is one of
``labkit.lessons.daemons``, or whatever answers the Engine API. Source: Docker Engine API, ContainerInspect: State.Status. Notebook 06.
"""

from __future__ import annotations

import shlex
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from labkit.views.view import ASIDE, COLOURS, FAINT, INK, View, button, drawing, escaped

if TYPE_CHECKING:
    import ipywidgets
    from matplotlib.figure import Figure

HERE = "▶"
ABSENT, CREATED, RUNNING, PAUSED, STOPPED = "not there", "created", "running", "paused", "stopped"
_PATIENCE = 60  # seconds that a command may take


@dataclass(frozen=True)
class Place:
    """A state: where it is drawn (its middle), and what leads away from it, in words."""

    x: float
    y: float
    ways: str
    docker: tuple[str, ...]
    """What the API calls it."""


PLACES = {
    ABSENT: Place(75, 150, "docker create, docker run -d", ()),
    CREATED: Place(275, 40, "docker start, docker rm", ("created",)),
    RUNNING: Place(475, 40, "docker pause, docker stop, docker kill, or its program ends", ("running", "restarting")),
    PAUSED: Place(690, 40, "docker unpause", ("paused",)),
    STOPPED: Place(475, 150, "docker start, docker rm", ("exited", "dead", "removing")),
}


@dataclass(frozen=True)
class Arrow:
    """From place to place: a path of points, and what stands beside it at ``at``."""

    start: str
    end: str
    words: str
    points: tuple[tuple[float, float], ...]
    at: tuple[float, float]


ARROWS = (
    Arrow(ABSENT, CREATED, "create", ((75, 132), (75, 36), (218, 36)), (146, 26)),
    Arrow(CREATED, ABSENT, "rm", ((240, 58), (240, 84), (105, 84), (105, 132)), (172, 98)),
    Arrow(CREATED, RUNNING, "start", ((332, 40), (418, 40)), (375, 30)),
    Arrow(RUNNING, PAUSED, "pause", ((532, 32), (633, 32)), (582, 22)),
    Arrow(PAUSED, RUNNING, "unpause", ((633, 50), (532, 50)), (582, 68)),
    Arrow(RUNNING, STOPPED, "stop, kill, or its program ends", ((495, 58), (495, 132)), (606, 100)),
    Arrow(STOPPED, RUNNING, "start", ((455, 132), (455, 58)), (430, 100)),
    Arrow(STOPPED, ABSENT, "rm", ((418, 156), (132, 156)), (275, 172)),
    Arrow(ABSENT, RUNNING, "run -d", ((132, 142), (398, 142), (398, 54), (418, 54)), (265, 132)),
)
_WIDTH, _HEIGHT = 770, 186
_HALF = (57, 18)  # of a place's width and height
_BUTTONS = (
    ("create", "docker create --name {name} {what}"),
    ("run -d", "docker run -d --name {name} {what}"),
    ("start", "docker start {name}"),
    ("pause", "docker pause {name}"),
    ("unpause", "docker unpause {name}"),
    ("stop", "docker stop -t 1 {name}"),
    ("kill", "docker kill {name}"),
    ("rm", "docker rm {name}"),
)


class Answer(Protocol):
    @property
    def status(self) -> int: ...
    @property
    def json(self) -> object: ...


class Daemon(Protocol):
    """Whoever answers the Engine API."""

    def ask(self, method: str, path: str) -> Answer: ...
    def events(self) -> Iterator[object]: ...


class Life(View):
    """Where the container of that name is; ``what`` is made of if it is made from here: an image and a command."""

    def __init__(self, daemon: Daemon, name: str, what: str = "busybox sleep infinity") -> None:
        self.daemon, self.name, self.what = daemon, name, what
        self.place = self.before = ABSENT
        self.status = "no such container"
        self.said = ""
        """The last command that was sent from here, and what docker answered."""
        self._follower: threading.Thread | None = None
        self._looking = threading.Lock()
        super().__init__()

    def look(self) -> None:
        answer = self.daemon.ask("GET", f"/containers/{self.name}/json")
        place, self.status = ABSENT, "no such container"
        if answer.status == 200 and isinstance(answer.json, dict):
            self.status = str(answer.json["State"]["Status"])
            place = next((name for name, each in PLACES.items() if self.status in each.docker), STOPPED)
        self.before, self.place = self.place, place

    def send(self, command: str) -> None:
        """Run a docker command, and see what has become of the container."""
        words = shlex.split(command)
        try:
            done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE, check=False)
            sign, answer = ("✔", done.stdout) if done.returncode == 0 else ("✘", done.stderr)
        except (OSError, subprocess.TimeoutExpired) as error:
            sign, answer = "✘", str(error)
        self.said = f"$ {command}\n{sign} {answer.strip()}"
        self.refresh()

    def text(self) -> str:
        lines = (f"  {HERE if name == self.place else ' '} {name:<10}  {place.ways}" for name, place in PLACES.items())
        return "\n".join([f"{self.name} · docker says: {self.status}", *lines, *self.said.splitlines()])

    def html(self) -> str:
        arrows = "".join(map(self._arrow, ARROWS))
        places = "".join(self._box(name, place) for name, place in PLACES.items())
        said = "".join(f"<div>{escaped(line)}</div>" for line in self.said.splitlines())
        return (
            f"<div style='line-height:1.5'><div><b>{escaped(self.name)}</b> "
            f"<span style='color:{ASIDE}'>docker says: {escaped(self.status)}</span></div>"
            f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' style='width:100%;max-width:{_WIDTH}px' role='img' "
            f"aria-label='{escaped(self.name)} is {self.place}; from there: {PLACES[self.place].ways}' font-size='13'>"
            f"<defs>{_tip('tip', FAINT)}{_tip('hot', COLOURS[5])}</defs>{arrows}{places}</svg>"
            f"<div role='status' style='font-family:monospace;white-space:pre-wrap'>{said}</div></div>"
        )

    def _arrow(self, arrow: Arrow) -> str:
        """The way that was last taken is thicker, and a dot runs along it."""
        taken = (arrow.start, arrow.end) == (self.before, self.place)
        path = "M" + " L".join(f"{x} {y}" for x, y in arrow.points)
        colour, tip, width = (COLOURS[5], "hot", 2.5) if taken else (FAINT, "tip", 1.3)
        run = f"<circle r='5' fill='{COLOURS[5]}'><animateMotion dur='0.7s' fill='freeze' path='{path}'/></circle>" if taken else ""
        x, y = arrow.at
        weight = "font-weight='700'" if taken else ""
        return (
            f"<path d='{path}' fill='none' stroke='{colour}' stroke-width='{width}' marker-end='url(#{tip})'/>{run}"
            f"<text x='{x}' y='{y}' text-anchor='middle' {weight} style='fill:{ASIDE}'>{escaped(arrow.words)}</text>"
        )

    def _box(self, name: str, place: Place) -> str:
        here = name == self.place
        colour, width, mark = (COLOURS[0], 3, f"{HERE} ") if here else (FAINT, 1.3, "")
        fill = f"{COLOURS[0]}33" if here else "var(--jp-layout-color1,#fff)"
        dash = "stroke-dasharray='5 4'" if name == ABSENT else ""
        w, h = _HALF
        return (
            f"<rect x='{place.x - w}' y='{place.y - h}' width='{2 * w}' height='{2 * h}' rx='9' {dash} "
            f"stroke='{colour}' stroke-width='{width}' style='fill:{fill}'/>"
            f"<text x='{place.x}' y='{place.y + 5}' text-anchor='middle' font-weight='{700 if here else 400}' "
            f"style='fill:var(--jp-ui-font-color1,{INK})'>{mark}{name}</text>"
        )

    def controls(self) -> list[ipywidgets.Widget]:
        commands = [(label, command.format(name=self.name, what=self.what)) for label, command in _BUTTONS]
        buttons = [button(label, command, partial(self.send, command)) for label, command in commands]
        for each in buttons:
            each.layout.width = "6em"
        return [*buttons, *super().controls()]

    def widget(self) -> ipywidgets.Widget:
        """The buttons come first: they stay where they are. With its first picture it begins to follow what happens."""
        box = super().widget()
        if self._follower is None:
            picture, buttons = box.children
            buttons.layout.flex_flow = "row wrap"
            box.children = (buttons, picture)
            self._follower = threading.Thread(target=self._follow, daemon=True)
            self._follower.start()
        return box

    def _follow(self) -> None:
        with suppress(Exception):  # the daemon ends, or has ended, and so does this
            for _ in self.daemon.events():
                self.refresh()

    def refresh(self) -> None:
        """Look again; where nothing has moved, the picture stays, with the way that was last taken."""
        with self._looking:
            before = self.before
            self.look()
            if self.before == self.place:
                self.before = before
            self.redraw()

    def figure(self) -> Figure:
        """The same for print."""
        from matplotlib.patches import FancyBboxPatch

        figure, axes = drawing(8.4, 8.4 * _HEIGHT / _WIDTH + 0.3)
        axes.set(xlim=(0, _WIDTH), ylim=(_HEIGHT, -16))
        axes.set_title(f"{self.name}: {self.place}", color=INK, size=10)
        for arrow in ARROWS:
            axes.plot(*zip(*arrow.points, strict=True), color=FAINT, linewidth=1)
            tip = {"arrowstyle": "->", "color": FAINT, "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", arrow.points[-1], arrow.points[-2], arrowprops=tip)
            axes.text(*arrow.at, arrow.words, ha="center", va="baseline", size=7, color=INK)
        for name, place in PLACES.items():
            here = name == self.place
            w, h = _HALF
            shape = FancyBboxPatch((place.x - w, place.y - h), 2 * w, 2 * h, boxstyle="round,pad=0,rounding_size=9",
                                   facecolor="#d9e8f5" if here else "white", edgecolor=COLOURS[0] if here else FAINT,
                                   linewidth=2 if here else 1, linestyle="--" if name == ABSENT else "-")  # fmt: skip
            axes.add_patch(shape)
            words = f"{HERE} {name}" if here else name
            axes.text(place.x, place.y, words, ha="center", va="center", size=8, color=INK, weight="bold" if here else "normal",
                      family="DejaVu Sans")  # fmt: skip
        return figure


def _tip(name: str, colour: str) -> str:
    return (
        f"<marker id='{name}' viewBox='0 0 10 10' refX='9' refY='5' markerWidth='8' markerHeight='8' orient='auto' "
        f"markerUnits='userSpaceOnUse'><path d='M0 0 L10 5 L0 10 z' fill='{colour}'/></marker>"
    )
