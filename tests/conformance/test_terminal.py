"""A terminal for the container: handed to the engine over a Unix socket, or joined to the caller's own."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.patience import PATIENCE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from conftest import Container

SECONDS = 30 * PATIENCE
TERMINAL = {"process.terminal": True}


@pytest.fixture
def console(directory: Path) -> Iterator[tuple[str, Callable[[], int]]]:
    """The path of a socket for ``--console-socket``, and what waits for the master that comes through it."""
    masters: list[int] = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(directory / "console"))
        server.listen()
        server.settimeout(SECONDS)

        def receive() -> int:
            with server.accept()[0] as connection:
                name, fds, _, _ = socket.recv_fds(connection, 4096, 1)
            assert name
            masters.extend(fds)
            return fds[0]

        yield str(directory / "console"), receive
    for master in masters:
        os.close(master)


def read_until(master: int, end: bytes) -> bytes:
    """What comes out of a terminal, up to and with ``end``."""
    text = b""
    while end not in text:
        assert select.select([master], [], [], SECONDS)[0], text
        text += os.read(master, 4096)
    return text


def read_all(master: int) -> str:
    """What comes out of a terminal until its last user is gone, which Linux reports as an I/O error."""
    text = b""
    with contextlib.suppress(OSError):
        while part := os.read(master, 4096):
            text += part
    return text.decode().replace("\r\n", "\n")


def test_the_engine_gets_the_master_and_the_container_the_terminal(
    container: Callable[..., Container], console: tuple[str, Callable[[], int]]
) -> None:
    path, receive = console
    box = container(TERMINAL, "sh", "-c", "tty; stat -c '%F %t' /dev/console; test -t 0 -a -t 1 -a -t 2 && echo all; read x; echo got $x")
    box.created("--console-socket", path)
    master, pid = receive(), box.pid
    box.start()
    assert read_until(master, b"all\r\n").decode().splitlines() == ["/dev/pts/0", "character special file 88", "all"]
    os.write(master, b"typed\n")
    assert read_all(master).splitlines()[-1] == "got typed"
    assert box.wait(pid) == 0


def test_ctrl_c_reaches_the_process_through_its_terminal(
    container: Callable[..., Container], console: tuple[str, Callable[[], int]]
) -> None:
    path, receive = console
    box = container(TERMINAL, "sh", "-c", "trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.01; done")
    box.created("--console-socket", path)
    master, pid = receive(), box.pid
    box.start()
    read_until(master, b"ready")
    os.write(master, b"\x03")
    assert "interrupted" in read_all(master)
    assert box.wait(pid) == 5


def test_the_terminal_has_the_size_that_the_configuration_gives(
    container: Callable[..., Container], console: tuple[str, Callable[[], int]]
) -> None:
    path, receive = console
    box = container({**TERMINAL, "process.consoleSize": {"height": 25, "width": 77}}, "stty", "size")
    (box.rootfs / "bin/stty").symlink_to("busybox")
    box.created("--console-socket", path)
    master, pid = receive(), box.pid
    box.start()
    assert read_all(master) == "25 77\n"
    assert box.wait(pid) == 0


def test_the_terminal_belongs_to_the_user(container: Callable[..., Container], console: tuple[str, Callable[[], int]]) -> None:
    path, receive = console
    box = container({**TERMINAL, "process.user": {"uid": 1000, "gid": 1000}}, "sh", "-c", "stat -Lc %u $(tty)")
    box.created("--console-socket", path)
    master, pid = receive(), box.pid
    box.start()
    assert read_all(master) == "1000\n"
    assert box.wait(pid) == 0


def test_a_terminal_without_a_socket_to_send_it_to_is_refused(container: Callable[..., Container]) -> None:
    box = container(TERMINAL)
    assert box.create().code == 1
    assert box.run("--detach").code == 1
    assert box.runtime("state", box.id).code == 1


def on_a_terminal(command: list[str], *, typed: bytes = b"", after: bytes = b"") -> tuple[int, str]:
    """Run ``command`` with a terminal of our own as its standard streams: its exit code and what the terminal shows."""
    pid, master = pty.fork()
    if pid == 0:
        try:
            os.execvp(command[0], command)
        finally:
            os._exit(99)
    shown = read_until(master, after).decode() if after else ""
    os.write(master, typed)
    shown += read_all(master)
    os.close(master)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code, shown.replace("\r\n", "\n")


def test_run_joins_the_callers_terminal_to_the_containers(container: Callable[..., Container]) -> None:
    box = container(TERMINAL, "sh", "-c", "tty; echo ready; read x; echo got $x; exit 3")
    code, shown = on_a_terminal(box.runtime.command("run", "--bundle", str(box.bundle), box.id), typed=b"typed\n", after=b"ready")
    assert (code, shown.splitlines()) == (3, ["/dev/pts/0", "ready", "typed", "got typed"])


def test_the_callers_terminal_gives_the_container_its_size(container: Callable[..., Container]) -> None:
    box = container(TERMINAL, "sh", "-c", "until stty size 2>/dev/null | grep '31 99'; do :; done")  # runc sets it when it has begun
    sizes = f"stty rows 31 cols 99; exec {' '.join(box.runtime.command('run', '--bundle', str(box.bundle), box.id))}"
    assert on_a_terminal(["sh", "-c", sizes]) == (0, "31 99\n")


def test_exec_has_a_terminal_when_asked_for(
    container: Callable[..., Container], console: tuple[str, Callable[[], int]], directory: Path
) -> None:
    path, receive = console
    box = container().started()
    words = ("--tty", "--detach", "--console-socket", path, "--pid-file", str(directory / "pid"))
    result = box.exec(*words, box.id, "sh", "-c", "tty; read x; echo got $x")
    assert result.code == 0, result.err
    master = receive()
    assert read_until(master, b"\n") == b"/dev/pts/0\r\n"
    os.write(master, b"typed\n")
    assert "got typed" in read_all(master)
    assert box.wait(int((directory / "pid").read_text())) == 0


def test_exec_joins_the_callers_terminal(container: Callable[..., Container]) -> None:
    box = container().started()
    code, shown = on_a_terminal(box.runtime.command("exec", "-t", box.id, "sh", "-c", "tty; exit 4"))
    assert (code, shown) == (4, "/dev/pts/0\n")
    assert "not a tty" in subprocess.run(box.runtime.command("exec", box.id, "tty"), capture_output=True, text=True, check=False).stdout
