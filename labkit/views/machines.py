"""A virtual machine beside a container: what each costs, measured here, in bars that can be compared.

    >>> shown = Comparison(lambda report: experiment.compare(images, "busybox", report=report))
    >>> shown.measure()                # or the button; takes a while, and says how far it is
    >>> shown
                       container          virtual machine      ratio
    first output       12.7 ms (…)        1.6 s (…)            × 130
    memory at rest     5.68 MiB (…)       214 MiB (…)          × 38
    …
    The virtual machine: emulated (TCG), there is no /dev/kvm.

A bar says how many times as much the virtual machine needs, on a scale on which each step is ten times the one before; bars to the left of
the middle say that it needs less. What was worked out and not measured is hatched. Evidence: ``labkit.lab.comparison``. Notebook 08.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from labkit.errors import LabError
from labkit.lab.comparison.experiment import Step
from labkit.lab.comparison.results import Result, Row, times
from labkit.views.view import ASIDE, COLOURS, FAINT, INK, View, button, drawing, escaped

if TYPE_CHECKING:
    import ipywidgets
    from matplotlib.figure import Figure

Report = Callable[[Step], None]
_DECADES = 3  # a bar reaches the edge at a thousand times
_MIDDLE = f"background:linear-gradient({FAINT},{FAINT}) 50%/1px 100% no-repeat"
_GRID = "display:grid;grid-template-columns:minmax(12em,auto) 8em 8em 16em 5em;gap:.1em 1em;align-items:center;max-width:62em"


class Comparison(View):
    """The results of an experiment, which ``measure`` makes; before that there are none."""

    def __init__(self, experiment: Callable[[Report], Result], result: Result | None = None) -> None:
        self._experiment = experiment
        self.result = result
        self.progress: Step | None = None
        """How far the measuring is that goes on now."""
        self.failure = ""
        self._busy = threading.Lock()
        super().__init__()

    def look(self) -> None:
        """Nothing is measured by looking."""

    def measure(self) -> Result | None:
        """Make the experiment, and show how it goes on; the result. While one is being made, no other begins."""
        if not self._busy.acquire(blocking=False):
            return self.result
        try:
            self.failure = ""
            self.result = self._experiment(self._hear)
        except LabError as error:
            self.failure = str(error)
        finally:
            self.progress = None
            self._busy.release()
            self.redraw()
        return self.result

    def _hear(self, step: Step) -> None:
        self.progress = step
        self.redraw()

    def controls(self) -> list[ipywidgets.Widget]:
        """One button; what it starts goes on beside the notebook."""

        def begin() -> None:
            threading.Thread(target=self.measure, name="comparison", daemon=True).start()

        return [button("Measure", "measure both, in turns", begin)]

    def text(self) -> str:
        return "\n".join([*self._news(), self.result.table() if self.result else "nothing is measured yet"])

    def _news(self) -> list[str]:
        """What goes on, or has gone wrong."""
        if self.progress:
            return [f"measuring, step {self.progress.done + 1} of {self.progress.total}: {self.progress.words} …"]
        return [self.failure] if self.failure else []

    def html(self) -> str:
        news = "".join(f"<p role='status' style='margin:.3em 0'>{escaped(line)}</p>" for line in self._news())
        if self.result is None:
            return f"<div style='line-height:1.5'>{news}<p style='color:{ASIDE}'>nothing is measured yet</p></div>"
        heads = "".join(f"<b>{head}</b>" for head in ("", "container", "virtual machine", "", "ratio"))
        rows = "".join(self._row(row) for row in self.result.rows)
        foot = f"The virtual machine: {self.result.acceleration}. Bars: each step is ten times the one before."
        return (
            f"<div style='line-height:1.5'>{news}<div style='{_GRID}'>{heads}{rows}</div>"
            f"<p style='margin:.4em 0;color:{ASIDE}'>{escaped(foot)}</p></div>"
        )

    def _row(self, row: Row) -> str:
        left, width = _span(row.ratio)
        worked_out = " (worked out)" if row.extrapolated else ""
        fill = f"repeating-linear-gradient(45deg,{COLOURS[1]} 0 4px,transparent 4px 8px)" if row.extrapolated else COLOURS[_side(row)]
        bar = (
            f"<span aria-hidden='true' style='position:relative;height:1em;{_MIDDLE}'>"
            f"<span style='position:absolute;height:100%;left:{left:.1f}%;width:{width:.1f}%;background:{fill}'></span></span>"
        )
        title = f"<span title='{escaped(row.note)}'>{escaped(row.title)}{worked_out}</span>"
        values = "".join(f"<span>{escaped(row.told(series.median))}</span>" for series in (row.container, row.machine))
        return f"{title}{values}{bar}<span>{times(row.ratio)}</span>"

    def figure(self) -> Figure:
        """A bar for each row; to the right the virtual machine has more of it, to the left less."""
        rows = self.result.rows if self.result else ()
        figure, axes = drawing(8.5, 0.36 * len(rows) + 1.2)
        axes.set(xlim=(-1.6, 2.1), ylim=(-1.2, len(rows) + 0.6))
        for decade in range(-_DECADES, _DECADES + 1):
            at = decade / _DECADES
            axes.plot([at, at], [-0.2, len(rows)], color=FAINT, linewidth=1.2 if decade == 0 else 0.4)
            words = "same" if decade == 0 else f"{'×' if decade > 0 else '÷'} {10 ** abs(decade):,}"
            axes.text(at, -0.35, words, ha="center", va="top", size=7, color=INK)
        for number, row in enumerate(reversed(rows)):
            reach = _reach(row.ratio)
            hatch = "////" if row.extrapolated else ""
            axes.barh(number + 0.45, reach, height=0.62, color=COLOURS[_side(row)], alpha=0.85, hatch=hatch, edgecolor="white")
            axes.text(-1.05, number + 0.45, row.title, ha="right", va="center", size=8, color=INK)
            values = f"{row.told(row.container.median)}  →  {row.told(row.machine.median)}  {times(row.ratio)}"
            axes.text(1.05, number + 0.45, values, ha="left", va="center", size=8, color=INK)
        if self.result:
            how = "with KVM" if self.result.kvm else "EMULATED, without KVM"
            axes.set_title(
                f"container → virtual machine ({how}), {self.result.image}, median of {self.result.repetitions}", size=9, color=INK
            )
        return figure


def _reach(ratio: float) -> float:
    """How far a bar goes, from -1 to 1."""
    if ratio in (0, math.inf):
        return 1.0 if ratio else -1.0
    return max(-1.0, min(1.0, math.log10(ratio) / _DECADES))


def _span(ratio: float) -> tuple[float, float]:
    """Where a bar begins and how wide it is, in percent."""
    reach = _reach(ratio)
    return min(50.0, 50 + 50 * reach), abs(50 * reach)


def _side(row: Row) -> int:
    """The number of the colour: whether what the virtual machine has more or less of, is good or bad for it."""
    return 2 if (row.ratio > 1) == row.more_is_better else 1
