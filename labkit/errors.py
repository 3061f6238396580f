"""Every error that labkit raises, in one tree.

    LabError                 catch this to catch them all
    ├── NotFound             no such container, snapshot, process, file
    ├── Conflict             the name is taken, or the thing is in use or in another state
    ├── InvalidInput         what was asked for cannot be right; the message names the field
    ├── Unsupported          this machine's kernel or set-up lacks what was asked for
    ├── Unreachable          the other end of a network does not answer, or not as what it should be
    ├── Denied               it answers, and wants to know first who asks, or does not let this one in
    └── KernelError          a system call failed: its errno, the operation and the object

A message names the operation, the object, the cause and, where we know it, what to do:

    mount overlay on /run/labkit/c1/rootfs: EINVAL (upperdir is itself on overlayfs: put --root on ext4 or xfs)
"""

from __future__ import annotations

import os
from errno import errorcode


class LabError(Exception):
    """Anything labkit gives up on, with a message for the person who asked."""


class NotFound(LabError):
    """What was named does not exist."""


class Conflict(LabError):
    """The name is taken, or the thing is in a state that forbids the operation."""


class InvalidInput(LabError):
    """The request itself is wrong; the message starts with the path of the field, if there is one."""


class Unsupported(LabError):
    """This machine cannot do it; the message says what is missing and how to get it."""


class Unreachable(LabError):
    """Nobody answers there, or somebody who does not speak the protocol; the message names host and port."""


class Denied(LabError):
    """The other end refuses; the message says whether logging in may help."""


class KernelError(LabError):
    """A system call failed.

    ``errno`` is the kernel's number (``man 3 errno``), ``operation`` what was tried ("mount overlay on"),
    ``object`` what it was tried on (a path, a pid), ``hint`` the cause and remedy where they are known.
    """

    def __init__(self, errno: int, operation: str, object: str = "", hint: str = "") -> None:
        super().__init__(errno, operation, object, hint)
        self.errno = errno
        self.operation = operation
        self.object = object
        self.hint = hint

    def __str__(self) -> str:
        what = f"{self.operation} {self.object}".strip()
        return f"{what}: {errorcode.get(self.errno, self.errno)} ({self.hint or os.strerror(self.errno)})"

    @classmethod
    def of(cls, error: OSError, operation: str, object: str = "", hint: str = "") -> KernelError:
        """The same failure as Python's ``OSError`` reports it, with operation and object added."""
        return cls(error.errno or 0, operation, object, hint)
