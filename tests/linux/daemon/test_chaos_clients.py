"""Clients that come in crowds, go away in the middle, or never read: the daemon stays as it was, and nobody else waits."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import random
import socket
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemons import DOCKER, Daemon, ask, registry
from tests.linux.daemon.counting import is_as_it_was, memory, open_files, wait_until
from tests.linux.daemon.speaking import Client
from tests.patience import PATIENCE
from tests.registries import require

pytestmark = [pytest.mark.skipif(not DOCKER, reason="no docker client is installed"), pytest.mark.timeout(900)]

SECONDS = 30.0 * PATIENCE
CROWD = 32
SEED = 4
_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _daemon_is_as_it_was(daemon: Daemon) -> Iterator[None]:
    with is_as_it_was(daemon):
        yield


def answers_at_once(daemon: Daemon) -> None:
    """Whoever else asks has an answer soon."""
    begin = time.monotonic()
    assert ask(daemon.socket, "GET", "/containers/json")[0] == 200
    assert time.monotonic() - begin < 2


# Crowds


Command = tuple[tuple[str, ...], int, str]
"""Words, the exit code that they must come to, and what they must print, if that is known."""


def life(name: str, chance: random.Random) -> list[Command]:
    """Commands from a container's beginning to its end, some of them in any order."""
    text = f"from {name}"
    middle: list[list[Command]] = [
        [(("exec", name, "echo", text), 0, f"{text}\n")],
        [(("inspect", "-f", "{{.Name}} {{.State.Status}}", name), 0, f"/{name} running\n")],
        [(("ps", "-a", "--filter", f"name=^{name}$", "--format", "{{.Names}}"), 0, f"{name}\n")],
        [(("logs", name), 0, f"{text}\n")],
        [(("cp", f"{name}:/etc/passwd", "-"), 0, "")],
        [(("pause", name), 0, f"{name}\n"), (("unpause", name), 0, f"{name}\n")],
        [(("top", name), 0, "")],
        [(("exec", name, "sh", "-c", "exit 7"), 7, "")],
        [(("run", "--rm", "--network=none", "busybox", "echo", text), 0, f"{text}\n")],
    ]
    chance.shuffle(middle)
    first: Command = (("run", "-d", "--name", name, "--network=none", "busybox", "sh", "-c", f"echo {text}; sleep 1000"), 0, "")
    last: list[Command] = [((verb, *options, name), 0, f"{name}\n") for verb, *options in (("stop", "-t0"), ("start",), ("rm", "-f"))]
    return [first, *(command for group in middle for command in group), *last]


def mixed(daemon: Daemon, number: int, until: float, wrong: list[str]) -> None:
    """What one of the crowd does: a life of a container, again and again."""
    docker, chance = daemon.docker, random.Random(SEED + number)
    for count in itertools.count():
        for words, code, out in life(f"crowd{number}-{count}", chance):
            result = docker(*words)
            if result.code != code or (out and result.out != out):
                wrong.append(f"{words}: {result}")
        if time.monotonic() > until:
            return


def test_thirty_two_clients_at_once_get_what_each_asked_for(daemon: Daemon, long: bool) -> None:
    wrong: list[str] = []
    until = time.monotonic() + (120 if long else 3)
    before = memory(daemon)
    crowd = [threading.Thread(target=mixed, args=(daemon, number, until, wrong)) for number in range(CROWD)]
    for each in crowd:
        each.start()
    for each in crowd:
        each.join()
    assert wrong == []
    assert memory(daemon) < before + 60


def test_a_name_that_thirty_two_want_is_given_to_one(daemon: Daemon) -> None:
    codes: list[int] = []
    body = {"Image": "busybox", "HostConfig": {"NetworkMode": "none"}}

    def create() -> None:
        codes.append(ask(daemon.socket, "POST", "/containers/create?name=one", body)[0])

    crowd = [threading.Thread(target=create) for _ in range(CROWD)]
    for each in crowd:
        each.start()
    for each in crowd:
        each.join()
    assert sorted(codes) == [201, *[409] * (CROWD - 1)]
    daemon.docker.says("rm", "one")


# Clients that go away


def gone(daemon: Daemon, target: str, method: str = "GET", body: bytes = b"", upgrade: bool = False) -> None:
    """Ask, hear the first of the answer, and go."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(SECONDS)
        line.connect(daemon.socket)
        extra = "Connection: Upgrade\r\nUpgrade: tcp\r\n" if upgrade else ""
        head = f"{method} {target} HTTP/1.1\r\nHost: d\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
        line.sendall(head.encode() + body)
        assert line.recv(100)


def test_clients_that_vanish_while_they_listen_leave_nothing_behind(daemon: Daemon, client: Client) -> None:
    id = client.started("sh", "-c", "while :; do echo line; sleep 0.01; done")
    for _ in range(20):
        gone(daemon, f"/containers/{id}/attach?stream=1&stdout=1&stdin=1", "POST", upgrade=True)
        gone(daemon, f"/containers/{id}/logs?stdout=1&follow=1")
        gone(daemon, "/events")
        gone(daemon, f"/containers/{id}/stats?stream=1")
        gone(daemon, f"/containers/{id}/wait", "POST")
        gone(daemon, f"/containers/{id}/export")
    said = client.ask("POST", f"/containers/{id}/exec", {"Cmd": ["sleep", "1000"], "AttachStdout": True})
    with client.hijacked("POST", f"/exec/{said.json['Id']}/start", {"Detach": False}):
        pass
    assert client.get(f"/containers/{id}/json")["State"]["Running"]
    assert client.ask("DELETE", f"/containers/{id}?force=1").status == 204


def archive_of(files: int, size: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for number in range(files):
            entry = tarfile.TarInfo(f"file{number}")
            entry.size = size
            tar.addfile(entry, io.BytesIO(os.urandom(size)))
    return out.getvalue()


SENDING = ["PUT /containers/box/archive?path=/tmp", "POST /images/load", "POST /images/create?fromSrc=-&repo=x", "POST /build"]


@pytest.mark.parametrize("target", SENDING)
def test_a_client_that_vanishes_while_it_sends_leaves_nothing_half_done(target: str, daemon: Daemon, client: Client) -> None:
    client.started("sleep", "1000", name="box")
    images = client.get("/images/json?all=1")
    data = archive_of(20, 100_000)
    for part in (10, 1000, len(data) // 2, len(data) - 100):
        with client.connected() as line:
            line.sendall(f"{target} HTTP/1.1\r\nHost: d\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data[:part])
    wait_until(lambda: not [path for path in open_files(daemon) if "ingest" in path or "context" in path])
    assert client.get("/images/json?all=1") == images
    wait_until(lambda: left_of_work(daemon) == [], lambda: str(left_of_work(daemon)))
    assert client.ask("PUT", "/containers/box/archive?path=/tmp", data, "application/x-tar").status == 200
    client.ask("DELETE", "/containers/box?force=1")


def left_of_work(daemon: Daemon) -> list[str]:
    """Temporary files and directories of builds and uploads."""
    places = ("data/build/work", "data/images/ingest", "data/tmp")
    return [str(path) for place in places if (daemon.place / place).is_dir() for path in (daemon.place / place).iterdir()]


def test_a_client_that_vanishes_in_a_pull_lets_the_next_one_pull(daemon: Daemon, client: Client, tmp_path: Path) -> None:
    require()
    name = f"localhost:5000/large:{next(_numbers)}"
    (tmp_path / "large").write_bytes(os.urandom(30_000_000))
    (tmp_path / "Dockerfile").write_text("FROM busybox\nCOPY large /\n")
    docker = daemon.docker
    with registry(daemon):
        docker.says("build", "-t", name, str(tmp_path))
        docker.says("push", name)
        docker.says("rmi", "-f", name)
        for _ in range(5):
            gone(daemon, f"/images/create?fromImage={name.partition(':5000/')[0]}:5000/large&tag={name.rpartition(':')[2]}", "POST")
        docker.says("pull", name)
        assert docker.says("run", "--rm", "--network=none", name, "sh", "-c", "wc -c < /large") == "30000000"
        docker.says("rmi", name)


def test_a_client_that_vanishes_in_a_build_ends_it(daemon: Daemon, client: Client) -> None:
    out = io.BytesIO()
    text = b"FROM busybox\nRUN echo begun; while :; do sleep 0.1; done\n"
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    with client.streaming("POST", "/build?t=never", out.getvalue(), "application/x-tar") as answer:
        assert any(b"begun" in line for line in iter(answer.readline, b""))
    wait_until(lambda: left_of_work(daemon) == [] and not running_builds(daemon), lambda: str(left_of_work(daemon)))
    assert client.ask("GET", "/images/never/json").status == 404


def running_builds(daemon: Daemon) -> list[str]:
    """Processes that only a RUN of ours has."""
    found = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if b"echo begun; while" in (text := Path(f"/proc/{pid}/cmdline").read_bytes()) and text.startswith((b"/bin/sh", b"sh")):
                found.append(pid)
    return found


# Clients that do not read


def test_a_client_that_never_reads_holds_up_nobody_else(daemon: Daemon, client: Client) -> None:
    id = client.started("sh", "-c", "yes 0123456789")
    before = memory(daemon)
    targets = [f"/containers/{id}/logs?stdout=1&follow=1", "/events", f"/containers/{id}/export"]
    with contextlib.ExitStack() as deaf:
        for target in targets * 3:
            line = deaf.enter_context(client.connected())
            line.sendall(f"GET {target} HTTP/1.1\r\nHost: d\r\n\r\n".encode())
        deaf.enter_context(client.hijacked("POST", f"/containers/{id}/attach?stream=1&stdout=1"))
        for _ in range(20):
            answers_at_once(daemon)
            assert client.ended(client.started("true", host={"AutoRemove": True})) == 0
        assert memory(daemon) < before + 50
        assert client.ask("POST", f"/containers/{id}/kill").status == 204
    assert client.ended(id) == 137
