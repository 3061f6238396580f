"""Who shares what: processes side by side, and for each kind of namespace whether they live in the same one.

    >>> NamespaceTree(notebook="self", box=box.pid)
    mnt     ─── notebook, box
    uts     ─┬─ notebook
             └─ box

In the picture a bar that reaches across processes is one namespace for all of them; each has a letter, so that the same
letter further along the row is the same namespace too. Evidence: ``/proc/PID/ns`` (``man 7 namespaces``). Notebook 01.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.errors import InvalidInput, NotFound
from labkit.linux import namespaces
from labkit.views.view import ASIDE, COLOURS, INK, View, drawing, escaped

if TYPE_CHECKING:
    import ipywidgets
    from matplotlib.figure import Figure


class NamespaceTree(View):
    """The namespaces of the named processes; a process that has ended is left out, and the text says so."""

    def __init__(self, **processes: int | str) -> None:
        if not processes:
            raise InvalidInput('processes: name at least one, as in NamespaceTree(notebook="self", box=box.pid)')
        self.processes = processes
        self.numbers = False
        super().__init__()

    def look(self) -> None:
        self.seen: dict[str, dict[str, namespaces.Namespace]] = {}
        self.gone: list[str] = []
        for name, pid in self.processes.items():
            try:
                self.seen[name] = namespaces.of(pid)
            except NotFound:
                self.gone.append(name)

    def groups(self, kind: str) -> dict[namespaces.Namespace, list[str]]:
        """The namespaces of one kind, each with the processes in it, in the order in which they were named."""
        found: dict[namespaces.Namespace, list[str]] = {}
        for name, spaces in self.seen.items():
            if kind in spaces:
                found.setdefault(spaces[kind], []).append(name)
        return found

    def text(self) -> str:
        lines = []
        for kind in self._kinds():
            groups = [", ".join(names) for names in self.groups(kind).values()]
            branches = ["───"] if len(groups) == 1 else ["─┬─", *[" ├─"] * (len(groups) - 2), " └─"]
            lines += [f"{label:<7} {branch} {group}" for label, branch, group in zip([kind, *[""] * 8], branches, groups, strict=False)]
        return "\n".join([*lines, *(f"{name} has ended" for name in self.gone)])

    def html(self) -> str:
        heads = "".join(f"<th style='min-width:6em;padding:.1em .6em;text-align:center'>{escaped(name)}</th>" for name in self.seen)
        rows = "".join(f"<tr>{self._row(kind)}</tr>" for kind in self._kinds())
        gone = "".join(f"<p>{escaped(name)} has ended.</p>" for name in self.gone)
        return (
            "<table style='border-collapse:separate;border-spacing:6px 3px;line-height:1.4'>"
            f"<thead><tr><th></th>{heads}<th></th></tr></thead><tbody>{rows}</tbody></table>{gone}"
        )

    def _row(self, kind: str) -> str:
        cells = "".join(
            f"<td colspan='{width}' style='border:2px solid {COLOURS[letter % len(COLOURS)]};border-radius:8px;text-align:center;"
            f"padding:.1em .6em'>{_letter(letter)}{f' <code>{space}</code>' if self.numbers else ''}</td>"
            for letter, space, _, width in self._bars(kind)
        )
        apart = len(self.groups(kind))
        word = "shared by all" if apart == 1 else f"{apart} namespaces"
        return (
            f"<th scope='row' style='text-align:left' title='{escaped(namespaces.kind(kind).holds)}'>{kind}</th>{cells}"
            f"<td style='color:{ASIDE};padding-left:.8em'>{word}</td>"
        )

    def controls(self) -> list[ipywidgets.Widget]:
        import ipywidgets

        toggle = ipywidgets.Checkbox(value=False, description="inode numbers", indent=False)
        toggle.observe(self._show_numbers, names="value")
        return [*super().controls(), toggle]

    def _show_numbers(self, change: dict[str, object]) -> None:
        self.numbers = bool(change["new"])
        self.redraw()

    def figure(self) -> Figure:
        from matplotlib.patches import FancyBboxPatch

        kinds, names = self._kinds(), list(self.seen)
        figure, axes = drawing(1.6 + 1.5 * len(names), 0.4 * (len(kinds) + 1))
        axes.set(xlim=(-0.75, len(names)), ylim=(len(kinds), -0.9))
        for column, name in enumerate(names):
            axes.text(column + 0.5, -0.45, name, ha="center", va="center", weight="bold", color=INK)
        for row, kind in enumerate(kinds):
            axes.text(-0.1, row + 0.5, kind, ha="right", va="center", color=INK)
            for letter, _, column, width in self._bars(kind):
                colour = COLOURS[letter % len(COLOURS)]
                axes.add_patch(FancyBboxPatch((column + 0.12, row + 0.2), width - 0.24, 0.6, boxstyle="round,pad=0,rounding_size=0.08",
                                              facecolor=colour + "2a", edgecolor=colour, linewidth=1.4))  # fmt: skip
                axes.text(column + width / 2, row + 0.52, _letter(letter), ha="center", va="center", color=INK, size=9)
        return figure

    def _kinds(self) -> list[str]:
        return [kind for kind in namespaces.KINDS if self.groups(kind)]

    def _bars(self, kind: str) -> list[tuple[int, namespaces.Namespace, int, int]]:
        """Runs of neighbours in one namespace: its number in the row, itself, first column, how many columns."""
        order = list(self.groups(kind))
        bars: list[tuple[int, namespaces.Namespace, int, int]] = []
        for column, spaces in enumerate(self.seen.values()):
            space = spaces[kind]
            if bars and bars[-1][1] == space:
                letter, _, first, width = bars[-1]
                bars[-1] = (letter, space, first, width + 1)
            else:
                bars.append((order.index(space), space, column, 1))
        return bars


def _letter(number: int) -> str:
    return chr(ord("A") + number)
