"""What happens during a pull or a push, for the person who waits.

    $ labkit pull nginx                          on a terminal: a line a layer, with a bar while it moves
    latest: Pulling from library/nginx
    4f764ddf1c09: Pull complete
    50f53e6d7a6e: Downloading  ━━━━━━━━━━╸━━━━━━━━━  14.2MB/29.1MB
    $ labkit pull nginx | cat                    else: a line whenever a layer gets further, but for the bytes

    >>> with progress.shown() as report: images.pull(name, report=report)

Warnings go to stderr, so a mirror that is down is seen with ``--quiet``, too. The words are those of ``labkit.image.progress``. Seen in
notebook 05.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from labkit.cli import human
from labkit.image.progress import Progress, Report

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live
    from rich.table import Table

# What stands for a layer that is done with, and needs no line while others need it more.
_DONE = ("Pull complete", "Already exists", "Pushed", "Layer already exists", "Mounted from")
_RESTING = (*_DONE, "Download complete", "Waiting", "Preparing")
_line = threading.Lock()


@contextmanager
def shown(quiet: bool = False) -> Iterator[Report]:
    """A ``Report`` that shows what it is told on stdout, until the block ends."""
    if quiet:
        yield _warn_only
    elif sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb"):
        display = Display()
        try:
            yield display.report
        finally:
            display.close()
    else:
        yield _plain


def is_warning(said: Progress) -> bool:
    """Whether something went wrong that was got over."""
    return said.status.startswith("warning: ")


def _warn_only(said: Progress) -> None:
    if is_warning(said):
        sys.stdout.flush()
        print(f"labkit: {said}", file=sys.stderr, flush=True)


def _plain(said: Progress) -> None:
    if is_warning(said):
        _warn_only(said)
    elif said.current is None:
        with _line:  # layers are told of by threads of their own
            sys.stdout.write(f"{said}\n")
            sys.stdout.flush()


class Display:
    """Lines on a terminal, one for each layer, that change in place.

    What is about no layer is printed for good, and the layers before it with it: they change no more.
    """

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console

        self.console = console or Console(highlight=False, soft_wrap=False)
        self._rows: dict[str, Progress] = {}
        self._live: Live | None = None
        self._lock = threading.Lock()  # layers are told of by threads of their own

    def report(self, said: Progress) -> None:
        """Show it."""
        with self._lock:
            if said.id and not said.status.startswith("Pulling from"):
                self._rows[said.id] = said
                self._start()
            elif is_warning(said):
                self._warn(said)
            else:
                self._end()
                self.console.print(str(said), markup=False, soft_wrap=True)

    def close(self) -> None:
        """Leave the lines as they are and the terminal to others."""
        with self._lock:
            self._end()

    def _warn(self, said: Progress) -> None:
        """On a terminal that is ours too, above the lines that move; elsewhere, where warnings go."""
        if self._live and sys.stderr.isatty():
            self.console.print(f"labkit: {said}", markup=False, soft_wrap=True)
        else:
            _warn_only(said)

    def _start(self) -> None:
        if self._live is None:
            from rich.live import Live

            self._live = Live(self, console=self.console, refresh_per_second=8, redirect_stdout=False, redirect_stderr=False)
            self._live.start()

    def _end(self) -> None:
        if self._live is not None:
            live, self._live = self._live, None
            live.update(_lines(list(self._rows.values()), self.console.width), refresh=False)  # all of them, however many
            live.vertical_overflow = "visible"
            live.stop()
            self._rows = {}

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        """As many lines as there is room for: those that move first."""
        rows = list(self._rows.values())
        room = max((options.size.height or 25) - 2, 1)
        if len(rows) > room:
            moving = [row for row in rows if not row.status.startswith(_RESTING)][: room - 1]
            left = [row for row in rows if row not in moving][: room - 1 - len(moving)]
            shown = [row for row in rows if row in moving or row in left]
            yield _lines(shown, options.max_width)
            done = sum(row.status.startswith(_DONE) for row in rows)
            yield f"… and {len(rows) - len(shown)} more; {done} of {len(rows)} are done"
        else:
            yield _lines(rows, options.max_width)


def _lines(rows: list[Progress], width: int) -> Table:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, overflow="ellipsis")
    bar = max(min(40, width - 60), 0)
    for row in rows:
        moves = row.current is not None
        cells: list[Text | ProgressBar] = [Text(str(row), no_wrap=True, overflow="ellipsis")]
        if moves and bar:
            cells.append(ProgressBar(total=row.total, completed=row.current or 0, width=bar, pulse=False) if row.total else Text(""))
        if moves:
            total = f"/{human.size(row.total)}" if row.total else ""
            cells.append(Text(f"{human.size(row.current or 0)}{total}", no_wrap=True))
        table.add_row(*cells)
    return table
