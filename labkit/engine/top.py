"""The processes of a container, as the host sees them: ``docker top``.

    >>> from labkit.engine import top
    >>> top.top(web).Titles
    ('UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD')

Source: ``man 1 ps``; moby's ``daemon/top_unix.go``. Shown in notebook 06.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.records import record

if TYPE_CHECKING:
    from labkit.engine.container import Container


@record
class Top:
    """A table: as many columns in each row as there are titles."""

    Titles: tuple[str, ...]
    Processes: tuple[tuple[str, ...], ...]


def top(container: Container, arguments: str = "") -> Top:
    """What ``ps`` with these arguments (``-ef``) shows of the container's processes. ``Conflict`` if it does not run."""
    raise NotImplementedError
