"""What a comparison has found, as data: rows of values, as they came, for both sides.

    >>> row = result.row("start")
    >>> row.container.median, row.machine.median, row.ratio
    (0.031, 1.52, 49.0)
    >>> print(result.table())                     # for people
    >>> json.dumps(result.encoded())              # for programs

Median and the whole range, never the mean: one run in which something else happened on this machine would spoil it.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import field

from labkit import codec
from labkit.errors import NotFound
from labkit.lab.comparison.published import CAUTION, FIGURES, Figure
from labkit.records import record

_SIZES = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B"))
_SECONDS = ((1, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


@record
class Series:
    """The values of one side, one for each repetition, in their order."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def range(self) -> tuple[float, float]:
        """The least and the greatest."""
        return min(self.values), max(self.values)


@record
class Row:
    """One thing that was measured. ``unit`` is s, bytes, bytes/s or a word for what is counted; ``note`` says what to mind."""

    key: str
    title: str
    unit: str
    container: Series
    machine: Series
    more_is_better: bool = False
    note: str = ""
    extrapolated: bool = False
    """Not measured, but worked out from what was."""

    @property
    def ratio(self) -> float:
        """How many times as much it is for the virtual machine; infinite, where it is nothing for the container."""
        return self.machine.median / self.container.median if self.container.median else float("inf")

    def told(self, value: float) -> str:
        """A value of this row in words."""
        return told(value, self.unit)


@record
class Result:
    """A whole comparison."""

    image: str
    repetitions: int
    kvm: bool
    acceleration: str
    """In words: with KVM, or emulated and why."""
    host: Mapping[str, str]
    """This machine: kernel, processors, memory, and whether it is itself a virtual one."""
    facts: tuple[tuple[str, str, str], ...]
    """What both sides say of themselves: the question, the container's answer, the virtual machine's."""
    rows: tuple[Row, ...]
    published: tuple[Figure, ...] = field(default=FIGURES)
    caution: str = CAUTION

    def row(self, key: str) -> Row:
        """The row of this key; ``NotFound`` names those that there are."""
        for row in self.rows:
            if row.key == key:
                return row
        raise NotFound(f"no row {key!r} in the comparison; there are {', '.join(row.key for row in self.rows)}")

    def encoded(self) -> object:
        """For JSON: all values, and the medians."""
        rows = [
            {
                "key": row.key, "title": row.title, "unit": row.unit, "more_is_better": row.more_is_better, "note": row.note,
                "extrapolated": row.extrapolated, "ratio": row.ratio if row.container.median else None,
                **{side: {"median": series.median, "min": series.range[0], "max": series.range[1], "values": list(series.values)}
                   for side, series in (("container", row.container), ("machine", row.machine))},
            }
            for row in self.rows
        ]  # fmt: skip
        return {
            "image": self.image, "repetitions": self.repetitions, "kvm": self.kvm, "acceleration": self.acceleration,
            "host": dict(self.host),
            "facts": [{"question": question, "container": container, "machine": machine} for question, container, machine in self.facts],
            "rows": rows, "published": codec.encode(self.published), "caution": self.caution,
        }  # fmt: skip

    def table(self) -> str:
        """For people, in columns."""
        lines = [("", "container", "virtual machine", "ratio")]
        lines += [
            (row.title, _spread(row, row.container), _spread(row, row.machine), f"{times(row.ratio)}{' *' if row.extrapolated else ''}")
            for row in self.rows
        ]
        lines += [(question, container, machine, "") for question, container, machine in self.facts]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        told = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
        notes = [f"{row.title}: {row.note}" for row in self.rows if row.note]
        marks = ["* worked out from few, not measured"] if any(row.extrapolated for row in self.rows) else []
        return "\n".join([*told, "", *marks, *notes, f"The virtual machine: {self.acceleration}."])


def told(value: float, unit: str) -> str:
    """A value with its unit, with three digits that count."""
    if unit == "s":
        return _scaled(value, _SECONDS, "s")
    if unit.startswith("bytes"):
        return _scaled(value, _SIZES, "B") + unit.removeprefix("bytes")
    return f"{value:,.0f} {unit}".rstrip() if value >= 100 else f"{value:.3g} {unit}".rstrip()


def times(ratio: float) -> str:
    """A ratio in words, in two digits that count: as exact as it deserves. Less than one is told the other way round."""
    if ratio == float("inf") or ratio == 0:
        return "× ∞" if ratio else "÷ ∞"
    sign, number = ("×", ratio) if ratio >= 1 else ("÷", 1 / ratio)
    return f"{sign} {number:.2g}" if number < 9.95 else f"{sign} {float(f'{number:.2g}'):,.0f}"


def _scaled(value: float, scale: tuple[tuple[float, str], ...], least: str) -> str:
    if value == 0:
        return f"0 {least}"
    factor, unit = next(((factor, unit) for factor, unit in scale if value >= factor), scale[-1])
    return f"{value / factor:.0f} {unit}" if value / factor >= 100 else f"{value / factor:.3g} {unit}"


def _spread(row: Row, series: Series) -> str:
    least, greatest = series.range
    if least == greatest:
        return row.told(series.median)
    return f"{row.told(series.median)} ({row.told(least)} … {row.told(greatest)})"
