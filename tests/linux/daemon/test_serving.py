"""The daemon as a process: its socket, its end, its beginning, and what it reads again."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemons import Daemon, labkit_daemon
from tests.linux.daemon.speaking import SECONDS, Client, output, rest

LABKIT = os.path.join(os.path.dirname(sys.executable), "labkit")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([LABKIT, "daemon", *words], capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL)


def test_only_root_and_the_group_may_use_the_socket(daemon: Daemon) -> None:
    found = os.stat(daemon.socket)
    assert stat.filemode(found.st_mode) == "srw-rw----"
    assert found.st_uid == 0


def test_the_pid_file_names_the_daemon(daemon: Daemon) -> None:
    pid = int((daemon.place / "run/daemon/pid").read_text())
    assert b"labkit.daemon" in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_second_daemon_on_the_same_root_is_refused(daemon: Daemon, tmp_path: Path) -> None:
    done = run("--root", f"{daemon.place}/data", "--exec-root", f"{tmp_path}/run", "--config", f"{tmp_path}/none")
    assert done.returncode == 1
    assert "another engine has this root" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_daemon_on_the_same_socket_is_refused(daemon: Daemon, client: Client, tmp_path: Path) -> None:
    places = ["--root", f"{tmp_path}/data", "--exec-root", f"{tmp_path}/run", "--config", f"{tmp_path}/none"]
    done = run("--host", f"unix://{daemon.socket}", *places)
    assert done.returncode == 1
    assert "another daemon listens there" in done.stderr
    assert client.ask("GET", "/_ping").data == b"OK"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--host", "tcp://127.0.0.1:2375"], "must be a unix socket"),
        (["--log-level", "loud"], "invalid choice: 'loud'"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_what_cannot_be_is_refused(words: list[str], complaint: str, tmp_path: Path) -> None:
    done = run("--root", f"{tmp_path}/data", "--exec-root", f"{tmp_path}/run", "--config", f"{tmp_path}/none", *words)
    assert done.returncode != 0
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_daemon_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "daemon.json").write_text('{"data-rot": "/data"}')
    done = run("--config", f"{tmp_path}/daemon.json")
    assert done.returncode == 1
    assert done.stderr == f"labkit: {tmp_path}/daemon.json: 'data-rot' is no setting of this daemon: do you mean data-root?\n"


def test_a_socket_that_nobody_answers_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(f"{tmp_path}/socket")
    with labkit_daemon(tmp_path) as daemon:
        assert Client(daemon.socket).ask("GET", "/_ping").status == 200
    assert not os.path.exists(f"{tmp_path}/socket")
    assert not os.path.exists(f"{tmp_path}/run/daemon/pid")


def test_containers_outlive_the_daemon_and_waiting_clients_are_let_go(own_daemon: Daemon) -> None:
    daemon, client = own_daemon, Client(own_daemon.socket)
    id = client.started("sh", "-c", "echo one; while :; do sleep 0.05; done")
    pid = client.get(f"/containers/{id}/json")["State"]["Pid"]
    with (
        client.streaming("POST", f"/containers/{id}/wait") as waiting,
        client.streaming("GET", "/events"),
        client.streaming("GET", f"/containers/{id}/logs?follow=1&stdout=1"),
        client.hijacked("POST", f"/containers/{id}/attach?stream=1&stdout=1&stdin=1") as attached,
        client.connected(),
    ):
        daemon.stop()
        with pytest.raises(Exception, match=r"IncompleteRead|Connection"):
            waiting.read()
        assert rest(attached) == b""
    daemon.start()
    found = client.get(f"/containers/{id}/json")
    assert (found["State"]["Running"], found["State"]["Pid"]) == (True, pid)
    assert client.ask("POST", f"/containers/{id}/kill").status == 204
    assert client.ended(id) == 137


def test_the_same_after_a_daemon_that_was_killed(own_daemon: Daemon) -> None:
    daemon, client = own_daemon, Client(own_daemon.socket)
    running, ending = client.started("sleep", "1000"), client.create("sh", "-c", "exit 3")
    daemon.kill()
    daemon.start()
    assert client.get(f"/containers/{running}/json")["State"]["Running"]
    client.ask("POST", f"/containers/{ending}/start")
    assert client.ended(ending) == 3


def test_sighup_reads_the_mirrors_again_unless_they_are_wrong(daemon: Daemon, client: Client) -> None:
    config, pid = daemon.place / "daemon.json", int((daemon.place / "run/daemon/pid").read_text())
    said = json.loads(config.read_text())

    def reread(text: str) -> object:
        size = daemon.log.stat().st_size
        config.write_text(text)
        os.kill(pid, signal.SIGHUP)
        while b"SIGHUP" not in daemon.log.read_bytes()[size:]:
            client.get("/version")
        return client.get("/info")["RegistryConfig"]["Mirrors"]

    try:
        assert reread(json.dumps(said | {"registry-mirrors": ["http://127.0.0.1:1"]})) == ["http://127.0.0.1:1/"]
        assert reread(json.dumps(said | {"registry-mirrors": "nonsense"})) == ["http://127.0.0.1:1/"]
        assert reread("{") == ["http://127.0.0.1:1/"]
    finally:
        assert reread(json.dumps(said)) is None


def test_the_daemon_may_open_what_it_can_and_containers_what_they_could(daemon: Daemon, client: Client) -> None:
    pid = int((daemon.place / "run/daemon/pid").read_text())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (hard, hard)
    id = client.started("sh", "-c", "ulimit -n")
    client.ended(id)
    assert output(client.ask("GET", f"/containers/{id}/logs?stdout=1").data) == b"%d\n" % soft


def test_a_daemon_without_containers_is_small(daemon: Daemon, client: Client) -> None:
    pid = int((daemon.place / "run/daemon/pid").read_text())
    client.get("/version")
    (line,) = (line for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if line.startswith("Pss:"))
    assert int(line.split()[1]) < 45_000, "KiB"
    assert "/zstandard/" not in Path(f"/proc/{pid}/maps").read_text(), "it waits for the first layer that takes it"
