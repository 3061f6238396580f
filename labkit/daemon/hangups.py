"""Clients that go away: found out at once, even while nobody reads from them or writes to them.

    >>> hangups = Hangups(loop)
    >>> with hangups.watched(socket.fileno(), task.cancel):
    ...     await …

A client that has ended only its own side of a connection is still there, and an attached docker command does that at once: so the end of
what can be read says nothing. The kernel knows more: EPOLLHUP means that both sides have ended. All connections are watched with one
epoll, which asks for nothing else. Source: ``man 7 epoll``, ``man 2 poll``.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import EBADF


class Hangups:
    """Which clients have gone, told by the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._watched: dict[int, Callable[[], object]] = {}
        loop.add_reader(self._epoll.fileno(), self._look)

    @contextmanager
    def watched(self, fd: int, then: Callable[[], object]) -> Iterator[None]:
        """Meanwhile, ``then`` is called, once, when the other end is gone. ``ConnectionError`` if it is already."""
        # The number may be another connection's by the end: what is closed has left the epoll by itself.
        self._watched[fd] = then
        try:
            self._epoll.register(fd, 0)
        except FileExistsError:
            pass
        except OSError:
            del self._watched[fd]
            raise ConnectionResetError(EBADF, "the connection is closed") from None
        try:
            yield
        finally:
            if self._watched.get(fd) is then:
                self._forget(fd)

    def close(self) -> None:
        """Watch nobody any more."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _forget(self, fd: int) -> None:
        self._watched.pop(fd, None)
        with suppress(OSError, ValueError):  # it is closed already, or all are
            self._epoll.unregister(fd)

    def _look(self) -> None:
        for fd, _ in self._epoll.poll(0):
            then = self._watched.get(fd)
            self._forget(fd)
            if then:
                then()
