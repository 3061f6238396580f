"""The process: QEMU, which ends when its owner does, in whatever way that ends.

    owner ── thread "qemu" ── spawns ──▶ setpriv --pdeathsig KILL ──▶ sh: is my parent still the owner? ──▶ QEMU
                                         the kernel is to kill me      if not, it has died meanwhile: end
                                         when my parent dies

    >>> process = qemu.start([hardware.qemu(), "-M", "microvm", …], fds=[3, 4])

``PR_SET_PDEATHSIG`` (``man 2 prctl``) means by a parent the *thread* that spawned, so there is one for that, which lives as long as the
process does. Standard error goes to a file without a name, which is read if something is wrong. Notebook 08.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from labkit.errors import NotFound, Unsupported
from labkit.linux import processes

_LAUNCH = ("setpriv", "--pdeathsig", "KILL", "--", "sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"')
_parent: ThreadPoolExecutor | None = None
_parent_of = 0


class Process:
    """A QEMU that was started here."""

    def __init__(self, popen: subprocess.Popen[bytes], errors: int) -> None:
        self._popen = popen
        self._errors = errors
        self.pid = popen.pid
        self._pidfd = processes.pidfd(popen.pid)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._pidfd >= 0 and not processes.wait(self._pidfd, 0)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for its end; whether it came in time."""
        return self._pidfd < 0 or processes.wait(self._pidfd, seconds)

    def kill(self) -> None:
        """End it at once, as if the plug were pulled."""
        if self._pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            processes.wait(self._pidfd)

    def complaints(self) -> str:
        """What it wrote on standard error."""
        return os.pread(self._errors, 1 << 16, 0).decode(errors="replace").strip() if self._errors >= 0 else ""

    def close(self) -> None:
        """Let go of a process that has ended."""
        if self._pidfd >= 0:
            self._popen.wait()
            os.close(self._pidfd)
            os.close(self._errors)
            self._pidfd = self._errors = -1


def start(arguments: Sequence[str], fds: Sequence[int]) -> Process:
    """Start QEMU with these descriptors, under their own numbers; the caller keeps its own copies."""
    global _parent, _parent_of
    if _parent is None or _parent_of != os.getpid():  # a fork of ours has no threads but the one that forked
        _parent, _parent_of = ThreadPoolExecutor(1, "qemu"), os.getpid()
    return _parent.submit(_spawn, arguments, fds).result()


def _spawn(arguments: Sequence[str], fds: Sequence[int]) -> Process:
    errors = os.memfd_create("qemu-stderr", os.MFD_CLOEXEC)
    try:
        command = [*_LAUNCH, str(os.getpid()), *arguments]
        # In a session of its own: ctrl-c at the terminal is for us, who then end it.
        popen = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, pass_fds=tuple(fds), start_new_session=True
        )
        return Process(popen, errors)
    except FileNotFoundError:
        os.close(errors)
        raise Unsupported("setpriv is missing: apt-get install util-linux") from None
    except NotFound:
        os.close(errors)
        raise
