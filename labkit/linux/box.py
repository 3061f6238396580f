"""A box: a small process in namespaces of its own, made by ``namespaces.new``.

    >>> box = namespaces.new("uts", "pid", "mnt")
    >>> box.run("hostname student-7; ps -o pid,ppid,args")
    >>> box.close()

A notebook's kernel has many threads, and a thread that unshares leaves the others behind; so a fresh process with a single one,
``python -m labkit.linux.box``, does it. This module is both sides:

    notebook                                  helper                     the box
    Box() ─────────── starts ───────────────▶ clone(new namespaces) ───▶ is born
          ◀────────── "pid", 4711 ──────────────────────────────────────
    uid_map, gid_map ─ "go" ───────────────────────────────────────────▶ becomes root, mounts /proc
          ◀────────── "ready" ──────────────────────────────────────────
    run() ─────────── command, 3 descriptors ──────────────────────────▶ sh -c command
          ◀────────── exit code, through the third ─────────────────────
    close() ───────── end of file ─────────────────────────────────────▶ kills what runs in it, ends
                                              ends ◀────────────────────

The end of any of the three ends the others. End of file also comes when the notebook is killed with -9, and pidfds tell of it if a
fork of the notebook holds the socket open; the orphans of a box that was killed become children of the helper, which kills them.
Shown in notebook 01.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, NoReturn

from labkit.errors import Conflict, InvalidInput, KernelError, LabError, NotFound
from labkit.linux import idmaps, mounts, namespaces, processes, syscalls

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
            raise InvalidInput("clock_offset: only a time namespace has clocks of its own: add \"time\"")
        if (uids or gids) and "user" not in kinds:
            raise InvalidInput("uids, gids: only a user namespace has id maps: add \"user\"")
        self.pid, self.kinds = 0, kinds
        self._streams: list[int] = []
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-I", "-m", __name__, str(os.getpid()), str(clock_offset), *kinds]
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


# What follows runs in the helper and in the box.


def main(maker: int, clock_offset: int, kinds: list[str]) -> None:
    """The helper: make the box, and inherit and kill its orphans when it has ended."""
    channel = socket.socket(fileno=0)
    ends = [processes.pidfd(maker), processes.pidfd(os.getpid())]
    try:
        if clock_offset:
            # The clocks of a time namespace can be set until the first process is in it, which this one will not be.
            namespaces.unshare("time")
            kinds = [kind for kind in kinds if kind != "time"]
            with open("/proc/self/timens_offsets", "w") as file:
                file.write(f"monotonic {clock_offset} 0\nboottime {clock_offset} 0\n")
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
        box = namespaces.clone(*kinds) if kinds else os.fork()
    except OSError as error:
        _fail(channel, KernelError.of(error, "set the clocks of", "a time namespace"))
    except KernelError as error:
        _fail(channel, error)
    if box == 0:
        _be_the_box(channel, ends, kinds)
        return
    channel.close()
    os.waitpid(box, 0)
    _kill_children()


def _be_the_box(channel: socket.socket, ends: list[int], kinds: list[str]) -> None:
    """The box: settle down in the new namespaces, then serve."""
    pid = os.readlink("/proc/self")  # in the /proc of the maker, so the number that the maker knows
    channel.send(f"pid\0{pid}".encode())
    if not channel.recv(16):
        return
    try:
        if "user" in kinds:
            _become_root()
        if "mnt" in kinds:
            mounts.make_private()
            if "pid" in kinds:
                mounts.mount("proc", "/proc", "proc", ["nosuid", "nodev", "noexec"])
        with open("/proc/self/comm", "w") as file:
            file.write("box")
        # Orphans of a command become children of the box, as they do of any process 1.
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    except OSError as error:
        _fail(channel, KernelError.of(error, "settle down in a box of", " ".join(kinds)))
    except KernelError as error:
        _fail(channel, error)
    channel.send(b"ready")
    _serve(channel, ends)
    if "pid" not in kinds:  # else the kernel kills what is left in the namespace
        _kill_children()


def _become_root() -> None:
    """Be user 0 of a user namespace, whose maps are written now."""
    with open("/proc/self/setgroups") as file:
        if file.read().strip() == "allow":
            os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)  # a change of user had taken our own /proc/self away from us


def _fail(channel: socket.socket, error: KernelError) -> NoReturn:
    channel.send(f"failed\0{error.errno}\0{error.operation}\0{error.object}\0{error.hint}".encode())
    sys.exit(1)


def _serve(channel: socket.socket, ends: list[int]) -> None:
    """Run commands and reap whatever ends, until the maker closes the channel, or it or the helper ends."""
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker)  # so a child's end wakes the poll
    poll = select.poll()
    for fd in wake, channel.fileno(), *ends:
        poll.register(fd, select.POLLIN)
    commands: dict[int, int] = {}  # the descriptor that takes the exit code: the process
    while True:
        ready = {fd for fd, _ in poll.poll()}
        if ready.intersection(ends):
            return
        if wake in ready:
            os.read(wake, 4096)
            ended = _reap()
            for reply in [reply for reply, pid in commands.items() if pid in ended]:
                poll.unregister(reply)
                _reply(reply, ended[commands.pop(reply)])
        for reply in commands.keys() & ready:
            # Nobody waits for it any more.
            poll.modify(reply, 0)
            os.killpg(commands[reply], signal.SIGKILL)
        if channel.fileno() in ready:
            command, descriptors, _, _ = socket.recv_fds(channel, 1 << 18, 3, socket.MSG_CMSG_CLOEXEC)
            if not descriptors:
                return
            *streams, reply = descriptors
            try:
                commands[reply] = _start(command.decode(), *streams)
                poll.register(reply, select.POLLIN)
            except OSError as error:
                os.write(streams[1], f"no process could be started: {error.strerror}".encode())
                _reply(reply, 126)
            for fd in streams:
                os.close(fd)


def _start(command: str, output: int, errors: int) -> int:
    streams: list[tuple[int, int, int] | tuple[int, int, str, int, int]] = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, output, 1),
        (os.POSIX_SPAWN_DUP2, errors, 2),
    ]
    # Python ignores two signals, a notebook's starter perhaps others, and a program would inherit that.
    defaults = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    return os.posix_spawn("/bin/sh", ["sh", "-c", command], os.environ, file_actions=streams, setsid=True, setsigdef=defaults)


def _reap() -> dict[int, int]:
    """The exit codes of all children that have ended, orphans of former commands among them."""
    ended = {}
    try:
        while (child := os.waitpid(-1, os.WNOHANG))[0]:
            ended[child[0]] = processes.exit_code(child[1])
    except ChildProcessError:
        pass
    return ended


def _reply(fd: int, code: int) -> None:
    try:
        os.write(fd, str(code).encode())
    except BrokenPipeError:
        pass
    os.close(fd)


def _kill_children() -> None:
    while found := processes.children(os.getpid()):
        for pid in found:
            try:
                processes.send(pid, signal.SIGKILL)
            except NotFound:
                pass
        for pid in found:
            os.waitpid(pid, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
