"""Where everything goes in the picture of a network: boxes and wires, for a browser and for print alike.

         ↓                ↓                            from outside
    ┌ this machine ─────────────────────────────────┐
    │ ┌ 0.0.0.0:8080 ▸ 80 ┐                          │  doors, above the place that they lead to
    │ ┌ bridge ─────────────────────┐  ┌ lk-laptop ┐ │  bridges, and ends of cables that no bridge has
    └─────┬──────────────────┬────────────┬──────────┘
      ┌ web ┐            ┌ db ┐       ┌ laptop ┐        places, each a column
      └─────┘            └────┘       └────────┘
         └─── from place to place ───────┘

Nothing here knows of SVG or matplotlib. ``labkit.views.network`` draws it. Notebook 07.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_interface

from labkit.network.survey import MACHINE, Bridge, Cable, Door, Plug, Survey

WIDE, GAP, EDGE = 200, 24, 26
_OUTSIDE, _WALL = 14, 40  # heights: of the words for the world outside, of the machine's upper edge
_DOOR, _BAR, _ROW = 40, 42, 17
_EVERYWHERE = ("0.0.0.0", "::")


@dataclass(frozen=True)
class Box:
    """A rectangle with lines of text, the first of them its title. ``kind`` is machine, bridge, door, plug, place or alone."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    lines: tuple[str, ...]
    key: str


@dataclass(frozen=True)
class Wire:
    """A line through points: a cable, a cable that is down, or the way of packets in or on (with an arrow)."""

    points: tuple[tuple[float, float], ...]
    kind: str
    key: str
    label: str = ""
    at: tuple[float, float] = (0, 0)
    """Where the label begins; or ends, if it ``leads`` up to the wire."""
    leads: bool = False


@dataclass(frozen=True)
class Layout:
    """All of it, in the order in which it is drawn."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    wires: tuple[Wire, ...]


def of(seen: Survey) -> Layout:
    """The layout of what was seen."""
    return _Drawing(seen).layout()


class _Drawing:
    def __init__(self, seen: Survey) -> None:
        self.seen = seen
        self.columns = {place: EDGE + number * (WIDE + GAP) for number, place in enumerate(_ordered(seen))}
        self.width: float = max(2 * EDGE + max(1, len(self.columns)) * (WIDE + GAP) - GAP, 420)
        rows = max((len(self._doors(place)) for place in (*self.columns, MACHINE)), default=0)
        self.bar = _WALL + 34 + rows * (_DOOR + 8)
        joins = seen.bridges or any(cable.one.place == MACHINE for cable in seen.cables)
        self.floor = self.bar + (_BAR + 30 if joins else 0)
        self.top = self.floor + 44
        self.boxes: list[Box] = []
        self.wires: list[Wire] = []

    def layout(self) -> Layout:
        guests = f"  ·  and {', '.join(self.seen.guests)}, in its own namespace" if self.seen.guests else ""
        machine = Box(8, _WALL, self.width - 16, self.floor - _WALL, "machine", (f"this machine{guests}",), "this machine")
        self.boxes.append(machine)
        for bridge in self.seen.bridges:
            self._bridge(bridge)
        for place in self.columns:
            self._place(place)
        low = self.top + max((box.height for box in self.boxes if box.kind in ("place", "alone")), default=0)
        level = 0
        for cable in self.seen.cables:
            if cable.one.place == MACHINE:
                self._drop(cable)
            else:
                level += 1
                self._loop(cable, low + 14 + 12 * level)
        for place in (*self.columns, MACHINE):
            for row, door in enumerate(self._doors(place)):
                self._door(door, row)
        return Layout(self.width, low + (26 + 12 * level if level else 8), tuple(self.boxes), tuple(self.wires))

    def _doors(self, place: str) -> list[Door]:
        return [door for door in self.seen.doors if door.place == place]

    def _bridge(self, bridge: Bridge) -> None:
        """A bar over all who are plugged in; an empty one is as wide as its name."""
        at = [self.columns[each.other.place] for each in self.seen.cables if each.one.bridge == bridge.name and self._is_home(each)]
        taken = [box.x + box.width for box in self.boxes if box.kind == "bridge"]
        begin = min(at, default=max(taken, default=EDGE - GAP) + GAP)
        end = max(at, default=begin) + WIDE
        out = " · masquerade" if any(is_in(bridge, subnet) for subnet in self.seen.ways_out) else ""
        lines = (f"bridge {bridge.name}", (", ".join(bridge.addresses) or "no address") + out + down(bridge.is_up))
        self.boxes.append(Box(begin, self.bar, end - begin, _BAR, "bridge", lines, bridge.name))
        self.width = max(self.width, end + EDGE)

    def _is_home(self, cable: Cable) -> bool:
        """Whether it is the first bridge of the place that it leads to: places stand below that one."""
        bridges = [each.one.bridge for each in self.seen.cables if each.other.place == cable.other.place and each.one.bridge]
        return bridges[:1] == [cable.one.bridge]

    def _plugs(self, place: str) -> list[tuple[Plug, bool]]:
        """The ends in a place, and whether the other end is at this machine."""
        found = []
        for cable in self.seen.cables:
            found += [(plug, cable.one.place == MACHINE) for plug in (cable.one, cable.other) if plug.place == place]
        return found

    def _place(self, place: str) -> None:
        plugs = self._plugs(place)
        lines = [f"{plug.link}  {' '.join(plug.addresses) or 'no address'}{down(plug.is_up)}" for plug, _ in plugs]
        kind = "place" if plugs else "alone"
        height = 16 + _ROW * (1 + max(1, len(plugs)))
        self.boxes.append(Box(self.columns[place], self.top, WIDE, height, kind, (place, *(lines or ["no cable"])), place))

    def _at(self, plug: Plug, above: bool) -> float:
        """Where along the edge of its place an end is."""
        side = [each for each, is_above in self._plugs(plug.place) if is_above == above]
        return self.columns[plug.place] + WIDE * (side.index(plug) + 1) / (len(side) + 2 if above else len(side) + 1)

    def _drop(self, cable: Cable) -> None:
        """From this machine down to a place."""
        one, other = cable.one, cable.other
        x = self._at(other, True)
        bar = next((box for box in self.boxes if box.kind == "bridge" and box.key == one.bridge), None)
        if bar is None:
            lines = (one.link, (" ".join(one.addresses) or "no address") + down(one.is_up))
            self.boxes.append(Box(self.columns[other.place], self.bar, WIDE, _BAR, "plug", lines, _key(cable)))
            self.wires.append(Wire(((x, self.bar + _BAR), (x, self.top)), _wire(cable), _key(cable)))
            return
        start = min(max(x, bar.x + 12), bar.x + bar.width - 12)
        points = ((start, self.bar + _BAR), (start, self.floor), (x, self.floor + 26), (x, self.top))
        leads = start > x
        at = (start - 7 if leads else start + 7, self.bar + _BAR + 19)
        self.wires.append(Wire(points, _wire(cable), _key(cable), one.link, at, leads))

    def _loop(self, cable: Cable, depth: float) -> None:
        """From place to place, below them."""
        ends = [(self._at(plug, False), self._bottom(plug.place)) for plug in (cable.one, cable.other)]
        (a, low), (b, low_b) = ends
        self.wires.append(Wire(((a, low), (a, depth), (b, depth), (b, low_b)), _wire(cable), _key(cable)))

    def _bottom(self, place: str) -> float:
        return next(box.y + box.height for box in self.boxes if box.key == place and box.kind == "place")

    def _door(self, door: Door, row: int) -> None:
        """A door, the way in to it if it can be reached from outside, and the way on to the place."""
        port = door.port
        column = self.columns.get(door.place, self.width - EDGE - WIDE)
        y = _WALL + 28 + row * (_DOOR + 8)
        shown = f"[{port.address}]" if ":" in port.address else port.address
        lines = (f"{shown}:{port.port} ▸ {port.to_port}/{port.protocol}", who(port.address))
        self.boxes.append(Box(column, y, WIDE, _DOOR, "door", lines, str(port)))
        if not is_inner(port.address):
            x = column + WIDE - 40 - 10 * row
            self.wires.append(Wire(((x, _OUTSIDE + 6), (x, y)), "in", str(port)))
        if door.place in self.columns:
            x = column + WIDE - 14 - 10 * row
            self.wires.append(Wire(((x, y + _DOOR), (x, self.top)), "on", str(port)))


def who(address: str) -> str:
    """For whom a published port is open, by the address of the machine's that it is bound to."""
    if is_inner(address):
        return "for this machine alone"
    return "for everybody" if address in _EVERYWHERE else f"for who comes to {address}"


def is_inner(address: str) -> bool:
    """Whether nobody outside can come to that address."""
    return address.startswith("127.") or address == "::1"


def down(is_up: bool) -> str:
    """A word for a link that is switched off."""
    return "" if is_up else "  (down)"


def _ordered(seen: Survey) -> list[str]:
    """Who is on the same bridge stands side by side."""
    names = [bridge.name for bridge in seen.bridges]

    def rank(place: str) -> int:
        bridges = [cable.one.bridge for cable in seen.cables if cable.other.place == place and cable.one.bridge in names]
        return names.index(bridges[0]) if bridges else len(names)

    return sorted(seen.places, key=rank)


def _wire(cable: Cable) -> str:
    return "cable" if cable.one.is_up and cable.other.is_up else "loose"


def _key(cable: Cable) -> str:
    return f"{cable.one.place}:{cable.one.link}={cable.other.place}:{cable.other.link}"


def is_in(bridge: Bridge, subnet: str) -> bool:
    return any(str(ip_interface(address).network) == subnet for address in bridge.addresses)
