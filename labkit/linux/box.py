"""A box: a small process in namespaces of its own, made by ``namespaces.new``.

    >>> box = namespaces.new("uts", "pid", "mnt")
    >>> box.run("hostname student-7; ps -o pid,ppid,args")
    >>> box.close()

A notebook's kernel has many threads, and a thread that unshares leaves the others behind; so the namespaces are made by a fresh
process with a single one, ``python -m labkit.linux.box_process``:

    notebook                                  helper                     the box
    Box() ─────────── starts ───────────────▶ clone(new namespaces) ───▶ is born
          ◀────────── "pid", 4711 ──────────────────────────────────────
    uid_map, gid_map ─ "go" ───────────────────────────────────────────▶ becomes root, mounts /proc
          ◀────────── "ready" ──────────────────────────────────────────
    run() ─────────── command, 3 descriptors ──────────────────────────▶ sh -c command
          ◀────────── output, errors; through the third, the exit code ─
    close() ───────── end of file ─────────────────────────────────────▶ kills what runs in it, ends
                                              ends ◀────────────────────

The end of any of the three ends the others, also when the notebook is killed with -9. Shown in notebook 01.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

from labkit.errors import Conflict, InvalidInput, KernelError, LabError
from labkit.linux import idmaps, namespaces, processes

if TYPE_CHECKING:
    from types import TracebackType

_MOST_OUTPUT = 16 << 20  # bytes


class Box:
    """A process in namespaces of its own, seen from outside. ``namespaces.new`` makes one; ``with`` or ``close`` ends it."""

    pid: int
    """Its number out here; inside it may be 1."""

    kinds: tuple[str, ...]
    """The kinds of namespace that are its own; it shares the others with its maker."""

    def __init__(self, kinds: tuple[str, ...], uids: tuple[idmaps.IdMap, ...], gids: tuple[idmaps.IdMap, ...], clock_offset: int) -> None:
        if clock_offset and "time" not in kinds:
            raise InvalidInput('clock_offset: only a time namespace has clocks of its own: add "time"')
        if (uids or gids) and "user" not in kinds:
            raise InvalidInput('uids, gids: only a user namespace has id maps: add "user"')
        self.pid, self.kinds = 0, kinds
        self._streams: list[int] = []
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-I", "-m", "labkit.linux.box_process", str(os.getpid()), str(clock_offset), *kinds]
        with theirs:
            # In a session of its own, so that an interrupt from the keyboard does not reach it.
            streams = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0)]
            self._helper = os.posix_spawn(sys.executable, command, os.environ, file_actions=streams, setsid=True)
        self._pidfd = processes.pidfd(self._helper)
        try:
            (pid,) = self._receive("pid")
            self.pid = int(pid)
            if "user" in kinds:
                uids = uids or (idmaps.IdMap(0, os.geteuid(), 1),)
                gids = gids or (idmaps.IdMap(0, os.getegid(), 1),)
                idmaps.write(self.pid, uids, gids)
            self._channel.send(b"go")
            self._receive("ready")
        except BaseException:
            self.close()
            raise

    def _receive(self, expected: str) -> list[str]:
        word, *values = self._channel.recv(1 << 16).decode().split("\0")
        if word == "failed":
            code, operation, what, hint = values
            raise KernelError(int(code), operation, what, hint)
        if word != expected:
            raise LabError("the helper process of a box ended before the box was ready")
        return values

    def run(self, command: str, timeout: float = 60) -> str:
        """Run a shell command in the box; what it wrote to its standard output, without the newlines at the end, as ``$(…)`` gives it.

        A command that fails raises ``LabError`` with its exit code and standard error. So does one that runs longer than ``timeout``
        seconds; it is killed. What it leaves in the background goes on until the box is closed.
        """
        reply, reply_there = socket.socketpair()
        (output, output_there), (errors, errors_there) = os.pipe(), os.pipe()
        theirs = [output_there, errors_there, reply_there.detach()]
        try:
            try:
                socket.send_fds(self._channel, [command.encode()], theirs)
            finally:
                for fd in theirs:
                    os.close(fd)
            code, text, complaint = _listen(command, reply, output, errors, timeout)
        except OSError:
            raise Conflict(f"{self} has ended") from None
        finally:
            reply.close()  # which kills the command if it still runs
            self._let_go(output, errors)
        if code != "0":
            raise LabError(f"{command}: {f'exit code {code}' if code else 'the box ended meanwhile'}\n{complaint}".rstrip())
        return text.rstrip("\n")

    def _let_go(self, *streams: int) -> None:
        """Close streams to which nobody can write any more; what runs in the background must not die of a broken pipe."""
        for fd in streams:
            poll = select.poll()
            poll.register(fd, 0)
            if poll.poll(0):
                os.close(fd)
            else:
                self._streams.append(fd)

    def namespaces(self) -> dict[str, namespaces.Namespace]:
        """The labels of the box, by kind."""
        return namespaces.of(self.pid)

    def close(self) -> None:
        """End the box and all that runs in it; a second time is fine."""
        if self._pidfd < 0:
            return
        self._channel.close()
        if not processes.wait(self._pidfd, 2):
            # Somebody has stopped or frozen it.
            for pid in self.pid, self._helper:
                if pid and processes.alive(pid):
                    os.kill(pid, signal.SIGKILL)
                processes.wait(self._pidfd, 5)
        os.waitpid(self._helper, 0)
        for fd in self._pidfd, *self._streams:
            os.close(fd)
        self._pidfd = -1

    def __enter__(self) -> Box:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        # The cell was run again and the old box forgotten: it must not live on.
        if hasattr(self, "_pidfd"):
            self.close()

    def __repr__(self) -> str:
        return f"<Box {self.pid}: {', '.join(self.kinds)} of its own>"


def _listen(command: str, reply: socket.socket, output: int, errors: int, timeout: float) -> tuple[str, str, str]:
    """Read what a command writes until its exit code comes, not until the end of file: a background process may hold the streams."""
    written = {output: bytearray(), errors: bytearray()}
    poll = select.poll()
    for fd in reply.fileno(), output, errors:
        poll.register(fd, select.POLLIN)
    deadline = time.monotonic() + timeout
    code = None
    while code is None:
        ready = [fd for fd, _ in poll.poll(max(0, deadline - time.monotonic()) * 1000)]
        if not ready:
            raise LabError(f"{command}: still running after {timeout:g} seconds, killed")
        if reply.fileno() in ready:
            code = reply.recv(16).decode()
        for fd in ready if code is None else written:
            os.set_blocking(fd, False)
            try:
                data = os.read(fd, 1 << 16)
            except BlockingIOError:
                continue
            written[fd] += data
            if not data and code is None:
                poll.unregister(fd)
            if len(written[fd]) > _MOST_OUTPUT:
                raise LabError(f"{command}: wrote more than {_MOST_OUTPUT >> 20} MiB, killed")
    text, complaint = (bytes(data).decode(errors="replace") for data in written.values())
    return code, text, complaint
