"""kill -9 the daemon at random moments while clients create, start, stop and remove; start it again: nothing is lost, doubled or left.

    clients   create ─▶ start ─▶ stop ─▶ remove ─▶ create …        each notes what it has asked, and what it was told
    killer    ─────────────── any moment: SIGKILL
    then      the daemon is started again, and its list must agree with every note

A container whose creation was confirmed is there, by that ID and name; one whose removal was confirmed is gone; of one whose answer never
came either is right, but nothing in between. The root conftest.py looks for mounts, control groups and processes that are left.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import random
import select
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.daemons import DOCKER, Daemon, ask, busybox_archive, labkit_daemon

pytestmark = [pytest.mark.skipif(not DOCKER, reason="no docker client is installed"), pytest.mark.timeout(1800)]

CLIENTS = 3
SEED = 19
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a daemon has that has an image."""
    place = tmp_path_factory.mktemp("kill")
    with labkit_daemon(place / "daemon") as started:
        started.docker.says("load", "--input", str(busybox_archive(place / "image")))
    return place / "daemon"


@pytest.fixture
def daemon(place: Path) -> Iterator[Daemon]:
    with labkit_daemon(place) as started:
        yield started


@dataclass
class Note:
    """What a client knows of a container. ``asked`` is what it has asked for last, ``told`` what was confirmed last."""

    name: str
    id: str = ""
    asked: str = "create"
    told: str = ""


@dataclass
class Client:
    """One that makes containers and takes them away, until the daemon is gone."""

    socket: str
    notes: list[Note] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def run(self) -> None:
        try:
            while True:
                note = Note(f"box{next(_numbers)}")
                self.notes.append(note)
                body = {"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "none"}}
                note.id = str(self._does(note, "create", "POST", f"/containers/create?name={note.name}", body)["Id"])
                self._does(note, "start", "POST", f"/containers/{note.name}/start")
                self._does(note, "stop", "POST", f"/containers/{note.id}/stop?t=0")
                self._does(note, "remove", "DELETE", f"/containers/{note.name}")
        except (OSError, http.client.HTTPException):
            return

    def _does(self, note: Note, what: str, method: str, target: str, body: object = None) -> dict[str, object]:
        note.asked = what
        status, said = ask(self.socket, method, target, body)
        if status >= 400:
            self.wrong.append(f"{what} {note.name}: {status} {said.decode()}")
        note.told = what
        return dict(json.loads(said)) if said else {}


def test_a_daemon_that_is_killed_at_any_moment_loses_doubles_and_leaves_nothing(daemon: Daemon, long: bool) -> None:
    chance = random.Random(SEED)
    kept = daemon.docker.says("run", "-d", "--name=kept", "--network=none", "busybox", "sleep", "100000")
    for cycle in range(200 if long else 12):
        clients = [Client(daemon.socket) for _ in range(CLIENTS)]
        threads = [threading.Thread(target=client.run) for client in clients]
        for thread in threads:
            thread.start()
        time.sleep(chance.uniform(0.0, 0.25))  # the moment is what this is about
        daemon.kill()
        for thread in threads:
            thread.join()
        daemon.start()
        assert not [wrong for client in clients for wrong in client.wrong]
        check(daemon, [note for client in clients for note in client.notes], kept, f"cycle {cycle}")
    daemon.docker.says("rm", "--force", "kept")
    assert left_in(daemon) == []


def check(daemon: Daemon, notes: list[Note], kept: str, when: str) -> None:
    """Compare what there is with what clients know, and take all of it away."""
    listed = json.loads(ask(daemon.socket, "GET", "/containers/json?all=1")[1])
    found = {each["Names"][0].removeprefix("/"): each for each in listed}
    assert len(found) == len(listed) == len({each["Id"] for each in listed}), (when, listed)
    assert found.pop("kept")["Id"] == kept
    assert set(found) <= {note.name for note in notes}, when
    for note in notes:
        there = found.get(note.name)
        if note.told == "remove":
            assert not there, (when, note, "it was removed, and is there")
        elif note.told and note.asked != "remove":
            assert there, (when, note, "it was created, and is gone")
        if there and note.id:
            assert there["Id"] == note.id, (when, note)
        if there:
            check_whole(daemon, note, there["Id"], when)
    for each in found.values():
        status, said = ask(daemon.socket, "DELETE", f"/containers/{each['Id']}?force=1&v=1")
        assert status == 204, (when, said)


def check_whole(daemon: Daemon, note: Note, id: str, when: str) -> None:
    """Its state is one, it is the process's, and it can be used."""
    status, said = ask(daemon.socket, "GET", f"/containers/{id}/json")
    assert status == 200, (when, note, said)
    shown = json.loads(said)
    state = shown["State"]
    assert state["Status"] in ("created", "running", "exited"), (when, note, state)
    assert state["Running"] == (state["Status"] == "running") == bool(state["Pid"]), (when, note, state)
    if state["Running"]:
        assert Path(f"/proc/{state['Pid']}/cmdline").read_bytes().startswith(b"sleep\0"), (when, note, state)
    if note.told == "start" and note.asked == "start":
        assert state["Running"], (when, note, state)
    if note.told == "stop":
        assert not state["Running"], (when, note, state)
    if not state["Running"]:
        status, said = ask(daemon.socket, "POST", f"/containers/{id}/start")
        assert status == 204, (when, note, said)


def left_in(daemon: Daemon) -> list[str]:
    """What there is of containers in the daemon's directories, when there is none."""
    places = [daemon.place / "data/containers", daemon.place / "run/containers"]
    return [str(entry) for place in places if place.is_dir() for entry in place.iterdir() if not entry.name.startswith(".")]


def test_containers_outlive_their_daemon_and_tell_the_next_one_how_they_ended(daemon: Daemon) -> None:
    docker = daemon.docker
    script = "echo before; until test -e /go; do sleep 0.05; done; echo after; exit 9"
    docker.says("run", "-d", "--name=ends", "--network=none", "busybox", "sh", "-c", script)
    docker.says("run", "-d", "--name=stays", "--network=none", "busybox", "sleep", "1000")
    pid = int(docker.says("inspect", "-f", "{{.State.Pid}}", "ends"))
    daemon.kill()
    handle = os.pidfd_open(pid)
    Path(f"/proc/{pid}/root/go").touch()
    assert select.select([handle], [], [], 30)[0]
    os.close(handle)
    daemon.start()
    assert docker.says("wait", "ends") == "9"
    assert docker.says("logs", "ends").split() == ["before", "after"]
    assert docker.says("inspect", "-f", "{{.State.Status}}", "ends", "stays").split() == ["exited", "running"]
    assert docker.says("exec", "stays", "echo", "still") == "still"
    docker.says("rm", "--force", "ends", "stays")


def test_a_daemon_that_is_killed_twice_while_it_comes_up_comes_up_the_third_time(daemon: Daemon) -> None:
    chance = random.Random(SEED)
    docker = daemon.docker
    for number in range(5):
        docker.says("run", "-d", f"--name=box{number}", "--network=none", "--restart=always", "busybox", "sleep", "1000")
    for _ in range(2):
        daemon.kill()
        daemon.begin()
        time.sleep(chance.uniform(0.1, 0.6))
    daemon.kill()
    daemon.start()
    assert docker.says("ps", "--format", "{{.State}}").split() == ["running"] * 5
    docker.says("rm", "--force", *(f"box{number}" for number in range(5)))
