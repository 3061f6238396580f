"""Many containers on one network, and one that is started and stopped again and again: all works, and nothing is left.

With ``--long`` 200 of them, and 500 times; else some.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.daemons import Daemon, ask, labkit_daemon
from tests.linux.network.leftovers import bridges, ends_as, inside, left
from tests.packets import asked, served

pytestmark = pytest.mark.timeout(1800)

WORKERS = 4


@pytest.fixture
def daemon(home: Path) -> Iterator[Daemon]:
    with labkit_daemon(home) as started:
        started.docker.says("network", "prune", "--force")
        started.docker.says("network", "create", "blue")
        yield started


def made(daemon: Daemon, name: str, **host: object) -> None:
    body = {"Image": "busybox", "Cmd": ["sleep", "100000"], "HostConfig": {"NetworkMode": "blue", **host}}
    does(daemon, "POST", f"/containers/create?name={name}", body)


def does(daemon: Daemon, method: str, target: str, body: object = None) -> None:
    status, said = ask(daemon.socket, method, target, body)
    assert status < 300, (method, target, said)


def test_many_containers_share_a_network_and_find_each_other(daemon: Daemon, long: bool) -> None:
    count = 200 if long else 24
    docker = daemon.docker

    def begin(number: int) -> None:
        made(daemon, f"box{number}", PortBindings={"80/tcp": [{}]})
        does(daemon, "POST", f"/containers/box{number}/start")

    with ThreadPoolExecutor(WORKERS) as workers:
        list(workers.map(begin, range(count)))
    addresses = docker.says("network", "inspect", "--format", "{{range .Containers}}{{.IPv4Address}} {{end}}", "blue").split()
    assert len(set(addresses)) == count
    kinds = [line.split()[0] for line in left(daemon)]
    assert [kinds.count(kind) for kind in ("cable", "rule", "port", "lease")] == [count] * 4
    first, last = "box0", f"box{count - 1}"
    docker.says("exec", first, "ping", "-c1", "-W5", last)
    docker.says("exec", last, "ping", "-c1", "-W5", first)
    assert daemon.holder
    pid = int(docker.says("inspect", "--format", "{{.State.Pid}}", last))
    port = int(docker.says("port", last, "80").split()[0].rpartition(":")[2])
    with served(pid, 80):
        assert asked(daemon.holder.pid, "127.0.0.1", port)
    daemon.kill()
    daemon.start()
    assert docker.says("exec", first, "nslookup", last)
    with ThreadPoolExecutor(WORKERS) as workers:
        list(workers.map(lambda number: does(daemon, "DELETE", f"/containers/box{number}?force=1"), range(count)))
    assert ends_as(daemon, []), left(daemon)


def test_a_container_that_is_started_and_stopped_again_and_again_leaves_nothing(daemon: Daemon, long: bool) -> None:
    count = 500 if long else 25
    made(daemon, "box", PortBindings={"80/tcp": [{"HostPort": "8080"}], "53/udp": [{"HostPort": "53"}]})
    does(daemon, "POST", "/containers/box/start")
    does(daemon, "POST", "/containers/box/kill")
    assert ends_as(daemon, []), left(daemon)
    links, rules = bridges(daemon), inside(daemon, "nft list ruleset")
    for _ in range(count):
        does(daemon, "POST", "/containers/box/start")
        does(daemon, "POST", "/containers/box/stop?t=0")
    assert ends_as(daemon, []), left(daemon)
    assert (bridges(daemon), inside(daemon, "nft list ruleset")) == (links, rules)
    does(daemon, "DELETE", "/containers/box")
    pid = int((daemon.place / "run/daemon/pid").read_text())
    assert sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()) < 64, "the daemon itself keeps nothing open either"
