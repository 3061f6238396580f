"""What commands do with answers that no daemon of good will gives, and with no daemon at all: a sentence, never a traceback."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import click
import pytest

from labkit.cli import commands, engines, lab
from labkit.cli.client import api, grammar

VERSION = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 21\r\n\r\n{"ApiVersion":"1.41"}'
Answering = Callable[[bytes], str]


def answer(body: bytes, status: str = "200 OK", kind: str = "application/json") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[Answering]:
    """``daemon(answer)``: one that says its version, and to anything else ``answer``, after which it hangs up."""
    with tempfile.TemporaryDirectory() as place, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{place}/socket")
        listener.listen()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{place}/socket")
        threads: list[threading.Thread] = []
        given: list[bytes] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(ConnectionError):
                    asked = connection.recv(1 << 16)  # docker-py has a connection of its own for each URL
                    connection.sendall(VERSION if b"GET /version" in asked else given[0])

        def begin(said: bytes) -> str:
            given.append(said)
            threads.append(threading.Thread(target=serve))
            threads[0].start()
            return f"{place}/socket"

        yield begin
        listener.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(5)


@pytest.mark.parametrize(
    ("line", "said", "code", "error"),
    [
        ("ps", answer(b'{"message":"no"}', "500 X"), 1, "Error response from daemon: no"),
        ("ps", answer(b"{}", "500 X"), 1, "Error response from daemon: it gave no reason"),
        ("ps", answer(b"<html>", "502 Bad Gateway", "text/html"), 1, "Error response from daemon: <html>"),
        ("ps", answer(b"", "404 Not Found"), 1, "Error response from daemon: status 404"),
        ("ps", answer(b"no JSON"), 1, "the daemon's answer is not JSON: b'no JSON'"),
        ("ps", answer(b'[{"Id":7}]'), 1, "Id: must be a string, not 7"),
        ("ps", answer(b"null"), 0, ""),
        ("ps", b"garbage", 1, "Cannot connect to the Docker daemon"),
        ("events", answer(b"not json\n"), 1, "the daemon's answer is not JSON"),
        ("events", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nxx", 1, "has gone in the middle of its answer"),
        ("export x", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nxx", 1, "has gone in the middle of its answer"),
        ("stop x", answer(b'{"message":"No such container: x"}', "404 X"), 1, "Error response from daemon: No such container: x"),
        ("run x", answer(b'{"message":"bad"}', "400 X"), 125, "labkit: Error response from daemon: bad\n\nRun 'labkit run --help'"),
        ("create x", answer(b'{"message":"bad"}', "400 X"), 1, "Error response from daemon: bad"),
        ("images", answer(b'{"message":"no"}', "500 X"), 1, "Error response from daemon: no"),
        ("diff x", answer(b"null"), 0, ""),
    ],
)
def test_a_strange_answer_is_a_sentence(
    line: str, said: bytes, code: int, error: str, daemon: Answering, capfd: pytest.CaptureFixture[str]
) -> None:
    daemon(said)
    assert commands.main(line.split()) == code
    printed = capfd.readouterr().err
    assert error in printed and "Traceback" not in printed


@pytest.mark.parametrize("line", ["ps", "run x", "images", "inspect x", "cp x:/a -"])
def test_without_a_daemon_it_is_said_where_it_was_looked_for(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = commands.main(["-H", "unix:///nosuch.sock", *line.split()])
    assert code == (125 if line.startswith("run") else 1)
    assert "Cannot connect to the Docker daemon at unix:///nosuch.sock. Is the docker daemon running?\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ('Error response from daemon: OCI runtime create failed: exec: "x": executable file not found in $PATH: unknown', 127),
        ("Error response from daemon: exec: x: no such file or directory", 127),
        ('Error response from daemon: exec: "/etc": permission denied: unknown', 126),
        ('Error response from daemon: exec: "/etc": is a directory: unknown', 126),
        ("Error response from daemon: exec format error", 125),
        ("open /nosuch: no such file or directory", 125),
    ],
)
def test_the_exit_code_is_told_from_the_daemons_text(said: str, code: int) -> None:
    assert grammar.program_code(said) == code


def test_which_daemon_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def context(**meta: str) -> click.Context:
        made = click.Context(lab.lab)
        made.meta.update({f"labkit.{name}": value for name, value in meta.items()})
        return made

    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(engines, "HOST", "unix:///nosuch.sock")
    assert (engines.host(context()), engines.asks_daemon(context())) == ("unix:///nosuch.sock", False)
    assert engines.asks_daemon(context(host="unix:///other.sock"))
    monkeypatch.setenv("DOCKER_HOST", "tcp://1.2.3.4:2375")
    assert (engines.host(context()), engines.asks_daemon(context())) == ("tcp://1.2.3.4:2375", True)
    assert engines.host(context(host="unix:///other.sock")) == "unix:///other.sock"
    assert not engines.asks_daemon(context(root="/data"))


def test_filters_are_a_map_of_maps() -> None:
    assert api.filters(["name=a", "name=b", "label=x=y"]) == '{"name": {"a": true, "b": true}, "label": {"x=y": true}}'
    assert api.filters([]) is None


@pytest.mark.parametrize(
    ("words", "of_command", "of_program"),
    [
        (["-it", "--rm=true", "busybox", "--rm=false"], {"interactive": True, "tty": True, "rm": True}, ("busybox", "--rm=false")),
        (["-ie", "A=b", "-t=false", "busybox"], {"interactive": True, "env": ("A=b",), "tty": False}, ("busybox",)),
        (["--name", "--rm=false", "busybox"], {"name": "--rm=false", "rm": None}, ("busybox",)),
        (["-m=64m", "--", "busybox", "-x"], {"memory": 64 << 20}, ("busybox", "-x")),
        (["--sig-proxy=false", "busybox", "-"], {"sig_proxy": False}, ("busybox", "-")),
    ],
)
def test_options_end_where_the_program_begins(words: list[str], of_command: dict[str, object], of_program: tuple[str, ...]) -> None:
    from labkit.cli.client import running

    found = running.run.make_context("run", list(words)).params
    assert found["words"] == of_program
    assert {name: found[name] for name in of_command} == of_command


@pytest.mark.parametrize("line", ["ps", "stop", "logs", "volume ls", "network ls", "info"])
def test_a_command_imports_what_it_needs(line: str) -> None:
    import subprocess
    import sys

    heavy = ("docker", "rich", "httpx", "pyroute2", "asyncio", "labkit.engine.engine", "labkit.runtime", "labkit.storage")
    script = f"""
import sys
from labkit.cli import commands, lab
commands.assembled()
lab.lab.main({[*line.split(), '--help']!r}, prog_name="labkit", standalone_mode=False)
print([name for name in {heavy!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.splitlines()[-1] == "[]"
