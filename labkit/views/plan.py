"""A container's plan, one step at a time: what is done, what is next, and the kernel's state before and after.

    >>> Stepper(runtime.plan(bundle, "box"))
    box: 14 of 33 steps are done
      ✔ container  make / rslave
      ✔ container  bind /var/lib/labkit/lessons/04/box/rootfs on itself
      ▶ container  mount proc on /proc                                    ← next
      · container  mount tmpfs on /dev (nosuid,strictatime,mode=755)
    The last step changed:
      + mount ext4 on /var/lib/labkit/lessons/04/box/rootfs

The buttons call ``plan.step()`` and ``plan.abandon()``, nothing else; a cell may step the same plan in between, and *Look again*
shows it. Evidence: ``Progress`` of ``labkit.runtime.stepping``. Notebook 04.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from labkit.errors import LabError
from labkit.linux import namespaces
from labkit.runtime import stepping
from labkit.views.view import ASIDE, COLOURS, FAINT, INK, View, button, drawing, escaped

if TYPE_CHECKING:
    import ipywidgets
    from matplotlib.figure import Figure

    from labkit.runtime.plans import Plan, Step
    from labkit.runtime.stepping import Observation, Progress

DONE, NEXT, TO_COME = "✔", "▶", "·"
_WORDS = {DONE: "done", NEXT: "next", TO_COME: "to come"}
_COLOUR = {DONE: COLOURS[2], NEXT: COLOURS[5], TO_COME: FAINT}
_BEHIND, _AHEAD = 4, 7  # steps that are shown before and after the next one
_WIDEST = 76
_LIST = "list-style:none;margin:.2em 0;padding:0"


class Stepper(View):
    """The debugger of a container's birth."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.trouble = ""
        super().__init__()

    def look(self) -> None:
        self.done: tuple[Progress, ...] = self.plan.history
        first = max(0, min(len(self.done) - _BEHIND, len(self.plan) - _BEHIND - _AHEAD))
        last = min(len(self.plan), first + _BEHIND + _AHEAD)
        self.shown = [(self._sign(number), self.plan[number]) for number in range(first, last)]
        self.earlier, self.later = first, len(self.plan) - last

    def step(self) -> None:
        """Apply the next step; a failure is shown, and by then all is undone."""
        self._attempt(self.plan.step)

    def run(self) -> None:
        """Apply all that are left; then the program runs."""

        def rest() -> None:
            while self.plan.next:
                self.plan.step()

        self._attempt(rest)

    def abandon(self) -> None:
        """Kill what was born, and undo what was done."""
        self._attempt(self.plan.abandon)

    def _attempt(self, action: Callable[[], object]) -> None:
        self.trouble = ""
        try:
            action()
        except LabError as error:
            self.trouble = str(error)
        self.refresh()

    def text(self) -> str:
        lines = [self._title(), *_left_out(self.earlier, "earlier")]
        lines += [f"  {sign} {step.side:<9}  {_short(step)}{'   ← next' if sign == NEXT else ''}" for sign, step in self.shown]
        lines += _left_out(self.later, "later")
        if self.trouble:
            lines.append(f"It failed, and is undone: {self.trouble}")
        elif self.done:
            lines += ["The last step changed:", *(f"  {change}" for change in self._changes())]
        return "\n".join(lines)

    def _title(self) -> str:
        running = " · the program runs" if not self.plan.next else ""
        return f"{self.plan.id}: {len(self.done)} of {len(self.plan)} steps are done{running}"

    def _changes(self) -> tuple[str, ...]:
        return self.done[-1].changes or ("nothing that is looked at here",)

    def _sign(self, number: int) -> str:
        return DONE if number < len(self.done) else NEXT if number == len(self.done) else TO_COME

    def html(self) -> str:
        rows = "".join(_row(sign, step) for sign, step in self.shown)
        earlier, later = (
            "".join(f"<div style='color:{ASIDE}'>{note}</div>" for note in _left_out(number, which))
            for number, which in ((self.earlier, "earlier"), (self.later, "later"))
        )
        steps = f"<div style='flex:3 1 28em;min-width:0'>{earlier}<ol style='{_LIST}'>{rows}</ol>{later}</div>"
        state = f"<div style='flex:2 1 22em;min-width:0'>{self._state()}</div>"
        title = f"<p style='margin:.3em 0'><b>{escaped(self._title())}</b></p>"
        return f"<div style='line-height:1.5'>{title}<div style='display:flex;flex-wrap:wrap;gap:1.5em'>{steps}{state}</div></div>"

    def _state(self) -> str:
        """The last step: what it changed, and the kernel's state around it."""
        if self.trouble:
            return f"<p role='alert'><b>✘ It failed, and is undone.</b><br>{escaped(self.trouble)}</p>"
        if not self.done:
            hint = f"Nothing is done yet. Predict what the step marked {NEXT} changes, and press <b>Next step</b>."
            return f"<p style='color:{ASIDE}'>{hint}</p>"
        last = self.done[-1]
        changes = "".join(f"<li>{escaped(change)}</li>" for change in self._changes())
        before, after = facts(last.before), facts(last.after)
        rows = "".join(_fact(name, before.get(name, ""), value) for name, value in after.items())
        heads = "".join(f"<th scope='col' style='text-align:left;padding:0 .6em'>{head}</th>" for head in ("", "before", "after"))
        return (
            f"<div>Step {last.number}, <code>{escaped(str(last.step))}</code>, changed:</div>"
            f"<ul style='margin:.2em 0 .6em;padding-left:1.4em'>{changes}</ul>"
            f"<table style='border-collapse:collapse'><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
        )

    def controls(self) -> list[ipywidgets.Widget]:
        return [
            button("Next step", "apply the step that is marked", self.step),
            button("Run the rest", "apply all that are left, until the program runs", self.run),
            button("Abandon", "kill what was born, and undo what was done", self.abandon),
            *super().controls(),
        ]

    def figure(self) -> Figure:
        figure, axes = drawing(8.4, 0.3 * (len(self.shown) + 4))
        changes = self._changes() if self.done else ()
        axes.set(xlim=(0, 10), ylim=(len(self.shown) + len(changes) + 1.4, -1.2))
        axes.text(0, -0.7, self._title(), weight="bold", color=INK)
        for row, (sign, step) in enumerate(self.shown):
            axes.text(0.1, row, sign, ha="center", va="center", color=_COLOUR[sign], family="DejaVu Sans")
            axes.text(0.35, row, step.side, va="center", color=FAINT, size=8)
            axes.text(1.5, row, _short(step), va="center", color=INK, size=8, weight="bold" if sign == NEXT else "normal")
        for row, line in enumerate(("The last step changed:", *changes) if changes else (), len(self.shown)):
            axes.text(0.35, row + 0.4, line, va="center", color=INK, size=8)
        return figure


def facts(seen: Observation) -> dict[str, str]:
    """The kernel's state in rows: what ``stepping.facts`` has, and the mounts and namespaces as counts."""
    if not seen.namespaces:
        return {"process": "ended"}
    ours = namespaces.of("self")
    root = next((kind for target, kind in seen.mounts.values() if target == "/"), "none")
    return {
        "process": "init" if seen.pid else "none yet: this is the host",
        "namespaces of its own": ", ".join(kind for kind, space in seen.namespaces.items() if ours.get(kind) != space) or "none",
        "mounts": f"{len(seen.mounts)}, the root is {root}",
        **stepping.facts(seen),
    }


def _row(sign: str, step: Step) -> str:
    is_next = sign == NEXT
    why = f"<div style='padding-left:1.6em;color:{ASIDE}'>{escaped(step.why)} <i>({escaped(step.man)})</i></div>" if is_next else ""
    current = " aria-current='step'" if is_next else ""
    frame = f"border-left:4px solid {_COLOUR[NEXT] if is_next else 'transparent'};padding-left:.5em"
    words = f"<code>{escaped(_short(step))}</code>"
    return (
        f"<li{current} style='{frame}'><span title='{_WORDS[sign]}' style='color:{_COLOUR[sign]}'>{sign}</span> "
        f"<span style='color:{ASIDE};display:inline-block;width:5em'>{step.side}</span> {f'<b>{words}</b>' if is_next else words}{why}</li>"
    )


def _fact(name: str, before: str, after: str) -> str:
    """One row; where the two differ, a word and bold type say so."""
    cell = "padding:.05em .6em;vertical-align:top;overflow-wrap:anywhere"
    changed = before != after
    value = f"<b>{escaped(after)}</b> ◀" if changed else escaped(after)
    head = f"<th scope='row' style='text-align:left;font-weight:400;white-space:nowrap;{cell}'>{escaped(name)}</th>"
    return f"<tr>{head}<td style='{cell}'>{escaped(before)}</td><td style='{cell}'>{value}</td></tr>"


def _left_out(number: int, which: str) -> list[str]:
    return [f"  … {number} {which}"] if number else []


def _short(step: Step) -> str:
    words = str(step)
    return words if len(words) <= _WIDEST else words[: _WIDEST - 1] + "…"
