"""Whether anybody still waits for a pull or a push: if not, its connections are broken, and so it ends at once.

    >>> interest = Interest()
    >>> threading.Thread(target=lambda: pull.pull(images, name, interest=interest)).start()
    >>> interest.lose()                      # a moment later the pull raises Unreachable, wherever it was

A thread that reads from a registry which says nothing cannot be told otherwise. What has arrived stays, and the next pull goes on from
there. Shown in notebook 05.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit.image.registry.client import Client


class Interest:
    """Of one who waits. Any thread may lose it."""

    def __init__(self) -> None:
        self._clients: set[Client] = set()
        self._lock = threading.Lock()
        self.is_lost = False

    def lose(self) -> None:
        """Break what is open, and whatever is opened later."""
        with self._lock:
            self.is_lost = True
            clients = tuple(self._clients)
        for client in clients:
            client.abort()

    @contextmanager
    def in_(self, client: Client) -> Iterator[None]:
        """Meanwhile, the client is of interest."""
        with self._lock:
            self._clients.add(client)
            is_lost = self.is_lost
        if is_lost:
            client.abort()
        try:
            yield
        finally:
            with self._lock:
                self._clients.discard(client)
