"""Bytes for the daemon's socket, and whether what it answers is a sentence that a person can do something with."""

from __future__ import annotations

import json
import re
import socket

from tests.daemons import Daemon
from tests.patience import PATIENCE

SECONDS = 20 * PATIENCE


def send(daemon: Daemon, data: bytes) -> tuple[int, str]:
    """Send bytes, and no more: the status of the answer, and its message."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(SECONDS)
        connection.connect(daemon.socket)
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        except BrokenPipeError:
            pass  # it has heard enough
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 "), answer[:200]
    return int(head.split()[1]), message(body)


def message(body: bytes) -> str:
    text = body[body.find(b"{") : body.rfind(b"}") + 1].decode()
    return str(json.loads(text)["message"]) if text else ""


def is_a_sentence(text: str) -> bool:
    """Some words, and no inside of a Python program."""
    return 3 < len(text) < 1000 and " " in text and not re.search(r"Traceback|Error\(|<class|object at 0x|internal error|\n", text)
