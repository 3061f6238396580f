"""A container's plan, one step at a time: what is done, what is next, and the kernel's state before and after.

    >>> Stepper(runtime.plan(bundle, "box"))
    box: 14 of 33 steps are done
      ✔ container  make / rslave
      ✔ container  bind ROOT on itself
      ▶ container  mount proc on /proc                                    ← next
      · container  mount tmpfs on /dev (nosuid,strictatime,mode=755)
    The last step changed:
      + mount ext4 on ROOT

ROOT is the directory that becomes the container's ``/``. The buttons call ``plan.step()`` and ``plan.abandon()``, nothing
else; a cell may step the same plan in between, and *Look again* shows it. Evidence: ``Progress`` of
``labkit.runtime.stepping``. Notebook 04.
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
_COLUMN = "flex:1 1 27em;min-width:0"
_LIST = "list-style:none;margin:.2em 0;padding:0"
_GRID = "display:grid;grid-template-columns:1.4em 5.8em 1fr;overflow-wrap:anywhere"
_CELL = "padding:.05em .8em .05em 0;vertical-align:top"


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
        lines += [f"  {sign} {step.side:<9}  {self._short(step)}{'   ← next' if sign == NEXT else ''}" for sign, step in self.shown]
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
        """What the last step changed, in the words of ``Progress``, but for the long path of the root."""
        return tuple(map(self._brief, self.done[-1].changes)) or ("nothing that is looked at here",)

    def _brief(self, words: str) -> str:
        return words.replace(self.plan.container.rootfs, "ROOT")

    def _short(self, step: Step) -> str:
        words = self._brief(str(step))
        return words if len(words) <= _WIDEST else words[: _WIDEST - 1] + "…"

    def _sign(self, number: int) -> str:
        return DONE if number < len(self.done) else NEXT if number == len(self.done) else TO_COME

    def html(self) -> str:
        rows = "".join(self._row(sign, step) for sign, step in self.shown)
        earlier, later = (
            "".join(f"<div style='color:{ASIDE}'>{note}</div>" for note in _left_out(number, which))
            for number, which in ((self.earlier, "earlier"), (self.later, "later"))
        )
        steps = f"<div style='{_COLUMN}'>{earlier}<ol style='{_LIST}'>{rows}</ol>{later}</div>"
        state = f"<div style='{_COLUMN}'>{self._state()}</div>"
        title = f"<p style='margin:.3em 0'><b>{escaped(self._title())}</b></p>"
        return f"<div style='line-height:1.45'>{title}<div style='display:flex;flex-wrap:wrap;gap:1.5em'>{steps}{state}</div></div>"

    def _row(self, sign: str, step: Step) -> str:
        is_next = sign == NEXT
        colour = _COLOUR[sign]
        frame = f"{_GRID};border-left:4px solid {colour if is_next else 'transparent'};padding-left:.4em"
        current = " aria-current='step'" if is_next else ""
        words = f"<code>{escaped(self._short(step))}</code>"
        why = f"<div style='color:{ASIDE}'>{escaped(step.why)} <i>({escaped(step.man)})</i></div>"
        return (
            f"<li{current} style='{frame}'>"
            f"<span title='{_WORDS[sign]}' style='color:{colour}'>{sign}</span><span style='color:{ASIDE}'>{step.side}</span>"
            f"<div>{f'<b>{words}</b>{why}' if is_next else words}</div></li>"
        )

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
        heads = "".join(f"<th scope='col' style='text-align:left;{_CELL}'>{head}</th>" for head in ("", "before", "after"))
        return (
            f"<div>Step {last.number}, <code>{escaped(self._short(last.step))}</code>, changed:</div>"
            f"<ul style='margin:.2em 0 .6em;padding-left:1.4em'>{changes}</ul>"
            f"<table style='border-collapse:collapse;width:100%'><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
        )

    def widget(self) -> ipywidgets.Widget:
        """The buttons come first: they stay where they are, while the picture below them grows and shrinks."""
        box = super().widget()
        box.children = sorted(box.children, key=lambda child: child is self._picture)
        return box

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
            axes.text(1.5, row, self._short(step), va="center", color=INK, size=8, weight="bold" if sign == NEXT else "normal")
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


def _fact(name: str, before: str, after: str) -> str:
    """One row: two values and an arrow where they differ, one across both columns where they do not."""
    head = f"<th scope='row' style='text-align:left;font-weight:400;white-space:nowrap;color:{ASIDE};{_CELL}'>{escaped(name)}</th>"
    if before == after:
        return f"<tr>{head}<td colspan='2' style='{_CELL}'>{escaped(after)}</td></tr>"
    return f"<tr>{head}<td style='{_CELL}'>{escaped(before)}</td><td style='{_CELL}'><b>→ {escaped(after)}</b></td></tr>"


def _left_out(number: int, which: str) -> list[str]:
    return [f"  … {number} {which}"] if number else []
