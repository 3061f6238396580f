"""The far side of ``box.py``: the helper that makes a box, and the box itself, which runs commands.

    python -m labkit.linux.box_process MAKER CLOCK_OFFSET KIND...        started by ``namespaces.new``, which holds the other end of fd 0

The box ends at the end of file on descriptor 0, or when a pidfd tells that its maker or its helper has ended: a fork of the maker may
hold the socket open. When it was killed, its orphans become children of the helper, which kills them (``PR_SET_CHILD_SUBREAPER``).

Source: ``man 2 clone``, ``man 7 pid_namespaces``, ``man 7 time_namespaces``. Shown in notebook 01.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from typing import NoReturn

from labkit.errors import KernelError, NotFound
from labkit.linux import mounts, namespaces, processes, syscalls


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
        for reply in commands.keys() & ready:  # the other end is closed: nobody waits for this command any more
            os.killpg(commands.pop(reply), signal.SIGKILL)
            poll.unregister(reply)
            os.close(reply)
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
