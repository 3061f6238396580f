"""What a container uses: ``docker stats``.

    >>> from labkit.engine import statistics
    >>> statistics.told(web, statistics.sample(web))["pids_stats"]
    {'current': 3}
    >>> for each in statistics.stream(web): ...                   # one a second, each with the one before as precpu_stats

Source: Docker Engine API v1.47, ``/containers/{id}/stats``. Shown in notebook 06.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit.engine.container import Container

Json = dict[str, object]


def once(container: Container, one_shot: bool = False) -> Json:
    """Docker's JSON of what it uses now; takes a second, to tell the share of a CPU, unless it is ``one_shot``."""
    raise NotImplementedError


def stream(container: Container) -> Iterator[Json]:
    """The same each second, until the container is removed or the iterator is closed."""
    raise NotImplementedError
