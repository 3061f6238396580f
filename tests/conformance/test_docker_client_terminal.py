"""Docker's client at a real terminal: run -it, attach, detach, window sizes, ctrl-c. Each test runs on labkit and on dockerd.

The client gets a pseudo terminal as its controlling terminal, as a shell in a window would give it one; the tests type, and read the
screen. Source: ``man 7 pty``; docker's reference, "docker attach".
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit.linux import pty as terminals
from tests.command_lines import Program
from tests.daemons import CLIENTS, HAS_DOCKERD, Daemon, busybox_archive, dockerd, labkit_daemon
from tests.patience import PATIENCE

pytestmark = pytest.mark.skipif(not CLIENTS, reason="no docker client is installed")

SECONDS = 30 * PATIENCE
DETACH = b"\x10\x11"
STARTS = {"labkit": labkit_daemon} | ({"dockerd": dockerd} if HAS_DOCKERD else {})


class Screen:
    """A client at a terminal of its own."""

    def __init__(self, environment: dict[str, str], words: list[str], rows: int = 24, columns: int = 80) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            try:
                terminals.set_size(0, rows, columns)
                os.execve(words[0], words, os.environ | environment | {"TERM": "xterm"})
            finally:
                os._exit(255)
        self.text = ""
        """What has come up on the screen and was not asked for yet."""

    def sees(self, pattern: str) -> str:
        """Wait until the screen shows something: what was there before it, and it."""
        while not (found := re.search(pattern, self.text)):
            assert select.select([self.master], [], [], SECONDS)[0], f"no {pattern!r} in {self.text!r}"
            try:
                data = os.read(self.master, 65536)
            except OSError:
                raise AssertionError(f"the client has ended without {pattern!r}: {self.text!r}") from None
            self.text += data.decode(errors="replace")
        seen, self.text = self.text[: found.end()], self.text[found.end() :]
        return seen

    def types(self, text: bytes | str) -> None:
        os.write(self.master, text.encode() if isinstance(text, str) else text)

    def size(self, rows: int, columns: int) -> None:
        terminals.set_size(self.master, rows, columns)

    def ends(self) -> tuple[int, str]:
        """Wait for the client's end: its exit code, and what it still said."""
        with contextlib.suppress(OSError):
            while select.select([self.master], [], [], SECONDS)[0] and (data := os.read(self.master, 65536)):
                self.text += data.decode(errors="replace")
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status), self.text.replace("\r\n", "\n")

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.master)


@pytest.fixture(scope="module", params=list(STARTS))
def daemon(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    place = tmp_path_factory.mktemp("terminal")
    with STARTS[request.param](place / "daemon") as started:
        started.docker.says("load", "--input", str(busybox_archive(place / "image")))
        started.docker.says("run", "--rm", "--network=none", "busybox", "true")
        yield started


@pytest.fixture(params=CLIENTS)
def docker(request: pytest.FixtureRequest, daemon: Daemon) -> Iterator[Program]:
    program = daemon.client(request.param)
    yield program
    if left := program.says("ps", "--all", "--quiet").split():
        program.says("rm", "--force", *left)


@pytest.fixture
def screen(docker: Program) -> Iterator[Callable[..., Screen]]:
    """``screen("run", "-it", "busybox")``: the client with these words, at a terminal."""
    with contextlib.ExitStack() as opened:

        def open_one(*words: str, rows: int = 24, columns: int = 80) -> Screen:
            made = Screen(dict(docker.environment), [docker.words[0], *words], rows, columns)
            opened.callback(made.close)
            return made

        yield open_one


Open = Callable[..., Screen]
RUN = ("run", "-i", "-t", "--network=none")


def test_run_it_is_a_shell_at_a_terminal_and_its_exit_code_is_the_shells(screen: Open, docker: Program) -> None:
    shell = screen(*RUN, "--name=box", "--hostname=web", "busybox")
    shell.sees("# ")
    shell.types("tty; hostname; test -t 0 && test -t 1 && test -t 2 && echo al''l\n")
    shell.sees("/dev/pts/0\r\nweb\r\nall\r\n")
    shell.types("exit 7\n")
    assert shell.ends()[0] == 7
    assert docker.says("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.Config.Tty}}", "box") == "exited 7 true"


def test_ctrl_d_ends_the_shell(screen: Open) -> None:
    shell = screen(*RUN, "--rm", "busybox")
    shell.sees("# ")
    shell.types(b"\x04")
    assert shell.ends()[0] == 0


def test_the_terminal_in_the_container_is_as_large_as_the_one_outside_and_follows_it(screen: Open) -> None:
    shell = screen(*RUN, "--rm", "busybox", rows=33, columns=101)
    shell.sees("# ")
    shell.types("trap 'stty size' WINCH; until stty size | grep '33 101'; do :; done; echo rea''dy; while :; do sleep 0.05; done\n")
    shell.sees("33 101\r\nready")
    shell.size(44, 120)
    shell.sees("44 120")
    shell.types(b"\x03")
    shell.sees("# ")
    shell.types("exit\n")
    shell.ends()


def test_ctrl_c_ends_what_runs_in_it_and_not_the_client(screen: Open) -> None:
    shell = screen(*RUN, "--rm", "busybox")
    shell.sees("# ")
    shell.types("echo rea''dy; cat\n")
    shell.sees("ready\r\n")
    shell.types("it reads\n")
    shell.sees("it reads\r\nit reads\r\n")
    shell.types(b"\x03")
    shell.sees("# ")
    shell.types("echo $?; exit 3\n")
    shell.sees("130")
    assert shell.ends()[0] == 3


def test_ctrl_p_ctrl_q_leaves_it_running_and_attach_comes_back_to_it(screen: Open, docker: Program) -> None:
    shell = screen(*RUN, "--name=box", "busybox")
    shell.sees("# ")
    shell.types("X=kept; echo $X-he''re\n")
    shell.sees("kept-here")
    shell.types(DETACH)
    assert shell.ends()[0] == 0
    assert docker.says("ps", "--format", "{{.Names}} {{.State}}") == "box running"
    again = screen("attach", "box")
    again.types("\n")
    again.sees("# ")
    again.types("echo $X-there\n")
    again.sees("kept-there")
    again.types(DETACH)
    code, text = again.ends()
    assert code == 1 and text.endswith("read escape sequence\n")
    last = screen("attach", "box")
    last.types("exit 5\n")
    assert last.ends()[0] == 5
    assert docker.says("ps", "--quiet") == ""


def test_ctrl_p_alone_is_the_programs(screen: Open) -> None:
    shell = screen(*RUN, "--rm", "busybox", "sh", "-c", "stty raw -echo; echo ready; head -c 3 | od -c | head -1")
    shell.sees("ready")
    shell.types(b"\x10ab")
    shell.sees(r"020   a   b")
    assert shell.ends()[0] == 0


def test_other_keys_detach_where_they_are_asked_for(screen: Open, docker: Program) -> None:
    docker.says("run", "-d", "-i", "-t", "--network=none", "--name=box", "busybox")
    shell = screen("attach", "--detach-keys=ctrl-x,x", "box")
    shell.types("\n")
    shell.sees("# ")
    shell.types(b"\x18x")
    assert shell.ends()[0] == 1
    assert docker.says("ps", "--format", "{{.Names}}") == "box"
    refused = docker("attach", "--detach-keys=nonsense", "box", stdin="")
    assert refused.code == 1


def test_two_clients_share_a_terminal(screen: Open, docker: Program) -> None:
    docker.says("run", "-d", "-i", "-t", "--network=none", "--name=box", "busybox")
    one, two = screen("attach", "box"), screen("attach", "box")
    for each in one, two:
        each.types("\n")
        each.sees("# ")
    one.types("echo from on''e\n")
    one.sees("from one\r\n")
    two.sees("from one\r\n")
    two.types("exit 4\n")
    assert one.ends()[0] == two.ends()[0] == 4


def test_exec_it_is_another_terminal_in_it(screen: Open, docker: Program) -> None:
    docker.says("run", "-d", "--network=none", "--name=box", "busybox", "sleep", "1000")
    shell = screen("exec", "-i", "-t", "box", "sh", rows=30, columns=90)
    shell.sees("# ")
    shell.types("tty; ps -o comm | head -2 | tail -1; until stty size | grep '30 90'; do :; done\n")
    shell.sees("/dev/pts/")
    shell.sees("sleep\r\n")
    shell.sees("30 90\r\n")
    shell.types("exit 6\n")
    assert shell.ends()[0] == 6
    assert docker.says("ps", "--format", "{{.Names}}") == "box"


def test_start_a_i_goes_on_with_a_stopped_shell(screen: Open, docker: Program) -> None:
    shell = screen(*RUN, "--name=box", "busybox")
    shell.sees("# ")
    shell.types("echo kept > /file; exit\n")
    assert shell.ends()[0] == 0
    again = screen("start", "-a", "-i", "box")
    again.sees("# ")
    again.types("cat /file\n")
    again.sees("kept\r\n")
    again.types("exit 9\n")
    assert again.ends()[0] == 9


def test_a_stopped_one_is_not_attached_to(screen: Open, docker: Program) -> None:
    docker.says("run", "-i", "-d", "--network=none", "--name=box", "busybox", "true")
    docker.says("wait", "box")
    code, text = screen("attach", "box").ends()
    assert code == 1 and "You cannot attach to a stopped container, start it first" in text


def test_kill_from_elsewhere_ends_the_client_with_its_code(screen: Open, docker: Program) -> None:
    shell = screen(*RUN, "--name=box", "busybox")
    shell.sees("# ")
    docker.says("kill", "box")
    assert shell.ends()[0] == 137


def test_a_client_that_is_killed_leaves_its_container_running(screen: Open, docker: Program) -> None:
    shell = screen(*RUN, "--name=box", "busybox")
    shell.sees("# ")
    os.kill(shell.pid, signal.SIGKILL)
    shell.ends()
    assert docker.says("ps", "--format", "{{.Names}} {{.State}}") == "box running"
    again = screen("attach", "box")
    again.types("\n")
    again.sees("# ")
    again.types("exit 8\n")
    assert again.ends()[0] == 8


def test_progress_is_drawn_at_a_terminal(screen: Open, docker: Program, tmp_path: Path) -> None:
    docker.says("save", "-o", str(tmp_path / "image.tar"), "busybox")
    code, text = screen("load", "-i", str(tmp_path / "image.tar")).ends()
    assert code == 0 and "Loaded image: busybox:latest" in text


def test_what_needs_a_terminal_says_so_without_one(docker: Program) -> None:
    refused = docker("run", "-it", "--network=none", "busybox", stdin="x")
    assert refused.code == 1 and "the input device is not a TTY" in refused.err


def test_many_terminals_one_after_the_other_lose_nothing(screen: Open, docker: Program) -> None:
    for number in range(5):
        code, text = screen(*RUN, "--rm", f"--name=box{number}", "busybox", "sh", "-c", "seq 2000; exit 3").ends()
        assert (code, text.split()) == (3, [str(each) for each in range(1, 2001)])
    assert docker.says("ps", "--all", "--quiet") == ""
