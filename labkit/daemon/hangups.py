"""Clients that go away: found out at once, even while nobody reads from them or writes to them.

    >>> hangups = Hangups(loop)
    >>> hangups.watch(socket.fileno(), task.cancel)
    >>> hangups.forget(socket.fileno())

A client that has ended only its own side of a connection is still there, and an attached docker command does that at once: so the end of
what can be read says nothing. The kernel knows more: EPOLLHUP means that both sides have ended. All connections are watched with one
epoll, which asks for nothing else. Source: ``man 7 epoll``, ``man 2 poll``.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from contextlib import suppress


class Hangups:
    """Which clients have gone, told by the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._then: dict[int, Callable[[], object]] = {}
        loop.add_reader(self._epoll.fileno(), self._look)

    def watch(self, fd: int, then: Callable[[], object]) -> None:
        """Call ``then``, once, when the other end is gone."""
        if fd not in self._then:
            self._epoll.register(fd, 0)
        self._then[fd] = then

    def forget(self, fd: int) -> None:
        """It is no longer of interest."""
        if self._then.pop(fd, None):
            with suppress(OSError):  # it is closed already
                self._epoll.unregister(fd)

    def close(self) -> None:
        """Watch nobody any more."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _look(self) -> None:
        for fd, _ in self._epoll.poll(0):
            then = self._then.get(fd)
            self.forget(fd)
            if then:
                then()
