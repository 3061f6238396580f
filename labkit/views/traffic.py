"""What a client asked its daemon for, request by request: below the cell that made it ask, and as a conversation to unfold.

    >>> below_each_cell(wire)
    >>> !docker rm box
    box
    docker asked               the daemon answered
    DELETE /containers/box     204 No Content         remove it
    >>> Traffic(wire)                                 # the last command's conversation, to unfold

``below_each_cell`` leaves out what is aside (greetings, look-ups, sizes of windows and the like), in which clients differ. ``Traffic``
shows that too if asked, and each of its rows unfolds to what was sent and what came back. ``wire`` is a tap of
``labkit.lessons.traffic``, or whatever knows exchanges. Source: Docker Engine API. Notebook 06.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from labkit.views.view import ASIDE, COLOURS, FAINT, INK, View, drawing, escaped

if TYPE_CHECKING:
    import ipywidgets
    from matplotlib.figure import Figure

MEANINGS = (
    ("POST /containers/create", "make a container; nothing runs yet"),
    ("POST /containers/X/attach", "its input and output: this connection, from now on"),
    ("POST /containers/X/wait", "tell me when it has ended, and how"),
    ("POST /containers/X/start", "start its program"),
    ("POST /containers/X/stop", "ask its program to end, and kill it if it does not"),
    ("POST /containers/X/kill", "send its program a signal"),
    ("POST /containers/X/restart", "stop it, and start it again"),
    ("POST /containers/X/pause", "freeze its processes"),
    ("POST /containers/X/unpause", "thaw its processes"),
    ("POST /containers/X/rename", "call it by another name"),
    ("POST /containers/X/exec", "prepare one more program in it"),
    ("POST /containers/X/resize", "its window has this size"),
    ("POST /exec/X/resize", "its window has this size"),
    ("POST /exec/X/start", "start that program"),
    ("GET /exec/X/json", "how did that program end?"),
    ("GET /containers/json", "which containers are there?"),
    ("GET /containers/X/json", "tell me all about it"),
    ("GET /containers/X/logs", "what has it printed?"),
    ("GET /containers/X/top", "which processes are in it?"),
    ("GET /containers/X/changes", "which files has it changed?"),
    ("DELETE /containers/X", "remove it"),
    ("GET /images/json", "which images are there?"),
    ("GET /images/X/json", "tell me all about this image"),
    ("POST /images/create", "fetch an image from a registry"),
    ("GET /events", "tell me what happens"),
    ("GET /version", "who are you, and which versions do you speak?"),
    ("HEAD /_ping", "are you there, and which version do you speak?"),
    ("GET /_ping", "are you there, and which version do you speak?"),
)
_HEADS = ("docker asked", "the daemon answered", "")
_NOTHING = "nothing was asked"
_MOST = 1200  # characters of a body that are shown
_PRE = "margin:.1em 0 .6em 1.4em;max-height:20em;overflow:auto;line-height:1.35;white-space:pre-wrap"
_CELL = "text-align:left;padding:.05em .8em .05em .4em;vertical-align:top;white-space:nowrap"


class Exchange(Protocol):
    """One request and its answer, as a tap writes them down."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def request(self) -> str: ...
    @property
    def status(self) -> int: ...
    @property
    def fields(self) -> dict[str, object]: ...
    @property
    def answer(self) -> bytes: ...
    @property
    def connection(self) -> int: ...
    @property
    def is_aside(self) -> bool: ...


class Wire(Protocol):
    """A tap."""

    @property
    def latest(self) -> Sequence[Exchange]: ...
    def news(self, everything: bool = False) -> Sequence[Exchange]: ...


class Asked:
    """Some exchanges as a small table."""

    def __init__(self, exchanges: Sequence[Exchange]) -> None:
        self.rows = [_HEADS, *((each.request, answered(each), meaning(each)) for each in exchanges)]

    def __repr__(self) -> str:
        if len(self.rows) == 1:
            return _NOTHING
        widths = [max(map(len, column)) for column in zip(*self.rows, strict=True)]
        lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in self.rows)
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        if len(self.rows) == 1:
            return f"<p>{_NOTHING}</p>"
        heads = "".join(f"<th scope='col' style='font-weight:600;color:{ASIDE};{_CELL}'>{head}</th>" for head in self.rows[0])
        rows = "".join(
            f"<tr><td style='{_CELL}'><code>{escaped(request)}</code></td><td style='{_CELL}'>{escaped(answer)}</td>"
            f"<td style='color:{ASIDE};{_CELL};white-space:normal'>{escaped(words)}</td></tr>"
            for request, answer, words in self.rows[1:]
        )
        return (
            f"<table style='border-collapse:collapse;margin:.2em 0;border-left:4px solid {COLOURS[4]};font-size:90%'>"
            f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
        )


class Traffic(View):
    """A conversation: what went over the wire last, be it new or shown already."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.everything = False
        self.all: tuple[Exchange, ...] = ()
        super().__init__()

    def look(self) -> None:
        self.all = tuple(self.wire.news(everything=True) or self.wire.latest)

    @property
    def shown(self) -> tuple[Exchange, ...]:
        """All of them, or those that are not aside."""
        return self.all if self.everything else tuple(each for each in self.all if not each.is_aside)

    def text(self) -> str:
        return "\n".join([repr(Asked(self.shown)), *self._left_out()])

    def _left_out(self) -> list[str]:
        number = len(self.all) - len(self.shown)
        return ["(greetings and look-ups are left out)"] if number else []

    def html(self) -> str:
        rows = "".join(map(self._row, self.shown)) or f"<p>{_NOTHING}</p>"
        notes = "".join(f"<p style='margin:.3em 0;color:{ASIDE}'>{note}</p>" for note in self._left_out())
        return f"<div style='line-height:1.5'>{rows}{notes}</div>"

    def _row(self, each: Exchange) -> str:
        """Folded: who asks for what. Unfolded: what was said. The browser does that, with or without us."""
        grid = (
            "display:inline-grid;width:calc(100% - 1.6em);gap:0 .8em;vertical-align:top;overflow-wrap:anywhere;"
            "grid-template-columns:1.4em minmax(0,31em) minmax(0,13.5em) minmax(0,1fr)"
        )
        cells = (
            f"<span title='on connection {each.connection}' style='color:{ASIDE}'>{each.connection}</span>",
            f"<code>{escaped(each.request)}</code>",
            f"{'⇄' if each.status == 101 else '←'} {escaped(answered(each))}",
            f"<span style='color:{ASIDE}'>{escaped(meaning(each))}</span>",
        )
        said = "".join(f"<div style='color:{ASIDE}'>{title}</div><pre style='{_PRE}'>{escaped(text)}</pre>" for title, text in _said(each))
        return (
            f"<details style='border-left:4px solid {COLOURS[4]};padding-left:.4em'><summary style='cursor:pointer'>"
            f"<span style='{grid}'>{''.join(f'<span>{cell}</span>' for cell in cells)}</span></summary>{said}</details>"
        )

    def controls(self) -> list[ipywidgets.Widget]:
        import ipywidgets

        toggle = ipywidgets.Checkbox(value=False, description="greetings and look-ups, too", indent=False)
        toggle.observe(self._show_everything, names="value")
        return [*super().controls(), toggle]

    def _show_everything(self, change: dict[str, object]) -> None:
        self.everything = bool(change["new"])
        self.redraw()

    def figure(self) -> Figure:
        """Two lines of life, and an arrow for each request."""
        shown = self.shown
        figure, axes = drawing(8.4, 0.62 * len(shown) + 1)
        axes.set(xlim=(-0.12, 1.5), ylim=(len(shown) + 0.3, -0.8))
        for side, (x, name) in enumerate(((0, "docker"), (1, "daemon"))):
            axes.plot([x, x], [-0.4, len(shown) + 0.2], color=FAINT, linewidth=1)
            axes.text(x, -0.6, name, ha="center", va="center", color=COLOURS[side], weight="bold")
        for row, each in enumerate(shown):
            style = "<->" if each.status == 101 else "->"
            axes.annotate("", (1, row + 0.35), (0, row + 0.35), arrowprops={"arrowstyle": style, "color": INK})
            axes.text(0.5, row + 0.28, each.request, ha="center", va="bottom", color=INK, size=8, family="monospace")
            axes.text(1.03, row + 0.35, answered(each), va="center", color=INK, size=8)
            axes.text(0.5, row + 0.42, meaning(each), ha="center", va="top", color=INK, size=7, style="italic")
        return figure


_hooks: list[Callable[[object], None]] = []


def below_each_cell(wire: Wire) -> None:
    """From the next cell on, show below each cell of this notebook what its commands asked for, if they did."""
    from IPython import get_ipython
    from IPython.display import display

    def show(_: object) -> None:
        if asked := wire.news():
            display(Asked(asked))  # type: ignore[no-untyped-call]

    events = get_ipython().events
    while _hooks:
        events.unregister("post_run_cell", _hooks.pop())  # if this is called again
    wire.news()
    events.register("post_run_cell", show)
    _hooks.append(show)


def answered(exchange: Exchange) -> str:
    """The status in figures and words: ``409 Conflict``."""
    if not exchange.status:
        return "no answer yet"
    try:
        return f"{exchange.status} {HTTPStatus(exchange.status).phrase}"
    except ValueError:
        return str(exchange.status)


def meaning(exchange: Exchange) -> str:
    """What is asked for, in words; empty if this view has none."""
    kind = re.sub(r"^/(containers|exec|images)/(?!json$|create$)(.+?)(/(?:[a-z]+))?$", r"/\1/X\3", exchange.path)
    return dict(MEANINGS).get(f"{exchange.method} {kind}", "")


def _said(exchange: Exchange) -> list[tuple[str, str]]:
    """What was sent and what came back, each with a title, if there was anything."""
    said = []
    if exchange.fields:
        said.append(("sent, without what is empty:", json.dumps(exchange.fields, indent=2, ensure_ascii=False)))
    if exchange.answer:
        said.append(("came back:", _readable(exchange.answer)))
    return [(title, text if len(text) <= _MOST else f"{text[:_MOST]}…") for title, text in said] or [("no body, either way", "")]


def _readable(data: bytes) -> str:
    try:
        return json.dumps(json.loads(data), indent=2, ensure_ascii=False)
    except ValueError:
        return "".join(chr(byte) if 32 <= byte < 127 or byte == 10 else f"\\x{byte:02x}" for byte in data)
