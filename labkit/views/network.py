"""The network as a picture: who is joined to whom, drawn from the kernel's own tables, and drawn anew when they change.

    >>> Network(lambda: {"red": red.pid, "web": pid}, table="labkit")
    this machine
      bridge labkit0 172.17.0.1/16 · masquerade
        ═ eth0 of web, 172.17.0.2/16
      port 0.0.0.0:8080/tcp ▸ 172.17.0.2:80 of web · for everybody
    red: no cable

``people`` says whose network namespaces are meant, by the number of a process in each; all else comes by netlink and from nft. As soon
as the widget is on a page, the kernel tells it of each link, address and rule that comes or goes (whoever made it), and what is new is
marked with a ✱. Where ``people`` raises a ``LabError``, the play is over: the last picture stays. Sources: ``man 7 rtnetlink``,
``man 8 nft``. Notebook 07.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from labkit.errors import LabError
from labkit.linux import cables
from labkit.linux.linknews import LinkNews
from labkit.network import nat, survey
from labkit.network.survey import MACHINE, Plug, Survey
from labkit.views import network_layout
from labkit.views.network_layout import Box, Layout, Wire, down, who
from labkit.views.view import ASIDE, COLOURS, FAINT, INK, View, drawing, escaped

if TYPE_CHECKING:
    import ipywidgets
    from matplotlib.figure import Figure

NEW = "✱"
_MOST = 4  # lines of news
_NOTHING = Survey((), (), (), (), (), (), ())
_COLOUR = {"machine": FAINT, "bridge": COLOURS[2], "door": COLOURS[5], "plug": COLOURS[2], "place": COLOURS[0], "alone": FAINT,
           "cable": COLOURS[2], "loose": FAINT, "in": COLOURS[5], "on": COLOURS[5]}  # fmt: skip
_DASHES = {"alone": "6 4", "loose": "5 4", "on": "2 3"}


class Network(View):
    """The network namespaces of these processes and of this machine, and what joins them."""

    def __init__(self, people: Callable[[], Mapping[str, int]], bridges: Sequence[str] = (), table: str = nat.TABLE) -> None:
        self.people, self.bridges, self.table = people, tuple(bridges), table
        self.seen: Survey | None = None
        self.news: tuple[str, ...] = ()
        """What has come (+) and gone (−) with the last change."""
        self._new: frozenset[str] = frozenset()
        self._listener: LinkNews | None = None
        self._looking = threading.Lock()
        super().__init__()

    def look(self) -> None:
        people = self.people()
        for pid in people.values():
            with suppress(OSError, LabError), open(f"/proc/{pid}/ns/net") as space:
                cables.give_id(space.fileno())
        before, self.seen = self.seen, survey.take(people, self.bridges, self.table)
        if before is None or self.seen == before:
            return
        old, new = (told(replace(each, gone=())) for each in (before, self.seen))
        come, gone = [line for line in new if line not in old], [line for line in old if line not in new]
        self.news = (*(f"+ {line.strip()}" for line in come), *(f"− {line.strip()}" for line in gone))
        self._new = _keys(network_layout.of(self.seen)) - _keys(network_layout.of(before))

    def refresh(self) -> None:
        """Look again. Where nothing has changed, the picture stays, with what was new the last time; so it does when all is over."""
        with self._looking, suppress(LabError):
            self.look()
        self.redraw()

    def text(self) -> str:
        return "\n".join(told(self.seen or _NOTHING))

    def html(self) -> str:
        layout = network_layout.of(self.seen or _NOTHING)
        wires = "".join(map(self._wire, layout.wires))
        machine, *boxes = map(self._box, layout.boxes)
        rest = (f"… and {len(self.news) - _MOST} more",) if len(self.news) > _MOST else ()
        news = "".join(f"<div>{escaped(line)}</div>" for line in (*self.news[:_MOST], *rest))
        lines = told(self.seen or _NOTHING)
        words = "".join(f"{escaped(line)}\n" for line in lines)
        return (
            f"<div style='line-height:1.5'><svg viewBox='0 0 {layout.width:g} {layout.height:g}' role='img' "
            f"style='width:100%;max-width:{layout.width:g}px' aria-label='{escaped('; '.join(lines))}' font-size='13'>"
            f"{_tip()}<text x='{layout.width / 2:g}' y='14' text-anchor='middle' style='fill:{ASIDE}'>outside</text>"
            f"{machine}{wires}{''.join(boxes)}</svg>"
            f"<div role='status' style='font-family:monospace;font-size:90%;color:{ASIDE};min-height:1.5em'>{news}</div>"
            f"<details><summary style='cursor:pointer'>in words</summary><pre style='margin:.2em 0 0 1em;line-height:1.4'>{words}</pre>"
            "</details></div>"
        )

    def _box(self, box: Box) -> str:
        is_new, colour = box.key in self._new, _COLOUR[box.kind]
        fill = "none" if box.kind in ("machine", "alone") else f"color-mix(in srgb,{colour} 14%,var(--jp-layout-color1,#fff))"
        dash = f"stroke-dasharray='{_DASHES[box.kind]}'" if box.kind in _DASHES else ""
        title, *lines = box.lines
        left = box.kind == "machine"
        x, anchor = (box.x + 14, "start") if left else (box.x + box.width / 2, "middle")
        first = box.y + (20 if box.kind in ("machine", "place", "alone") else 17)
        texts = "".join(
            f"<text x='{x:g}' y='{first + 17 * (row + 1):g}' text-anchor='{anchor}' font-size='12' "
            f"style='fill:var(--jp-ui-font-color1,{INK})'>{escaped(line)}</text>"
            for row, line in enumerate(lines)
        )
        return (
            f"<g><rect x='{box.x:g}' y='{box.y:g}' width='{box.width:g}' height='{box.height:g}' rx='9' stroke='{colour}' {dash} "
            f"stroke-width='{3.5 if is_new else 1.6}' style='fill:{fill}'/><text x='{x:g}' y='{first:g}' text-anchor='{anchor}' "
            f"font-weight='700' style='fill:var(--jp-ui-font-color1,{INK})'>{f'{NEW} ' * is_new}{escaped(title)}</text>{texts}</g>"
        )

    def _wire(self, wire: Wire) -> str:
        is_new, colour = wire.key in self._new, _COLOUR[wire.kind]
        path = "M" + " L".join(f"{x:g} {y:g}" for x, y in wire.points)
        dash = f"stroke-dasharray='{_DASHES[wire.kind]}'" if wire.kind in _DASHES else ""
        is_way = wire.kind in ("in", "on")
        tip = "marker-end='url(#network-tip)'" if is_way else ""
        ends = () if is_way else (wire.points[0], wire.points[-1])
        dots = "".join(f"<circle cx='{x:g}' cy='{y:g}' r='4' fill='{colour}'/>" for x, y in ends)
        label = (
            f"<text x='{wire.at[0]:g}' y='{wire.at[1]:g}' font-size='11' text-anchor='{'end' if wire.leads else 'start'}' "
            f"style='fill:{ASIDE}'>{escaped(wire.label)}</text>"
        )
        run = f"<circle r='5' fill='{colour}'><animateMotion dur='0.8s' fill='freeze' path='{path}'/></circle>" if is_new else ""
        return (
            f"<path d='{path}' fill='none' stroke='{colour}' {dash} stroke-linejoin='round' "
            f"stroke-width='{(1.6 if is_way else 2.6) + is_new}' {tip}/>{dots}{run}{label}"
        )

    def controls(self) -> list[ipywidgets.Widget]:
        import ipywidgets

        toggle = ipywidgets.Checkbox(value=True, description="draw it anew when it changes", indent=False)
        toggle.observe(self._follow_or_not, names="value")
        return [*super().controls(), toggle]

    def widget(self) -> ipywidgets.Widget:
        """With its first picture it begins to follow what happens."""
        is_new = self._widget is None
        box = super().widget()
        if is_new:
            self._begin()
        return box

    def _follow_or_not(self, change: dict[str, object]) -> None:
        self.close()
        if change["new"]:
            self.refresh()
            self._begin()

    def _begin(self) -> None:
        with suppress(LabError):
            self._listener = LinkNews()
            threading.Thread(target=partial(self._follow, self._listener), name="network", daemon=True).start()

    def _follow(self, listener: LinkNews) -> None:
        while listener.wait():
            self.refresh()

    def close(self) -> None:
        """Follow no more."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def figure(self) -> Figure:
        """The same for print."""
        from matplotlib.patches import FancyBboxPatch

        layout = network_layout.of(self.seen or _NOTHING)
        figure, axes = drawing(layout.width / 100, layout.height / 100)
        axes.set(xlim=(0, layout.width), ylim=(layout.height, 0))
        axes.text(layout.width / 2, 10, "outside", ha="center", va="center", size=8, color=INK)
        for depth, box in enumerate(layout.boxes):
            colour, is_empty, is_left = _COLOUR[box.kind], box.kind in ("machine", "alone"), box.kind == "machine"
            axes.add_patch(FancyBboxPatch((box.x, box.y), box.width, box.height, boxstyle="round,pad=0,rounding_size=9", edgecolor=colour,
                                          facecolor="none" if is_empty else _pale(colour), linewidth=1.2, zorder=2 + 2 * (depth > 0),
                                          linestyle="--" if box.kind == "alone" else "-"))  # fmt: skip
            for row, line in enumerate(box.lines):
                x, weight = box.x + (14 if is_left else box.width / 2), "normal" if row else "bold"
                axes.text(x, box.y + 15 + 17 * row, line, ha="left" if is_left else "center", va="center", size=7, weight=weight, color=INK,
                          zorder=6, family="DejaVu Sans")  # fmt: skip
        for wire in layout.wires:
            colour, is_way = _COLOUR[wire.kind], wire.kind in ("in", "on")
            style = {"cable": "-", "loose": "--", "in": "-", "on": ":"}[wire.kind]
            axes.plot(*zip(*wire.points, strict=True), color=colour, linestyle=style, linewidth=1.2 if is_way else 1.8, zorder=3)
            if is_way:
                axes.annotate("", wire.points[-1], wire.points[-2], arrowprops={"arrowstyle": "->", "color": colour, "linestyle": style})
            axes.text(*wire.at, wire.label, size=6, color=INK, ha="right" if wire.leads else "left", zorder=6)
        return figure


def told(seen: Survey) -> tuple[str, ...]:
    """What was seen, in lines of text."""
    lines = ["this machine"]
    for bridge in seen.bridges:
        out = " · masquerade" if any(network_layout.is_in(bridge, subnet) for subnet in seen.ways_out) else ""
        lines.append(f"  bridge {bridge.name} {', '.join(bridge.addresses) or 'without an address'}{out}{down(bridge.is_up)}")
        lines += [f"    ═ {_end(cable.other)}{down(cable.one.is_up)}" for cable in seen.cables if cable.one.bridge == bridge.name]
    for cable in seen.cables:
        if cable.one.place == MACHINE and not cable.one.bridge:
            lines.append(f"  cable {cable.one.link} {_addresses(cable.one)} ═ {_end(cable.other)}")
    for door in seen.doors:
        of = f" of {door.place}" if door.place else ""
        lines.append(f"  port {str(door.port).replace('→', '▸')}{of} · {who(door.port.address)}")
    lines += [f"  {guest} lives in this machine's own namespace" for guest in seen.guests]
    lines += [f"cable {_end(cable.one)} ═ {_end(cable.other)}" for cable in seen.cables if cable.one.place != MACHINE]
    joined = {plug.place for cable in seen.cables for plug in (cable.one, cable.other)}
    lines += [f"{place}: no cable" for place in seen.places if place not in joined]
    return (*lines, *(f"{name} has ended" for name in seen.gone))


def _end(plug: Plug) -> str:
    return f"{plug.link} of {plug.place}, {_addresses(plug)}"


def _addresses(plug: Plug) -> str:
    return (" ".join(plug.addresses) or "no address") + down(plug.is_up)


def _keys(layout: Layout) -> frozenset[str]:
    return frozenset([*(box.key for box in layout.boxes), *(wire.key for wire in layout.wires)])


def _pale(colour: str) -> str:
    """The colour, thinned with white: a face that covers what is behind it."""
    return "#" + "".join(f"{round(255 - (255 - int(colour[at : at + 2], 16)) * 0.14):02x}" for at in (1, 3, 5))


def _tip() -> str:
    return (
        f"<defs><marker id='network-tip' viewBox='0 0 10 10' refX='9' refY='5' markerWidth='8' markerHeight='8' orient='auto' "
        f"markerUnits='userSpaceOnUse'><path d='M0 0 L10 5 L0 10 z' fill='{COLOURS[5]}'/></marker></defs>"
    )
