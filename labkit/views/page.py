"""A web page in a notebook: what a server answers, shown as a browser shows it.

    >>> page = Page(site)                       # a site of ``labkit.lessons.web``, or whoever gets pages
    >>> page
    http://127.0.0.1:8080/ → 200 OK, from nginx
      nginx answers from a container. This page is …
    >>> page.refresh()                          # or the button: get it again

The page is fetched by the notebook's own process and handed to the browser as text (``<iframe srcdoc>``, HTML Living Standard, 4.8.5). So
one sees it where the lab is on another machine as well, and nothing but JupyterLab's own port leads there. It is shut off from the
notebook: its scripts do not run, and what it would load besides is not there. Notebook 09.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Protocol

from labkit.errors import LabError
from labkit.views.view import ASIDE, FAINT, INK, View, button, drawing, escaped

if TYPE_CHECKING:
    import ipywidgets
    from matplotlib.figure import Figure

_WIDTH = 96
_BAR = f"border-bottom:1px solid {FAINT};padding:.3em .8em;font-family:var(--jp-code-font-family,monospace);font-size:90%"


class Answer(Protocol):
    """What a server answered."""

    @property
    def told(self) -> str: ...
    @property
    def server(self) -> str: ...
    @property
    def page(self) -> str: ...
    @property
    def words(self) -> str: ...


class Site(Protocol):
    """Where pages are."""

    @property
    def url(self) -> str: ...
    def get(self, path: str = "/") -> Answer: ...


class Page(View):
    """The page at one path of a site."""

    def __init__(self, site: Site, path: str = "/", height: str = "17em") -> None:
        self.site, self.path, self.height = site, path, height
        self.answer: Answer | None = None
        self.failure = ""
        super().__init__()

    def look(self) -> None:
        """Get the page."""
        try:
            self.answer, self.failure = self.site.get(self.path), ""
        except LabError as error:
            self.answer, self.failure = None, str(error)

    def controls(self) -> list[ipywidgets.Widget]:
        return [button("Get it again", "ask the server for the page once more", self.refresh)]

    @property
    def address(self) -> str:
        """What a browser has in its address line."""
        return f"{self.site.url}{self.path}"

    @property
    def news(self) -> str:
        """How the server has answered."""
        if self.answer is None:
            return f"no answer: {self.failure}"
        server = self.answer.server.partition("/")[0]
        return f"{self.answer.told}{f', from {server}' if server else ''}"

    def text(self) -> str:
        words = self.answer.words if self.answer else ""
        return "\n".join([f"{self.address} → {self.news}", *textwrap.wrap(words, _WIDTH, initial_indent="  ", subsequent_indent="  ")])

    def html(self) -> str:
        page = self.answer.page if self.answer else ""
        frame = (
            f"<iframe title='the page at {escaped(self.address)}' sandbox='' srcdoc=\"{escaped(page)}\" "
            f"style='display:block;width:100%;height:{self.height};border:0;background:white'></iframe>"
        )
        return (
            f"<div style='border:1px solid {FAINT};border-radius:6px;max-width:62em;overflow:hidden;line-height:1.5'>"
            f"<div style='{_BAR}'>{escaped(self.address)} <span role='status' style='color:{ASIDE}'>→ {escaped(self.news)}</span></div>"
            f"{frame if self.answer else ''}</div>"
        )

    def figure(self) -> Figure:
        """The words of the page, in a frame."""
        head, *lines = self.text().splitlines()
        figure, axes = drawing(8, 0.9 + 0.26 * len(lines))
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        box = {"boxstyle": "square,pad=0.6", "edgecolor": FAINT, "facecolor": "white"}
        axes.set_title(head, loc="left", fontsize=9, color=INK, family="monospace")
        axes.text(0.02, 0.98, "\n".join(line.strip() for line in lines), va="top", fontsize=10, color=INK, bbox=box, linespacing=1.5)
        return figure
