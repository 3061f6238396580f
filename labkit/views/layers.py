"""The layers of a snapshot, one above the other, and what one sees from above.

    >>> LayerStack(layers, "c1")
                   /etc/hosts  /etc/motd  /root/note
    you see        ●           –          ●
    c1             ●           ✗          ●
    app            ○
    busybox                    ○
    ● seen from above · ○ hidden · ✗ whiteout: deleted · ⊘ opaque: hides what is below
    and all that nobody has touched, from busybox

A ● above a ○ is a copy-up: the layer below keeps its file. Evidence: the layers' own directories. Notebook 03.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from labkit.linux import overlays
from labkit.storage.snapshots import Snapshot, Snapshots
from labkit.views.view import ASIDE, COLOURS, FAINT, INK, View, drawing, escaped

if TYPE_CHECKING:
    import ipywidgets
    from matplotlib.figure import Figure

SEEN, HIDDEN, WHITEOUT, OPAQUE, NOTHING = "●", "○", "✗", "⊘", ""
LEGEND = f"{SEEN} seen from above · {HIDDEN} hidden · {WHITEOUT} whiteout: deleted · {OPAQUE} opaque: hides what is below"
_WORDS = {SEEN: "seen", HIDDEN: "hidden", WHITEOUT: "whiteout", OPAQUE: "opaque", NOTHING: ""}
_COLOUR = {SEEN: COLOURS[0], HIDDEN: FAINT, WHITEOUT: COLOURS[5], OPAQUE: COLOURS[3], NOTHING: INK}
_WIDEST = 8  # paths side by side


class LayerStack(View):
    """The stack of one snapshot: a row for each layer, a column for each path that is not just as the lowest layer has it."""

    def __init__(self, layers: Snapshots, name: str) -> None:
        self.layers = layers
        self.name = name
        self.everything = False
        super().__init__()

    def look(self) -> None:
        stack = self.layers.stack(self.name)
        seen_from = self.layers.providers(self.name)
        self.rows: dict[str, dict[str, str]] = {layer.name: _signs(layer, seen_from) for layer in stack}
        above = list(self.rows.values())[:-1]
        everything = sorted(set().union(*self.rows.values()))
        changed = [path for path in everything if path not in seen_from or any(path in row for row in above)]
        shown = everything if self.everything or not changed else changed
        self.paths = shown[:_WIDEST]
        self.more = len(shown) - len(self.paths)
        self.seen = {path: SEEN if path in seen_from else "–" for path in self.paths}
        self.rest = stack[-1].name if len(shown) < len(everything) else ""

    def text(self) -> str:
        widths = [max(len(path), 2) + 2 for path in self.paths]
        rows = {"": {path: path for path in self.paths}, "you see": self.seen, **self.rows}
        lines = [
            f"{name:<15}{''.join(f'{row.get(path, NOTHING):<{width}}' for path, width in zip(self.paths, widths, strict=True))}".rstrip()
            for name, row in rows.items()
        ]
        return "\n".join([*lines, LEGEND, *self._rest()])

    def _rest(self) -> list[str]:
        more = [f"and {self.more} more paths"] if self.more else []
        return [*more, f"and all that nobody has touched, from {self.rest}"] if self.rest else more

    def html(self) -> str:
        heads = "".join(f"<th style='padding:.1em .8em;font-weight:400'><code>{escaped(path)}</code></th>" for path in self.paths)
        rows = "".join(
            f"<tr style='{'border-bottom:3px double ' + FAINT if name == 'you see' else ''}'>"
            f"<th scope='row' style='text-align:left;padding-right:1em'>{escaped(name)}</th>"
            f"{''.join(self._cell(row.get(path, NOTHING)) for path in self.paths)}</tr>"
            for name, row in {"you see": self.seen, **self.rows}.items()
        )
        notes = "".join(f"<p style='margin:.3em 0;color:{ASIDE}'>{escaped(note)}</p>" for note in (LEGEND, *self._rest()))
        style = "border-collapse:collapse;line-height:1.6"
        return f"<table style='{style}'><thead><tr><th></th>{heads}</tr></thead><tbody>{rows}</tbody></table>{notes}"

    def _cell(self, sign: str) -> str:
        colour = _COLOUR.get(sign, INK)
        return f"<td style='text-align:center;color:{colour}' title='{_WORDS.get(sign, 'nothing')}'><b>{sign}</b></td>"

    def controls(self) -> list[ipywidgets.Widget]:
        import ipywidgets

        toggle = ipywidgets.Checkbox(value=False, description="untouched paths, too", indent=False)
        toggle.observe(self._show_everything, names="value")
        return [*super().controls(), toggle]

    def _show_everything(self, change: dict[str, object]) -> None:
        self.everything = bool(change["new"])
        self.refresh()

    def figure(self) -> Figure:
        from matplotlib.patches import FancyBboxPatch

        wide, high = len(self.paths), len(self.rows)
        figure, axes = drawing(1.6 + 1.2 * wide, 0.55 * (high + 2))
        axes.set(xlim=(-1.3, wide), ylim=(high + 0.2, -1.7))
        for column, path in enumerate(self.paths):
            axes.text(column + 0.5, -1.35, path, ha="center", va="center", size=8, family="monospace", color=INK)
            axes.text(column + 0.5, -0.65, self.seen[path], ha="center", va="center", size=13, color=_COLOUR.get(self.seen[path], INK))
        axes.text(-0.15, -0.65, "you see", ha="right", va="center", color=INK, weight="bold")
        for row, (name, signs) in enumerate(self.rows.items()):
            axes.add_patch(FancyBboxPatch((0.05, row + 0.12), wide - 0.1, 0.76, boxstyle="round,pad=0,rounding_size=0.1",
                                          facecolor="#fff8e1" if row == 0 else "#eceff1", edgecolor=FAINT))  # fmt: skip
            axes.text(-0.15, row + 0.5, name, ha="right", va="center", color=INK)
            for column, path in enumerate(self.paths):
                sign = signs.get(path, NOTHING)
                axes.text(column + 0.5, row + 0.5, sign, ha="center", va="center", size=13, color=_COLOUR[sign])
        return figure


def _signs(layer: Snapshot, seen_from: dict[str, str]) -> dict[str, str]:
    """What the layer has at which path. A plain directory is no news: directories are merged."""
    signs = {}
    for where, directories, files in os.walk(layer.upper):
        inside = where[len(layer.upper) :]
        for name in directories:
            path, place = f"{inside}/{name}", f"{where}/{name}"
            if os.path.islink(place):
                signs[path] = SEEN if seen_from.get(path) == layer.name else HIDDEN
            elif overlays.is_opaque(place):
                signs[path] = OPAQUE
        for name in files:
            path = f"{inside}/{name}"
            if overlays.is_whiteout(f"{where}/{name}"):
                signs[path] = WHITEOUT
            else:
                signs[path] = SEEN if seen_from.get(path) == layer.name else HIDDEN
    return signs
