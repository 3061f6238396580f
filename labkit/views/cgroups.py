"""What a control group uses, beside what it may use: now, or live.

    >>> CgroupUsage("labkit/02/room")
    labkit/02/room
    memory  ▕███████·············▏  24 MiB of 64 MiB
    cpu     ▕··········          ▏  no rate yet, at most 50 % of a CPU
    pids    ▕██··················▏  2 of 20
    out of memory: 0 killed · throttled: 0 of 0 periods

The rate of the CPU is what was used between the last two looks. *Live* looks twice a second until the group is gone, beside
whatever the notebook is doing. Evidence: the group's own files in cgroupfs, through ``Cgroup.usage``. Notebook 02.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.errors import LabError
from labkit.linux import cgroups
from labkit.views.view import ASIDE, COLOURS, FAINT, INK, View, drawing, escaped

if TYPE_CHECKING:
    import ipywidgets
    from matplotlib.figure import Figure

_KEPT = 60  # looks that the curve goes back


@dataclass(frozen=True)
class Gauge:
    """One resource: ``used`` and ``limit`` in one unit (None: not known, no limit), and both in words."""

    name: str
    used: float | None
    limit: float | None
    words: str

    @property
    def filled(self) -> float:
        """How full it is, from 0 to 1; without a limit nothing fills it."""
        if not self.limit or self.used is None:
            return 0.0
        return min(self.used / self.limit, 1.0)


class CgroupUsage(View):
    """Memory, CPU and processes of one control group."""

    interval = 0.5
    """Seconds between two looks when live."""

    def __init__(self, group: cgroups.Cgroup | str) -> None:
        self.group = cgroups.Cgroup(group) if isinstance(group, str) else group
        self.gone = False
        self.gauges: list[Gauge] = []
        self.story = ""
        self._last: tuple[float, int] | None = None
        self._past: dict[str, list[float]] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        super().__init__()

    def look(self) -> None:
        try:
            usage, limits, events = self.group.usage(), self.group.limits_in_force(), self.group.events()
            frozen = self.group.frozen
        except LabError:
            self.gone = True
            return
        self.gone = False
        now = time.monotonic()
        rate = None
        if self._last and usage.cpu_usec is not None and now > self._last[0]:
            rate = (usage.cpu_usec - self._last[1]) / (now - self._last[0]) / 1e6
        if usage.cpu_usec is not None:
            self._last = now, usage.cpu_usec
        cpus = limits.cpu_quota / (limits.cpu_period or 100_000) if limits.cpu_quota and limits.cpu_quota > 0 else None
        memory = limits.memory if limits.memory and limits.memory > 0 else None
        pids = limits.pids if limits.pids and limits.pids > 0 else None
        self.gauges = [
            Gauge("memory", usage.memory, memory, _size(usage.memory) + (f" of {_size(memory)}" if memory else ", no limit")),
            Gauge("cpu", rate, cpus, _percent(rate) + (f", at most {_percent(cpus)} of a CPU" if cpus else ", no limit")),
            Gauge("pids", usage.pids, pids, _count(usage.pids) + (f" of {pids}" if pids else ", no limit")),
        ]
        for gauge in self.gauges:
            self._past[gauge.name] = [*self._past.get(gauge.name, []), gauge.filled][-_KEPT:]
        self.story = (
            f"out of memory: {events.oom_kill or 0} killed · throttled: {events.throttled_periods or 0} of {events.periods or 0} periods"
        )
        if frozen:
            self.story += " · frozen"

    def text(self) -> str:
        if self.gone:
            return f"{self.group.path} is gone"
        bars = (f"{gauge.name:<7} ▕{'█' * round(20 * gauge.filled):·<20}▏  {gauge.words}" for gauge in self.gauges)
        return "\n".join([self.group.path, *bars, self.story])

    def html(self) -> str:
        if self.gone:
            return f"<p><code>{escaped(self.group.path)}</code> is gone.</p>"
        rows = "".join(
            f"<tr><th scope='row' style='text-align:left;padding-right:1em'>{gauge.name}</th><td>{_bar(gauge, colour)}</td>"
            f"<td style='padding:0 1em'>{escaped(gauge.words)}</td><td>{_curve(self._past[gauge.name], colour)}</td></tr>"
            for gauge, colour in zip(self.gauges, COLOURS, strict=False)
        )
        title = f"<p style='margin:.3em 0'><code>{escaped(self.group.path)}</code></p>"
        story = f"<p style='margin:.3em 0;color:{ASIDE}'>{escaped(self.story)}</p>"
        return f"{title}<table style='line-height:1.7'>{rows}</table>{story}"

    def controls(self) -> list[ipywidgets.Widget]:
        import ipywidgets

        live = ipywidgets.ToggleButton(value=False, description="Live", tooltip="look twice a second until the group is gone")
        live.observe(lambda change: self.live() if change["new"] else self.still(), names="value")
        return [*super().controls(), live]

    def live(self) -> None:
        """Look again and again, in a thread of its own, until ``still`` is called or the group is gone."""
        self.still()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, args=(self._stop,), daemon=True)
        self._thread.start()

    def still(self) -> None:
        """Stop looking."""
        self._stop.set()
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None

    def _follow(self, stop: threading.Event) -> None:
        while not stop.wait(self.interval) and not self.gone:
            self.refresh()

    def figure(self) -> Figure:
        figure, axes = drawing(6.4, 0.5 * len(self.gauges) + 0.5)
        axes.set(xlim=(-0.14, 1.75), ylim=(len(self.gauges), -0.9), title=self.group.path)
        for row, (gauge, colour) in enumerate(zip(self.gauges, COLOURS, strict=False)):
            axes.barh(row, 1, height=0.5, color="#eceff1", edgecolor=FAINT)
            axes.barh(row, gauge.filled, height=0.5, color=colour)
            axes.text(-0.02, row, gauge.name, ha="right", va="center", color=INK, weight="bold")
            axes.text(1.03, row, gauge.words, va="center", color=INK, size=9)
        return figure


def _bar(gauge: Gauge, colour: str) -> str:
    return (
        f"<div role='img' aria-label='{gauge.filled:.0%} full' style='width:14em;height:.9em;border:1px solid {FAINT};border-radius:3px'>"
        f"<div style='width:{gauge.filled:.0%};height:100%;background:{colour}'></div></div>"
    )


def _curve(past: list[float], colour: str) -> str:
    """The last half minute as a line; the top edge is the limit."""
    points = " ".join(f"{2 * x},{22 - 20 * y:.1f}" for x, y in enumerate(past))
    return (
        f"<svg width='{2 * _KEPT}' height='24' aria-hidden='true'><line x1='0' y1='2' x2='{2 * _KEPT}' y2='2' stroke='{FAINT}' "
        f"stroke-dasharray='3 3'/><polyline points='{points}' fill='none' stroke='{colour}' stroke-width='1.5'/></svg>"
    )


def _size(size: int | None) -> str:
    return "not counted here" if size is None else f"{size / 2**20:.0f} MiB"


def _count(number: int | None) -> str:
    return "not counted here" if number is None else str(number)


def _percent(cpus: float | None) -> str:
    return "no rate yet" if cpus is None else f"{cpus:.0%}".replace("%", " %")
