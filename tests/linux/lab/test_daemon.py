"""The daemon in the background: started once, found again, stopped; and what reset does with it and with its containers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from labkit.errors import LabError
from labkit.lab import daemon
from labkit.lab.doctor import Row, State
from labkit.lab.doctor import daemon as doctor
from labkit.lab.reset import Marks, reset
from labkit.linux import processes
from tests.daemons import busybox_archive
from tests.linux.daemon.speaking import Client


@dataclass(frozen=True)
class Lab:
    """A lab of this test's own."""

    run: str
    data: str
    config: str

    def up(self) -> daemon.Server:
        return daemon.up(self.run, self.data, self.config)

    def down(self) -> daemon.Server | None:
        return daemon.down(self.run)

    @property
    def marks(self) -> Marks:
        places = (self.run, self.data)
        return Marks("labkit-daemon-test", "lkdaemontest", "lkdaemontest0", "lkdaemontest", places, self.config)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    config = tmp_path / "daemon.json"
    config.write_text('{"cgroup-parent": "labkit-daemon-test/containers"}')
    made = Lab(str(tmp_path / "run"), str(tmp_path / "lib"), str(config))
    yield made
    made.down()
    reset(made.marks, all=True)


def client(server: daemon.Server, tmp_path: Path) -> Client:
    found = Client(server.socket)
    data = busybox_archive(tmp_path / "image").read_bytes()
    assert found.ask("POST", "/images/load?quiet=1", data, "application/x-tar").status == 200
    return found


def test_it_is_started_once_and_stopped_once(lab: Lab) -> None:
    first = lab.up()
    assert lab.up() == first == daemon.running(lab.run)
    assert daemon.answers(first.socket)
    assert json.loads(daemon.version(first))["ApiVersion"] == "1.47"
    assert lab.down() == first
    assert not processes.alive(first.pid, first.start_time)
    assert (lab.down(), daemon.running(lab.run)) == (None, None)
    assert not daemon.answers(first.socket)


def test_one_that_was_started_otherwise_is_found_and_stopped_too(lab: Lab) -> None:
    server = lab.up()
    record = Path(f"{lab.run}/daemon/server.json")
    record.unlink()
    lab_words = ["--host", server.host, "--root", lab.data, "--exec-root", lab.run, "--config", lab.config]
    os.kill(server.pid, 15)
    os.waitpid(server.pid, 0)
    other = subprocess.Popen([sys.executable, "-m", "labkit.daemon", *lab_words], stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    while not daemon.answers(server.socket):
        assert other.poll() is None
    assert lab.up().pid == other.pid
    found = lab.down()
    assert found is not None and found.pid == other.pid
    assert other.wait() == 0


def test_one_that_cannot_start_says_why(lab: Lab) -> None:
    Path(lab.config).write_text('{"debug": 7}')
    with pytest.raises(LabError, match=r"The daemon ended while starting; the end of its log:\n.*debug: must be true or false, not 7"):
        lab.up()
    assert daemon.running(lab.run) is None
    Path(lab.config).write_text('{"cgroup-parent": "labkit-daemon-test/containers"}')


def test_containers_go_on_when_it_is_stopped_and_reset_ends_them(lab: Lab, tmp_path: Path) -> None:
    asked = client(lab.up(), tmp_path)
    id = asked.started("sleep", "1000", name="box")
    pid = asked.get(f"/containers/{id}/json")["State"]["Pid"]
    lab.down()
    assert processes.stat(pid)
    taken = reset(lab.marks)
    assert f"deleted the container {id}" in taken
    assert processes.stat(pid) is None
    assert os.path.isdir(f"{lab.data}/images")
    assert reset(lab.marks) == ()


def test_reset_starts_one_again_that_ran_and_its_containers_are_gone(lab: Lab, tmp_path: Path) -> None:
    before = lab.up()
    asked = client(before, tmp_path)
    asked.started("sleep", "1000", host={"Binds": ["data:/data"]})
    reset(lab.marks)
    after = daemon.running(lab.run)
    assert after is not None and after.pid != before.pid
    assert asked.get("/containers/json?all=1") == []
    assert asked.get("/volumes")["Volumes"] == []
    assert [image["RepoTags"] for image in asked.get("/images/json")] == [["busybox:latest"]]
    assert asked.started("true")
    reset(lab.marks)
    assert reset(lab.marks) == ()
    reset(lab.marks, all=True)
    assert daemon.running(lab.run) is None


def test_the_doctor_knows_whether_it_answers(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def row(found: daemon.Server | None) -> Row:
        with monkeypatch.context() as patched:
            patched.setattr(daemon, "running", lambda: found)
            (only,) = doctor.rows()
        return only

    assert (row(None).state, row(None).remedy) == (State.LIMITED, "labkit up")
    server = lab.up()
    assert row(server) == Row("daemon", State.FINE, f"answers on {server.host}, API 1.24 to 1.47")
    lab.down()
    assert row(server).state is State.LIMITED
    assert row(server).found.startswith(f"the daemon does not answer on {server.host}: ")
