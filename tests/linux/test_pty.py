from __future__ import annotations

import os
import signal
import socket
import termios
from collections.abc import Callable, Iterator
from errno import ENOENT, ENOTTY, EPERM
from pathlib import Path
from typing import Any

import pytest

from labkit.errors import KernelError
from labkit.linux import pty, syscalls

InChild = Callable[[Callable[[], Any]], Any]


@pytest.fixture
def terminal() -> Iterator[pty.Terminal]:
    made = pty.new()
    yield made
    os.close(made.master)
    os.close(made.slave)


def test_what_is_written_at_one_end_is_read_at_the_other(terminal: pty.Terminal) -> None:
    os.write(terminal.slave, b"hello")
    assert os.read(terminal.master, 100) == b"hello"
    os.write(terminal.master, b"answer\n")
    assert os.read(terminal.slave, 100) == b"answer\n"


def test_the_slave_has_the_name_that_it_is_given(terminal: pty.Terminal) -> None:
    assert os.ttyname(terminal.slave) == terminal.name
    assert not os.get_inheritable(terminal.master) and not os.get_inheritable(terminal.slave)


def test_a_devpts_of_its_own_counts_from_0(in_child: InChild, tmp_path: Path) -> None:
    def change() -> str:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
        syscalls.mount("devpts", str(tmp_path), "devpts", 0, "newinstance,ptmxmode=0666")
        first, second = pty.new(f"{tmp_path}/ptmx"), pty.new(f"{tmp_path}/ptmx")
        assert os.fstat(second.slave).st_dev == os.stat(tmp_path).st_dev
        return first.name + second.name

    assert in_child(change) == "/dev/pts/0/dev/pts/1"


def test_without_a_devpts_it_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match="devpts on /dev/pts") as caught:
        pty.new(str(tmp_path / "ptmx"))
    assert caught.value.errno == ENOENT


def test_what_is_no_ptmx_is_refused_and_closed(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(KernelError, match="make a terminal of /dev/null: ENOTTY"):
        pty.new("/dev/null")
    assert os.listdir("/proc/self/fd") == before


def test_the_window_size_set_at_the_master_is_seen_by_a_program_at_the_slave(terminal: pty.Terminal) -> None:
    pty.set_size(terminal.master, rows=33, columns=121)
    assert pty.get_size(terminal.master) == pty.get_size(terminal.slave) == (33, 121)
    pid = os.fork()
    if pid == 0:
        os.dup2(terminal.slave, 0)
        os.dup2(terminal.slave, 1)
        os.execv("/bin/stty", ["stty", "size"])
    os.waitpid(pid, 0)
    assert os.read(terminal.master, 100) == b"33 121\r\n"


def test_what_is_no_terminal_has_no_size_and_no_raw_mode() -> None:
    with open("/dev/null") as null:
        for call in (lambda: pty.get_size(null.fileno()), lambda: pty.set_size(null.fileno(), 1, 1), lambda: raw(null.fileno())):
            with pytest.raises(KernelError) as caught:
                call()
            assert caught.value.errno == ENOTTY


def raw(fd: int) -> None:
    with pty.raw(fd):
        pass


def test_ctrl_c_reaches_the_process_that_the_terminal_controls(terminal: pty.Terminal) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.setsid()
            pty.make_controlling(terminal.slave)
            os.write(terminal.slave, b".")
            signal.pause()
        finally:
            os._exit(0)
    os.read(terminal.master, 1)
    os.write(terminal.master, b"\x03")
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGINT


def test_a_process_that_leads_no_session_gets_no_controlling_terminal(in_child: InChild, terminal: pty.Terminal) -> None:
    with pytest.raises(KernelError, match=r"os\.setsid") as caught:
        in_child(lambda: pty.make_controlling(terminal.slave))
    assert caught.value.errno == EPERM


def test_a_raw_terminal_passes_on_every_key_and_is_restored(terminal: pty.Terminal) -> None:
    before = termios.tcgetattr(terminal.slave)
    with pty.raw(terminal.slave):
        os.write(terminal.master, b"\x03a")  # neither a signal nor held back until the line ends
        assert os.read(terminal.slave, 100) == b"\x03a"
        os.write(terminal.slave, b"\n")
        assert os.read(terminal.master, 100) == b"\n", "no echo, and no carriage return added"
    assert termios.tcgetattr(terminal.slave) == before


def test_it_is_restored_after_an_error_too(terminal: pty.Terminal) -> None:
    before = termios.tcgetattr(terminal.slave)
    with pytest.raises(KeyboardInterrupt), pty.raw(terminal.slave):
        raise KeyboardInterrupt
    assert termios.tcgetattr(terminal.slave) == before


def test_the_master_travels_over_a_console_socket(terminal: pty.Terminal, tmp_path: Path) -> None:
    path = str(tmp_path / "console.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        with pty.connect(path) as sender:
            pty.send_fd(sender, terminal.master, terminal.name)
            connection, _ = listener.accept()
            with connection:
                name, (received,), _, _ = socket.recv_fds(connection, 4096, 1)
    assert name.decode() == terminal.name
    os.write(terminal.slave, b"hello")
    assert os.read(received, 100) == b"hello"
    os.close(received)


def test_a_console_socket_that_nobody_listens_at_is_an_error(terminal: pty.Terminal, tmp_path: Path) -> None:
    path = str(tmp_path / "console.sock")
    with pytest.raises(KernelError, match=r"console\.sock: ENOENT"):
        pty.connect(path)
    with socket.socket(socket.AF_UNIX) as closed:
        closed.bind(path)
    with pytest.raises(KernelError, match=r"console\.sock: ECONNREFUSED"):
        pty.connect(path)
    one, other = socket.socketpair()
    other.close()
    with one, pytest.raises(KernelError, match="send over the console socket /dev/pts/7: EPIPE"):
        pty.send_fd(one, terminal.master, "/dev/pts/7")


def test_keys_that_were_typed_before_raw_mode_are_not_lost(terminal: pty.Terminal) -> None:
    os.write(terminal.master, b"early\n")
    with pty.raw(terminal.slave):
        assert os.read(terminal.slave, 100) == b"early\n"
