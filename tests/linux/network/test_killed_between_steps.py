"""The daemon is killed between each two steps of a container's start and of its end: the next one finds nothing that is left or lost.

    docker run ──▶ addresses ──▶ ports ──▶ step, step, step, … ──▶ "running" is written ──▶ names ──▶ the program begins
               ✝            ✝          ✝    ✝     ✝     ✝       ✝                       ✝         ✝
    docker rm  ──▶ it ends ──▶ the plan is undone ──▶ addresses and ports are given back
                                                  ✝                                      ✝

With ``--long`` after each step of the plan, else after those of the network.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemons import Daemon, labkit_daemon
from tests.linux.network import dying_daemon
from tests.linux.network.leftovers import ends_as, left
from tests.packets import asked, served, until

pytestmark = pytest.mark.timeout(900)

RUN = ("run", "-d", "--name", "web", "--network", "blue", "-p", "8080:80", "-p", "53:53/udp", "busybox", "sleep", "100000")
BEFORE_IT_RUNS = (
    "labkit.engine.publishing.take",
    "labkit.engine.endpoints.Endpoints.join",
    "step VethPair",
    "step PublishPorts",
    "step Route",
    "labkit.engine.endpoints.Endpoints.attend",
)
WHEN_IT_RUNS = ("labkit.runtime.container.knock",)
AT_ITS_END = (
    "labkit.engine.lifecycle.clear",
    "labkit.network.nat.withdraw",
    "labkit.engine.endpoints.Endpoints.leave",
)


@pytest.fixture
def daemon(home: Path) -> Iterator[Daemon]:
    with labkit_daemon(home) as started:
        started.docker.says("network", "prune", "--force")
        started.docker.says("network", "create", "blue")
        yield started


def dies(daemon: Daemon, moment: str, *command: str) -> int:
    """A daemon that dies at this moment of a command is started in its place; how it ended."""
    daemon.stop()
    program = daemon.command
    daemon.command = [sys.executable, dying_daemon.__file__, moment, *program[2:]]
    daemon.start()
    daemon.command = program
    nowhere = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    client = subprocess.Popen([*daemon.docker.words, *command], env=os.environ | daemon.environment, **nowhere)
    assert daemon.process
    ended = daemon.process.wait(60)
    client.wait(60)
    daemon.start()
    return ended


def is_whole(daemon: Daemon) -> bool:
    """Whether ``web`` runs and is reached; 53 is a port of nobody's in it."""
    pid = int(daemon.docker.says("inspect", "--format", "{{.State.Pid}}", "web"))
    assert daemon.holder
    with served(pid, 80):
        return bool(asked(daemon.holder.pid, "127.0.0.1", 8080)) and len(left(daemon)) == 7


def state(daemon: Daemon) -> str:
    return daemon.docker("inspect", "--format", "{{.State.Status}}", "web").out.strip()


@pytest.mark.parametrize("moment", BEFORE_IT_RUNS)
def test_a_start_that_is_cut_short_leaves_nothing_and_the_next_one_succeeds(daemon: Daemon, moment: str) -> None:
    before: list[str] = []
    assert dies(daemon, moment, *RUN) == -signal.SIGKILL
    assert state(daemon) == "created"
    assert ends_as(daemon, before), left(daemon)
    daemon.docker.says("start", "web")
    assert is_whole(daemon)
    daemon.docker.says("rm", "--force", "web")
    assert ends_as(daemon, before), left(daemon)


def test_so_it_is_after_each_step_of_the_plan(daemon: Daemon, long: bool) -> None:
    before: list[str] = []
    for number in range(0, 1000, 1 if long else 20):
        ended = dies(daemon, f"step {number}", *RUN)
        if ended == dying_daemon.NO_SUCH_STEP:
            daemon.docker.says("rm", "web")
            break
        assert ended == -signal.SIGKILL
        assert state(daemon) == "created", number
        assert ends_as(daemon, before), (number, left(daemon))
        daemon.docker.says("start", "web")
        assert is_whole(daemon), number
        daemon.docker.says("rm", "--force", "web")
    assert number > 20
    assert ends_as(daemon, before), left(daemon)


@pytest.mark.parametrize("moment", WHEN_IT_RUNS)
def test_a_container_whose_program_has_begun_runs_on(daemon: Daemon, moment: str) -> None:
    before: list[str] = []
    assert dies(daemon, moment, *RUN) == -signal.SIGKILL
    assert state(daemon) == "running"
    assert is_whole(daemon)
    daemon.docker.says("rm", "--force", "web")
    assert ends_as(daemon, before), left(daemon)


@pytest.mark.parametrize("moment", AT_ITS_END)
def test_an_end_that_is_cut_short_is_finished_by_the_next_daemon(daemon: Daemon, moment: str) -> None:
    before: list[str] = []
    daemon.docker.says(*RUN)
    assert dies(daemon, moment, "kill", "web") == -signal.SIGKILL
    assert until(lambda: state(daemon) == "exited")
    assert ends_as(daemon, before), left(daemon)
    daemon.docker.says("start", "web")
    assert is_whole(daemon)
    daemon.docker.says("rm", "--force", "web")


def test_a_network_that_was_being_made_or_removed_is_there_or_not_but_never_by_half(daemon: Daemon) -> None:
    docker = daemon.docker
    for moment in ("labkit.engine.network_file.save", "labkit.engine.networks.Networks.create"):
        assert dies(daemon, moment, "network", "create", "red") == -signal.SIGKILL
        docker.says("network", "inspect", "red")
        docker.says("run", "--rm", "--network", "red", "busybox", "true")
        docker.says("network", "rm", "red")
    for moment in ("labkit.network.fabric.Fabric.lower", "labkit.engine.networks.Networks.remove"):
        docker.says("network", "create", "red")
        docker.says("run", "--rm", "--network", "red", "busybox", "true")
        assert dies(daemon, moment, "network", "rm", "red") == -signal.SIGKILL
        docker("network", "rm", "red")
        assert docker("network", "inspect", "red").code == 1
