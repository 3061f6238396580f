"""labkit with a daemon of its own: completion of names, images through the daemon, and the name docker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_lines import Program, Result
from tests.daemons import Daemon, busybox_archive, labkit_daemon
from tests.terminals import SECONDS

LABKIT = os.path.join(os.path.dirname(sys.executable), "labkit")


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with tempfile.TemporaryDirectory(prefix="labkit-") as path, labkit_daemon(Path(path) / "daemon") as running:
        running.client(LABKIT).says("load", "-i", str(busybox_archive(Path(path))))
        running.client(LABKIT).says("run", "--rm", "--network", "none", "busybox", "true")  # makes the control group of all, which stays
        yield running


@pytest.fixture
def labkit(daemon: Daemon) -> Iterator[Program]:
    program = daemon.client(LABKIT)
    yield program
    if left := program.says("ps", "-aq").split():
        program.says("rm", "-f", *left)


def completed(labkit: Program, line: str) -> list[str]:
    """What bash would offer for the last word."""
    words = line.split(" ")
    result = labkit(_LABKIT_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1))
    assert result.err == ""
    return [each.partition(",")[2] for each in result.out.split()]


def test_names_complete_as_the_command_can_use_them(labkit: Program) -> None:
    labkit.says("run", "-d", "--name", "web-runs", "--network", "none", "busybox", "sleep", "1000")
    labkit.says("create", "--name", "web-created", "--network", "none", "busybox")
    labkit.says("volume", "create", "vol1")
    assert completed(labkit, "labkit stop web") == ["web-runs"]
    assert completed(labkit, "labkit start web") == ["web-created"]
    assert completed(labkit, "labkit rm web") == ["web-created", "web-runs"]
    assert completed(labkit, "labkit rm web-runs web") == ["web-created"]
    assert completed(labkit, "labkit exec web-runs we") == []
    assert completed(labkit, "labkit container inspect web-r") == ["web-runs"]
    assert completed(labkit, "labkit volume rm vo") == ["vol1"]
    assert completed(labkit, "labkit network inspect n") == ["none"]
    assert completed(labkit, "labkit run bus") == ["busybox:latest"]
    assert completed(labkit, "labkit volu") == ["volume"]
    labkit.says("volume", "rm", "vol1")


def test_without_a_daemon_nothing_completes_and_nothing_is_said() -> None:
    nobody = Program([LABKIT], {"DOCKER_HOST": "unix:///nosuch.sock"})
    assert completed(nobody, "labkit stop we") == []


def test_images_are_the_daemons(labkit: Program) -> None:
    labkit.says("tag", "busybox", "other:1")
    assert sorted(labkit.says("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines()) == ["busybox:latest", "other:1"]
    assert labkit.says("rmi", "other:1") == "Untagged: other:1"
    assert labkit("rmi", "nosuch") == Result(1, "", "Error response from daemon: No such image: nosuch:latest\n")


def test_a_link_called_docker_speaks_as_docker(labkit: Program, daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "docker").symlink_to(LABKIT)
    docker = daemon.client(str(tmp_path / "docker"))
    said = "docker: 'docker ps' accepts no arguments\n\nUsage:  docker ps [OPTIONS]\n\nRun 'docker ps --help' for more information\n"
    assert docker("ps", "x").err == said
    refused = docker("run", "--network", "none", "busybox", "nosuch")
    assert refused.code == 127 and refused.err.startswith("docker: Error response from daemon: ")
    assert "docker run [OPTIONS] IMAGE" in docker.says("run", "--help")


def test_a_daemon_that_is_killed_is_told_by_all_who_wait_for_it(tmp_path: Path) -> None:
    archive = busybox_archive(tmp_path)
    with labkit_daemon(tmp_path / "daemon") as daemon:
        labkit = daemon.client(LABKIT)
        labkit.says("load", "-i", str(archive))
        all_wait(labkit, daemon)


def all_wait(labkit: Program, daemon: Daemon) -> None:
    labkit.says("run", "-d", "--name", "box", "--network", "none", "busybox", "sh", "-c", "while :; do echo tick; sleep 0.05; done")
    environment = os.environ | dict(labkit.environment)
    lines = [["logs", "-f", "box"], ["attach", "--no-stdin", "--sig-proxy=false", "box"], ["events", "--since", "0"], ["stats", "box"]]
    waiting = [
        subprocess.Popen([LABKIT, *line], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for line in lines
    ]
    for each in waiting:
        assert each.stdout and each.stdout.read(3)
    daemon.kill()
    for each in waiting:
        _, err = each.communicate(timeout=SECONDS)
        assert b"Traceback" not in err and each.returncode not in (0, -signal.SIGSEGV), (each.args, err)
    daemon.start()
    assert labkit.says("ps", "--format", "{{.Names}}") == "box"
