"""QMP: QEMU's remote control, a line of JSON for each request, answer and event.

    >>> control = qmp.Control(socket)                    # the other end is QEMU's: -chardev socket,fd=… -mon mode=control
    >>> control.ask("query-status")
    {'status': 'running', 'running': True}

    QEMU   {"QMP": {"version": …}}                       greets; then nothing but this is taken:
    us     {"execute": "qmp_capabilities"}
    QEMU   {"return": {}}                                and now it listens
    us     {"execute": "query-status", "id": 1}
    QEMU   {"event": "STOP", …}                          at any time
    QEMU   {"return": {…}, "id": 1}                      or {"error": {"class": …, "desc": …}, "id": 1}

Source: QEMU's ``docs/interop/qmp-spec.rst`` and ``qemu-qmp-ref``. The package ``qemu.qmp`` speaks it, too, for asyncio and with a shell of
its own; this is what a machine of ours needs of it. Notebook 08.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Mapping

from labkit.errors import LabError, Unreachable


class Control:
    """A line to one QEMU. Any thread may ask; one question is asked at a time."""

    def __init__(self, line: socket.socket) -> None:
        self._socket = line
        self._file = line.makefile("rb")
        self._lock = threading.Lock()
        self._asked = 0
        self._greeted = False

    def ask(self, command: str, timeout: float = 10.0, **arguments: object) -> object:
        """Have a command done; what it returns. ``LabError`` if QEMU refuses, ``Unreachable`` if it does not answer."""
        with self._lock:
            self._socket.settimeout(timeout)
            try:
                if not self._greeted:
                    self._read()
                    self._send({"execute": "qmp_capabilities"})
                    self._answer(command, None)
                    self._greeted = True
                self._asked += 1
                self._send({"execute": command, "id": self._asked, **({"arguments": arguments} if arguments else {})})
                return self._answer(command, self._asked)
            except (OSError, ValueError) as error:
                raise Unreachable(f"QEMU does not answer {command}: {error or type(error).__name__}") from None

    def monitor(self, line: str) -> str:
        """A line for the monitor that is meant for people, which can some things that QMP cannot; what it says."""
        return str(self.ask("human-monitor-command", 10.0, **{"command-line": line}))

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._socket.close()

    def _answer(self, command: str, id: int | None) -> object:
        while True:
            said = self._read()
            if said.get("id") != id or "event" in said:
                continue  # an event, or the answer to a question that was given up
            if "return" in said:
                return said["return"]
            if "error" in said:
                error = said["error"]
                raise LabError(f"QEMU, {command}: {error.get('desc', error) if isinstance(error, Mapping) else error}")

    def _send(self, request: Mapping[str, object]) -> None:
        self._socket.sendall(json.dumps(request).encode() + b"\n")

    def _read(self) -> Mapping[str, object]:
        line = self._file.readline()
        if not line:
            raise Unreachable("QEMU has hung up")
        said = json.loads(line)
        if not isinstance(said, dict):
            raise ValueError(f"this is no QMP: {line!r:.60}")
        return said
