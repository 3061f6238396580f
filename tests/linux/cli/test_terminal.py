"""Commands for images on a real terminal, and what happens when a person, a pipe or another labkit gets in the way."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_lines import Labkit
from tests.patience import PATIENCE
from tests.registries import Registry
from tests.terminals import Terminal

SECONDS = 30.0 * PATIENCE


class Tap:
    """A way to a registry that lets through as many bytes as it is told to, so that a pull is under way for as long as a test likes."""

    def __init__(self, address: str) -> None:
        host, _, port = address.partition(":")
        self.target = (host, int(port))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.open = threading.Event()
        self.left = 300_000
        self.passed = threading.Event()
        self.sockets: list[socket.socket] = [self.listener]
        self.threads = [threading.Thread(target=self._accept)]
        self.threads[0].start()

    def close(self) -> None:
        self.open.set()
        for each in self.sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the other side was faster
        for thread in self.threads:
            thread.join(SECONDS)
        for each in self.sockets:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.target)
            self.sockets += [client, server]
            for pair, counted in (((client, server), False), ((server, client), True)):
                thread = threading.Thread(target=self._pump, args=(*pair, counted))
                self.threads.append(thread)
                thread.start()

    def _pump(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        try:
            while data := source.recv(1 << 14):
                if counted:
                    self.left -= len(data)
                    if self.left < 0:
                        self.passed.set()
                        self.open.wait(SECONDS)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # one of them has gone


@pytest.fixture
def labkit(tmp_path: Path) -> Labkit:
    return Labkit(tmp_path / "lab")


@pytest.fixture
def name(registry: Registry, tmp_path: Path) -> str:
    """An image in a registry, of 2 MB that do not compress."""
    teacher = Labkit(tmp_path / "teacher")
    context = tmp_path / "context"
    context.mkdir()
    shutil.copy(shutil.which("busybox") or "busybox is not installed", context / "busybox")
    (context / "noise").write_bytes(os.urandom(2_000_000))
    (context / "Dockerfile").write_text("FROM scratch\nCOPY busybox /bin/busybox\nCOPY noise /noise\n")
    image = f"{registry.address}/me/web:v1"
    teacher.says("build", "-t", image, str(context))
    teacher.says("push", image)
    return image


@pytest.fixture
def tap(registry: Registry) -> Iterator[Tap]:
    tap = Tap(registry.address)
    yield tap
    tap.close()


def on_terminal(labkit: Labkit, *words: str) -> Terminal:
    return Terminal([*labkit.words, *words], dict(labkit.environment))


def test_a_pull_has_a_bar_for_each_layer_and_ends_with_a_line_for_each(labkit: Labkit, name: str, tap: Tap) -> None:
    slow = name.replace(name.partition("/")[0], tap.address)
    terminal = on_terminal(labkit, "pull", slow)
    terminal.until("━")
    tap.open.set()
    assert terminal.end() == 0
    assert re.search(r"[0-9a-f]{12}: Downloading +[━╸╺ ]+.* \d[\d.]*[kM]?B/[\d.]+MB", "\n".join(terminal.lines))
    last = [line.rstrip() for line in terminal.lines if line.strip()]
    assert last[-1] == slow and last[-2] == f"Status: Downloaded newer image for {slow}"
    assert [line[12:] for line in last[-5:-3]] == [": Pull complete"] * 2
    assert terminal.seen.count("\x1b[?25l") == terminal.seen.count("\x1b[?25h"), "the cursor is back"


def test_ctrl_c_ends_a_pull_with_130_and_the_next_goes_on(labkit: Labkit, name: str, tap: Tap) -> None:
    slow = name.replace(name.partition("/")[0], tap.address)
    terminal = on_terminal(labkit, "pull", slow)
    assert tap.passed.wait(SECONDS)
    terminal.type("\x03")
    assert terminal.end() == 130
    assert "the next pull goes on from there" in terminal.seen and "Traceback" not in terminal.seen
    assert labkit.says("images", "-q") == ""
    tap.open.set()
    labkit.says("pull", slow)
    assert len(labkit.ids()) == 1


def test_who_finds_another_at_work_says_so_and_waits(labkit: Labkit, name: str, tap: Tap) -> None:
    slow = name.replace(name.partition("/")[0], tap.address)
    first = on_terminal(labkit, "pull", slow)
    assert tap.passed.wait(SECONDS)
    second = on_terminal(labkit, "pull", name)
    second.until("another labkit is changing the images; waiting for it")
    assert labkit.says("images", "-q") == "", "who only looks does not wait"
    tap.open.set()
    assert (first.end(), second.end()) == (0, 0)
    assert set(labkit.ids()) == {slow, name}


def test_no_archive_goes_to_a_terminal(labkit: Labkit, name: str) -> None:
    labkit.says("pull", name)
    terminal = on_terminal(labkit, "save", name)
    assert terminal.end() == 1
    assert (
        terminal.lines == ["labkit: cowardly refusing to save to a terminal. Use the -o flag or redirect", ""] or len(terminal.lines) <= 2
    )


def test_login_asks_on_a_terminal_and_does_not_show_the_password(labkit: Labkit, registry: Registry) -> None:
    terminal = on_terminal(labkit, "login", registry.address)
    terminal.until("Username: ")
    terminal.type("me\n")
    terminal.until("Password: ")
    terminal.type("secret\n")
    assert terminal.end() == 0
    assert "Login Succeeded" in terminal.seen and "secret" not in terminal.seen.replace(str(labkit.root), "")


def test_a_prune_asks_and_does_nothing_without_a_yes(labkit: Labkit, name: str) -> None:
    labkit.says("pull", name)
    terminal = on_terminal(labkit, "image", "prune", "--all")
    terminal.until("[y/N] ")
    terminal.type("\n")
    assert terminal.end() == 0 and name in labkit.ids()
    terminal = on_terminal(labkit, "image", "prune", "--all")
    terminal.until("[y/N] ")
    terminal.type("y\n")
    assert terminal.end() == 0 and labkit.ids() == {}
    assert "Total reclaimed space: " in terminal.seen


def test_a_reader_who_leaves_early_gets_no_complaint(labkit: Labkit, name: str) -> None:
    labkit.says("pull", name)
    for command in ("save", name), ("inspect", name), ("images",):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([*labkit.words, *command], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=SECONDS, check=False)
        os.close(writer)
        assert (done.returncode in (0, 1, -signal.SIGPIPE, 128 + signal.SIGPIPE), done.stderr) == (True, "")


def test_bash_completes_names_of_images_through_their_colons(labkit: Labkit, name: str) -> None:
    labkit.says("pull", name)
    environment = {
        "PATH": f"{os.path.dirname(labkit.words[0])}:{os.environ['PATH']}",
        "PS1": "ready> ",
        "INPUTRC": "/dev/null",
        "HISTFILE": "/dev/null",
    }
    bash = Terminal(["bash", "--norc", "--noprofile", "-i"], environment, (24, 300))  # the line is not to be broken
    bash.until("ready> ")
    bash.type('eval "$(labkit completion bash)"; PS1=set"> "\n')
    bash.until("set> ")
    host, port = name.partition("/")[0].split(":")
    bash.type(f"labkit --root {labkit.root} rmi {host[:5]}\t")
    bash.until(f"rmi {host}:{port}/me/web:v1")
    bash.type("\x15exit\n")  # ctrl-U: what was typed is taken back
    bash.end()
