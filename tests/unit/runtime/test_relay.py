"""Between a person and a terminal: the person is two files, the program at the terminal is a child of this test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SECONDS = 60
RELAY = """
import os, pty, sys
from labkit.runtime.relay import relay
pid, master = pty.fork()
if pid == 0:
    os.execvp("sh", ["sh", "-c", sys.argv[1]])
relay(master, os.pidfd_open(pid))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.fixture
def relayed(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """``relayed("cat", b"keys")``: exit code and screen of a shell script at a terminal, for somebody who types that."""

    def call(script: str, keys: bytes = b"") -> tuple[int, str]:
        (tmp_path / "keys").write_bytes(keys)
        with open(tmp_path / "keys") as into, open(tmp_path / "screen", "wb") as screen:
            command = [sys.executable, "-c", RELAY, script]
            done = subprocess.run(command, stdin=into, stdout=screen, stderr=subprocess.PIPE, text=True, timeout=SECONDS, check=False)
        assert done.stderr == ""
        return done.returncode, (tmp_path / "screen").read_bytes().decode()

    return call


def test_what_is_typed_arrives_and_what_is_said_is_shown(relayed: Callable[..., tuple[int, str]]) -> None:
    assert relayed("stty -echo; read line; echo got $line; exit 7", b"hello\n")[1].endswith("got hello\r\n")
    assert relayed("exit 7") == (7, "")


def test_the_last_words_are_shown_to_the_last_byte(relayed: Callable[..., tuple[int, str]]) -> None:
    code, screen = relayed("head -c 200000 /dev/zero | tr '\\0' x; printf end")
    assert (code, len(screen), screen[-4:]) == (0, 200_003, "xend")


def test_a_program_that_never_reads_its_keys_is_still_shown(relayed: Callable[..., tuple[int, str]]) -> None:
    code, screen = relayed("stty -echo -opost; head -c 300000 /dev/zero | tr '\\0' x; exit 3", b"y\n" * 200_000)
    assert (code, screen.count("x")) == (3, 300_000)


def test_more_keys_than_the_terminal_holds_all_arrive(relayed: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    keys = b"".join(b"line %d\n" % number for number in range(30_000))
    assert relayed(f"stty -echo; head -n 30000 > {tmp_path}/got", keys)[0] == 0
    assert (tmp_path / "got").read_bytes() == keys


def test_who_has_no_more_to_type_stays_to_the_end(relayed: Callable[..., tuple[int, str]]) -> None:
    assert relayed("sleep 0.1; echo late") == (0, "late\r\n")


def test_the_terminal_gets_the_size_of_the_persons() -> None:
    import pty

    from labkit.linux.pty import set_size

    master, slave = pty.openpty()
    set_size(slave, 33, 99)
    try:
        done = subprocess.run([sys.executable, "-c", RELAY, "stty size"], stdin=slave, stdout=subprocess.PIPE, timeout=SECONDS, check=False)
    finally:
        os.close(master)
        os.close(slave)
    assert done.stdout == b"33 99\r\n"
