"""Progress: what happens during a pull or a push, told as it happens.

    >>> from labkit.image.progress import Progress
    >>> def show(said: Progress) -> None: print(said)
    >>> show(Progress("4f4fb700ef54", "Downloading", 32, 29600000))
    4f4fb700ef54: Downloading

Whoever does the work calls a ``Report``, from any of its threads; a command line draws bars of it, a notebook a widget, the daemon
sends it on as JSON lines. The words are Docker's, and a layer goes through them in this order:

    pull   Pulling fs layer ─▶ Downloading ─▶ Verifying Checksum ─▶ Download complete ─▶ Extracting ─▶ Pull complete
              └▶ Already exists   ▲   └▶ Retrying in 3 seconds ─┐
                                  └──────────────────────────────┘
    push   Preparing ─▶ Pushing ─▶ Pushed
              └▶ Layer already exists, or Mounted from library/debian

Source: Docker Engine API, ``POST /images/create``. Shown in notebook 05.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One thing that happened. Two with the same ``id`` are of the same layer, and the later one stands for both."""

    id: str
    """Which layer, as the first 12 digits of its digest; or the tag; or nothing, if it is about the whole."""
    status: str
    current: int | None = None
    """Bytes done, where there is a bar to draw."""
    total: int | None = None
    """Bytes in all, if known."""

    def __str__(self) -> str:
        return f"{self.id}: {self.status}" if self.id else self.status


Report = Callable[[Progress], None]


def silent(_said: Progress) -> None:
    """The ``Report`` of those who do not want to hear."""
