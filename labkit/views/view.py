"""What all views have in common: text, a widget and a figure of the same facts.

    >>> view = NamespaceTree(notebook="self", box=box.pid)
    >>> print(view)                  # the text twin
    >>> view                         # in a notebook: the widget, with the text twin for readers that show no widgets
    >>> view.figure()                # matplotlib, for print

A view is told when to look (``refresh``); between two looks it shows what it saw, so that a picture never changes under
one's eyes unasked.
"""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ipywidgets
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The colours that tell neighbours apart (Okabe and Ito's, safe for colour-blind eyes); signs and words carry the meaning.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
INK, FAINT = "#37474f", "#90a4ae"
ASIDE = "var(--jp-ui-font-color2,#546e7a)"  # for words of less weight, on light and on dark pages


class View(ABC):
    """Text, widget and figure of one thing that the kernel holds."""

    def __init__(self) -> None:
        self._picture: ipywidgets.HTML | None = None
        self._widget: ipywidgets.VBox | None = None
        self.refresh()

    @abstractmethod
    def look(self) -> None:
        """Read the machine, and keep what is seen."""

    @abstractmethod
    def text(self) -> str:
        """What was seen, in plain text."""

    @abstractmethod
    def html(self) -> str:
        """The same for a browser; light and dark pages alike."""

    @abstractmethod
    def figure(self) -> Figure:
        """The same as a figure for print."""

    def refresh(self) -> None:
        """Look again, and show what is there now."""
        self.look()
        self.redraw()

    def redraw(self) -> None:
        """Show what was seen in every place where the widget is on a page."""
        if self._picture is not None:
            self._picture.value = self.html()

    def controls(self) -> list[ipywidgets.Widget]:
        """The buttons below the picture, in the order in which Tab reaches them."""
        return [button("Look again", "read the machine again", self.refresh)]

    def widget(self) -> ipywidgets.Widget:
        """The picture with its buttons; one widget, however often it is shown."""
        if self._widget is None:
            import ipywidgets

            self._picture = ipywidgets.HTML(self.html())
            self._widget = ipywidgets.VBox([self._picture, ipywidgets.HBox(self.controls())])
        return self._widget

    def __repr__(self) -> str:
        return self.text()

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        bundle = self.widget()._repr_mimebundle_()
        return {**bundle, "text/plain": self.text()}


def drawing(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure of so many inches that shows as a picture in a notebook, and its one pair of axes, invisible."""
    from io import BytesIO

    from matplotlib.figure import Figure

    class Drawing(Figure):
        def _repr_png_(self) -> bytes:
            file = BytesIO()
            self.savefig(file, format="png", dpi=120, bbox_inches="tight", facecolor="white")
            return file.getvalue()

    figure = Drawing(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.axis("off")
    return figure, axes


def button(label: str, tooltip: str, action: Callable[[], object]) -> ipywidgets.Button:
    """A button that calls ``action``."""
    import ipywidgets

    made = ipywidgets.Button(description=label, tooltip=tooltip)
    made.on_click(lambda _: action())
    return made


def escaped(text: str) -> str:
    """For a place between HTML tags or in an attribute."""
    return html.escape(text)
