"""labkit as a client at a real terminal, and with signals and pipes, on both daemons: what comes of it is what docker makes of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.command_lines import Program
from tests.daemons import HAS_DOCKERD, Daemon, busybox_archive, dockerd, labkit_daemon
from tests.terminals import SECONDS, Terminal

LABKIT = os.path.join(os.path.dirname(sys.executable), "labkit")
LEAVE = "\x10\x11"


@pytest.fixture(scope="module", params=["labkit", *(["dockerd"] if HAS_DOCKERD else [])])
def daemon(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    begin = labkit_daemon if request.param == "labkit" else dockerd
    with tempfile.TemporaryDirectory(prefix="labkit-") as path, begin(Path(path) / "daemon") as running:
        running.client(LABKIT).says("load", "-i", str(busybox_archive(Path(path))))
        running.client(LABKIT).says("run", "--rm", "--network", "none", "busybox", "true")
        yield running


@pytest.fixture
def labkit(daemon: Daemon) -> Iterator[Program]:
    program = daemon.client(LABKIT)
    yield program
    if left := program.says("ps", "-aq").split():
        program.says("rm", "-f", *left)


Typed = Callable[..., Terminal]


@pytest.fixture
def typed(labkit: Program) -> Typed:
    """``typed("run -it busybox")``: labkit with these words at a terminal."""
    return lambda line, *words, **how: Terminal([LABKIT, *line.split(), *words], dict(labkit.environment), **how)


def started(labkit: Program, *words: str) -> subprocess.Popen[bytes]:
    """labkit, running, between pipes."""
    environment = os.environ | dict(labkit.environment)
    return subprocess.Popen([LABKIT, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


def line_of(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout
    return process.stdout.readline()


def test_a_shell_at_a_terminal_and_its_exit_code(typed: Typed) -> None:
    shell = typed("run -it --rm --network none --hostname web busybox", size=(33, 101))
    shell.until("# ")
    assert shell.is_raw
    shell.type("tty; hostname; until stty size | grep '33 101'; do :; done; echo a''ll; exit 7\n")
    shell.until("/dev/pts/0\r\nweb\r\n33 101\r\nall")
    assert shell.end() == 7


def test_the_terminal_is_as_it_was_when_it_is_over(typed: Typed, labkit: Program) -> None:
    for end in ("exit 0\n", LEAVE):
        shell = typed("run -it --network none busybox")
        shell.until("# ")
        assert shell.is_raw
        shell.type(end)
        assert shell.process.wait(SECONDS) == 0
        assert not shell.is_raw
        shell.end()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_the_terminal_is_as_it_was_when_the_client_is_ended(typed: Typed, number: signal.Signals, labkit: Program) -> None:
    shell = typed("run -it --name box --network none busybox")
    shell.until("# ")
    shell.process.send_signal(number)
    assert shell.process.wait(SECONDS) == 128 + number
    assert not shell.is_raw
    shell.end()
    assert labkit.says("ps", "--format", "{{.Names}}") == "box"


def test_the_window_in_the_container_follows_the_one_outside(typed: Typed) -> None:
    shell = typed("run -it --rm --network none busybox", size=(33, 101))
    shell.until("# ")
    shell.resize(44, 120)
    shell.type("until stty size | grep '44 120'; do :; done; exit 0\n")
    shell.until("\r\n44 120")
    assert shell.end() == 0


def test_leaving_and_coming_back(typed: Typed, labkit: Program) -> None:
    shell = typed("run -it --name box --network none busybox")
    shell.until("# ")
    shell.type("X=kept; echo wa''it\n")
    shell.until("wait")
    shell.type(LEAVE)
    assert shell.end() == 0
    assert labkit.says("ps", "--format", "{{.Names}} {{.State}}") == "box running"
    again = typed("attach --detach-keys ctrl-x,x box")
    again.type("echo $X-the''re\n")
    again.until("kept-there")
    again.type("\x18x")
    assert again.end() == 1 and "read escape sequence" in again.seen
    last = typed("attach box")
    last.type("exit 5\n")
    assert last.end() == 5
    assert labkit.says("ps", "-q") == ""
    more = typed("start -ai box")
    more.until("# ")
    more.type("exit 6\n")
    assert more.end() == 6


def test_keys_that_only_begin_to_leave_go_through(typed: Typed) -> None:
    script = "stty raw -echo; echo ready; head -c 3 | od -c | head -1"
    program = typed("run -it --rm --network none busybox sh -c", script)
    program.until("ready")
    program.type("\x10ab")
    program.until("020   a   b")
    assert program.end() == 0


def test_exec_at_a_terminal(typed: Typed, labkit: Program) -> None:
    labkit.says("run", "-d", "--name", "box", "--network", "none", "busybox", "sleep", "1000")
    shell = typed("exec -it -e A=b -w /etc box sh", size=(30, 90))
    shell.until("# ")
    shell.type("echo $A-$PWD; until stty size | grep '30 90'; do :; done; exit 6\n")
    shell.until("b-/etc\r\n30 90")
    assert shell.end() == 6


def test_signals_go_to_the_program_where_there_is_no_terminal(labkit: Program) -> None:
    script = "trap 'echo got it; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    process = started(labkit, "run", "--rm", "--network", "none", "busybox", "sh", "-c", script)
    assert line_of(process) == b"ready\n"
    process.terminate()
    out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, out, err) == (9, b"got it\n", b"")


def test_without_sig_proxy_a_signal_ends_the_client_alone(labkit: Program) -> None:
    words = ["run", "--sig-proxy=false", "--name", "box", "--network", "none", "busybox", "sh", "-c", "echo up; sleep 1000"]
    process = started(labkit, *words)
    assert line_of(process) == b"up\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=SECONDS)
    assert process.returncode in (130, -signal.SIGINT)
    assert labkit.says("ps", "--format", "{{.Names}}") == "box"


def test_input_from_a_pipe_ends_and_what_comes_after_still_comes(labkit: Program) -> None:
    script = "cat; echo after"
    assert labkit.says("run", "-i", "--rm", "--network", "none", "busybox", "sh", "-c", script, stdin="before\n") == "before\nafter"
    labkit.says("run", "-d", "--name", "box", "--network", "none", "busybox", "sleep", "1000")
    assert labkit.says("exec", "-i", "box", "sh", "-c", script, stdin="before\n") == "before\nafter"
    assert labkit.says("exec", "box", "cat", stdin="for nobody\n") == ""


def test_input_from_a_file_and_megabytes_through_and_back(labkit: Program, tmp_path: Path) -> None:
    data = os.urandom(1 << 16) * 256
    (tmp_path / "data").write_bytes(data)
    with open(tmp_path / "data", "rb") as file:
        words = [LABKIT, "run", "-i", "--rm", "--network", "none", "busybox", "cat"]
        environment = os.environ | dict(labkit.environment)
        done = subprocess.run(words, stdin=file, capture_output=True, env=environment, timeout=SECONDS, check=True)
    assert done.stdout == data


def test_who_reads_no_further_ends_the_client(labkit: Program) -> None:
    labkit.says("run", "--name", "box", "--network", "none", "busybox", "seq", "100000")
    for words in (("logs", "box"), ("start", "-a", "box"), ("run", "--rm", "--network", "none", "busybox", "seq", "1000000")):
        process = started(labkit, *words)
        assert line_of(process) == b"1\n"
        assert process.stdout and process.stderr and process.stdin
        process.stdout.close()
        assert process.wait(SECONDS) in (128 + signal.SIGPIPE, 1)
        assert b"Traceback" not in process.stderr.read()
        process.stderr.close()
        process.stdin.close()


def test_logs_follow_until_the_end(labkit: Program) -> None:
    script = "echo one; echo two >&2; read x; echo three"
    labkit.says("run", "-d", "-i", "--name", "box", "--network", "none", "busybox", "sh", "-c", script)
    process = started(labkit, "logs", "-f", "box")
    assert line_of(process) == b"one\n"
    attached = started(labkit, "attach", "box")
    assert attached.stdin
    attached.stdin.write(b"go\n")
    attached.stdin.flush()
    assert line_of(attached) == b"three\n"
    attached.communicate(timeout=SECONDS)
    assert process.communicate(timeout=SECONDS) == (b"three\n", b"two\n")
    assert process.returncode == 0


@pytest.mark.parametrize("words", ["logs -f box", "events --since 1h", "wait box", "attach --no-stdin --sig-proxy=false box", "stats box"])
def test_ctrl_c_ends_what_would_go_on_for_ever(typed: Typed, labkit: Program, words: str) -> None:
    labkit.says("run", "-d", "--name", "box", "--network", "none", "busybox", "sh", "-c", "while :; do echo tick; sleep 0.05; done")
    seen = typed(words)
    if words == "wait box":
        labkit.says("ps")  # that takes as long as it takes the other to begin waiting
    else:
        seen.until({"stats box": "box", "events --since 1h": "container start"}.get(words, "tick"))
    seen.type("\x03")
    assert seen.end() == 130
    assert labkit.says("ps", "--format", "{{.Names}}") == "box"
    assert "Traceback" not in seen.seen
