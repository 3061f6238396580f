"""To be told when a file changes, instead of looking again and again: ``tail -f``, ``docker logs -f``.

    >>> from labkit.linux import inotify
    >>> watch = inotify.Watch("/var/log", inotify.CREATE | inotify.MODIFY)
    >>> watch.fileno()                     # becomes readable when something has happened: wait for it with poll
    7
    >>> watch.clear()                      # what has happened is seen by looking; this only makes it quiet again
    >>> watch.close()

A watch on a directory tells of the files in it, too. Source: ``man 7 inotify``.
"""

from __future__ import annotations

import os
from contextlib import suppress
from errno import EMFILE
from typing import Self

from labkit.errors import KernelError
from labkit.linux import syscalls

MODIFY, MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x2, 0x40, 0x80, 0x100, 0x200
_ENOUGH = 65536


class Watch:
    """A watch on a file or a directory. Raises ``KernelError`` if it is not there, or if the user has too many watches."""

    def __init__(self, path: str, events: int) -> None:
        try:
            self._fd = syscalls.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        except KernelError as error:
            hint = "too many watches at once: raise sysctl fs.inotify.max_user_instances" if error.errno == EMFILE else ""
            raise KernelError(error.errno, "watch", path, hint) from None
        try:
            syscalls.inotify_add_watch(self._fd, path, events)
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Readable when something has happened."""
        return self._fd

    def clear(self) -> None:
        """Forget what has happened until now."""
        with suppress(BlockingIOError):
            while os.read(self._fd, _ENOUGH):
                pass

    def close(self) -> None:
        """Stop watching."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
