"""What a virtual machine prints on its serial line: kept, and told to whoever listens.

    >>> console = Console(socket)
    >>> console.tail(2)
    ['[    0.163516] PCI: Fatal: No config space access function found', 'labkit: ready']

The oldest is forgotten when there is much of it. A thread reads, for a machine whose line nobody reads stands still. Notebook 08.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

_KEPT = 1 << 18


class Console:
    """The output of one machine, as bytes arrive. ``listener`` is called with each piece, by the thread that reads."""

    def __init__(self, line: socket.socket, listener: Callable[[bytes], None] | None = None) -> None:
        self._socket = line
        self._said = bytearray()
        self._listener = listener
        self._changed = threading.Condition()
        self.first: float | None = None
        """When the first byte came, on the clock ``time.monotonic``."""
        self._thread = threading.Thread(target=self._read, name="console", daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        """All that is kept."""
        with self._changed:
            return self._said.decode(errors="replace").replace("\r\n", "\n")

    def tail(self, lines: int = 8) -> list[str]:
        """The last lines."""
        return self.text.splitlines()[-lines:]

    def wait_for(self, words: str, seconds: float) -> bool:
        """Wait until these words have been printed; whether they have in time."""
        with self._changed:
            return self._changed.wait_for(lambda: words.encode() in self._said, seconds)

    def send(self, text: str) -> None:
        """Type something."""
        self._socket.sendall(text.encode())

    def close(self) -> None:
        """After the machine has ended: wait until all it said is here, and let go."""
        self._thread.join(5)
        self._socket.close()

    def _read(self) -> None:
        while True:
            try:
                piece = self._socket.recv(1 << 16)
            except OSError:
                return
            if not piece:
                return
            with self._changed:
                self.first = self.first or time.monotonic()
                self._said += piece
                del self._said[:-_KEPT]
                self._changed.notify_all()
            if self._listener:
                self._listener(piece)
