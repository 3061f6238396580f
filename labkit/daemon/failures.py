"""What goes wrong between a client and the daemon, and is no failure of the engine's.

    Malformed     what the client sends is no HTTP
    ClientGone    nobody is there any more to tell

They pass through the engine where it reads what a client sends, or writes what it is to get; nobody there knows them.
"""

from __future__ import annotations

from labkit.errors import LabError


class Malformed(LabError):
    """What the client sends is no HTTP."""


class ClientGone(LabError):
    """The client has closed the connection in the middle of what it had to say, or of what it was told."""
