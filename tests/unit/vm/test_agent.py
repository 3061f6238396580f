"""The line to a machine: what is output, and what is the mark at its end, however it comes in pieces."""

from __future__ import annotations

import shlex
import socket
import subprocess
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import LabError, Unreachable
from labkit.vm import guest
from labkit.vm.agent import Agent


def answer(line: socket.socket, *pieces: bytes) -> threading.Thread:
    """Reads a command, then says these, one after another."""

    def serve() -> None:
        line.recv(1 << 16)
        for piece in pieces:
            line.sendall(piece)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


@given(output=st.binary(max_size=80), code=st.integers(0, 255), size=st.integers(1, 50))
def test_output_and_exit_code_come_whole_in_any_pieces(output: bytes, code: int, size: int) -> None:
    ours, its = socket.socketpair()
    with ours, its:
        agent = Agent(ours)
        whole = output + f"{agent.mark} {code}\n".encode()
        heard: list[bytes] = []
        thread = answer(its, *(whole[at : at + size] for at in range(0, len(whole), size)))
        done = agent.run(["true"], listener=heard.append)
        thread.join()
        assert (done.code, b"".join(heard)) == (code, output)


def test_output_is_heard_before_the_program_has_ended() -> None:
    ours, its = socket.socketpair()
    with ours, its:
        agent = Agent(ours)
        heard: list[bytes] = []
        first = threading.Event()

        def listen(piece: bytes) -> None:
            heard.append(piece)
            first.set()

        def serve() -> None:
            its.recv(1 << 16)
            its.sendall(b"early\n")
            if first.wait(5):
                its.sendall(f"{agent.mark} 0\n".encode())

        threading.Thread(target=serve, daemon=True).start()
        assert agent.run(["x"], listener=listen, seconds=5).output == "early\n"


def test_a_program_that_does_not_end_is_given_up() -> None:
    ours, its = socket.socketpair()
    with ours, its, pytest.raises(LabError, match=r"sleep in the virtual machine has not ended after 0\.01 s"):
        Agent(ours).run(["sleep", "9"], seconds=0.01)


def test_a_machine_that_ends_is_unreachable() -> None:
    ours, its = socket.socketpair()
    with ours:
        agent = Agent(ours)
        its.close()
        with pytest.raises(Unreachable):
            agent.run(["true"])


@given(words=st.lists(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=1), min_size=1, max_size=4))
def test_words_reach_the_guests_shell_as_they_are_on_one_line(words: list[str]) -> None:
    line = " ".join(map(guest.quoted, words))
    assert "\n" not in line
    script = f"for word in {line}; do printf '%s\\0' \"$word\"; done"
    said = subprocess.run(
        ["busybox", "sh", "-c", 'read -r line; eval "$line"'], input=script.encode() + b"\n", capture_output=True, check=True
    )
    assert said.stdout.decode().split("\0")[:-1] == words


def test_a_program_gets_its_directory_and_environment_and_no_other() -> None:
    command = shlex.split(guest.within(["ls", "-l"], ["A=1"], "/www"))
    assert command == ["env", "-i", "A=1", "$inside", "sh", "-c", 'cd "$0" && exec "$@"', "/www", "ls", "-l"]
