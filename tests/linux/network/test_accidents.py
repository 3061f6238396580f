"""What goes wrong on a machine with containers: what somebody switched off, took, deleted or has not installed; and kill -9.

Each time the error says what to do, nothing is left, and when the cause is gone all works again.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemons import Daemon, labkit_daemon
from tests.linux.network.leftovers import bridges, ends_as, inside, left
from tests.packets import MACHINE, asked, neighbour, served, until

pytestmark = pytest.mark.timeout(300)

SLEEP = ("busybox", "sleep", "100000")


@pytest.fixture
def daemon(home: Path) -> Iterator[Daemon]:
    with labkit_daemon(home) as started:
        started.docker.says("network", "prune", "--force")  # of a test that has failed
        yield started


def bridge(daemon: Daemon) -> str:
    return daemon.docker.says("network", "inspect", "--format", '{{index .Options "com.docker.network.bridge.name"}}', "bridge")


def pids(daemon: Daemon, name: str) -> tuple[int, int]:
    """Of a container's first process, and of its monitor."""
    init = int(daemon.docker.says("inspect", "--format", "{{.State.Pid}}", name))
    with open(f"/proc/{init}/status") as status:
        return init, next(int(line.split()[1]) for line in status if line.startswith("PPid:"))


@contextlib.contextmanager
def ended(*processes: int) -> Iterator[None]:
    """At the end of the block these have ended."""
    handles = [os.pidfd_open(pid) for pid in processes]
    yield
    for handle in handles:
        assert select.select([handle], [], [], 30)[0]
        os.close(handle)


def test_forwarding_that_somebody_has_switched_off_is_on_with_the_next_container(daemon: Daemon) -> None:
    docker = daemon.docker
    assert daemon.holder
    with neighbour(daemon.holder.pid) as other, served(other.pid, 99):
        docker.says("run", "-d", "--name", "web", *SLEEP)
        web, _ = pids(daemon, "web")
        assert asked(web, "192.0.2.1", 99) == MACHINE
        inside(daemon, "sysctl -q net.ipv4.ip_forward=0")
        assert asked(web, "192.0.2.1", 99) == ""
        docker.says("run", "--rm", "busybox", "true")
        assert asked(web, "192.0.2.1", 99) == MACHINE
    docker.says("rm", "--force", "web")


def test_forwarding_that_cannot_be_switched_on_is_an_error_and_nothing_is_left(daemon: Daemon) -> None:
    before = left(daemon)
    daemon.stop()
    inside(daemon, "sysctl -q net.ipv4.ip_forward=0")
    program = daemon.command
    daemon.command = ["unshare", "--mount", "sh", "-c", 'mount -o bind,ro /proc/sys/net/ipv4 /proc/sys/net/ipv4; exec "$@"', "sh", *program]
    daemon.start()
    refused = daemon.docker("run", "--rm", *SLEEP)
    assert refused.code == 125
    assert "write sysctl net.ipv4.ip_forward: EROFS (it is 0, so that no packet leaves a network of containers" in refused.err
    assert daemon.docker.says("run", "--rm", "--network", "none", "busybox", "echo", "on") == "on"
    assert left(daemon) == before
    daemon.stop()
    daemon.command = program
    daemon.start()
    daemon.docker.says("run", "--rm", "busybox", "true")


def test_a_cable_into_a_namespace_that_lives_on_is_gone_when_the_daemon_has_ended(daemon: Daemon) -> None:
    docker = daemon.docker
    docker.says("run", "-d", "--name", "web", *SLEEP)
    with open(f"/proc/{pids(daemon, 'web')[0]}/ns/net"):
        docker.says("rm", "--force", "web")
        daemon.stop()
        assert inside(daemon, "ip -o link show type veth") == ""
        daemon.start()


def test_the_default_bridge_keeps_away_from_what_the_machine_reaches(home: Path) -> None:
    with labkit_daemon(home.with_name("elsewhere")) as daemon:
        inside(daemon, "ip link add eth7 type veth peer eth8; ip addr add 172.17.5.1/24 dev eth7; ip link set eth7 up")
        daemon.docker.says("load", "--input", str(home.with_name("image") / "busybox.tar"))
        assert daemon.docker.says("run", "--rm", "busybox", "ip", "route").startswith("default via 172.18.0.1")


def test_a_subnet_that_another_network_has_is_refused_and_nothing_is_left(daemon: Daemon) -> None:
    docker = daemon.docker
    docker.says("network", "create", "--subnet", "10.213.0.0/16", "blue")
    before = docker.says("network", "ls")
    for subnet in ("10.213.0.0/16", "10.213.7.0/24", "10.0.0.0/8"):
        refused = docker("network", "create", "--subnet", subnet, "red")
        assert "Pool overlaps with other one on this address space" in refused.err
    assert docker.says("network", "ls") == before
    docker.says("network", "rm", "blue")


def test_when_no_pool_is_left_the_error_says_what_to_do(daemon: Daemon) -> None:
    docker = daemon.docker
    docker.says("run", "--rm", "busybox", "true")
    made = []
    while (result := docker("network", "create", f"net{len(made)}")).code == 0:
        made.append(f"net{len(made)}")
    assert len(made) == 30  # 172.17 is that of the default bridge
    assert "could not find an available, non-overlapping IPv4 address pool" in result.err
    assert "docker network create --subnet" in result.err and "docker network prune" in result.err
    docker.says("network", "create", "--subnet", "10.77.0.0/24", "mine")
    docker.says("network", "prune", "--force")
    docker.says("network", "create", "mine")
    docker.says("network", "rm", "mine")


def test_addresses_that_run_out_are_an_error_and_come_back(daemon: Daemon) -> None:
    docker = daemon.docker
    docker.says("network", "create", "--subnet", "10.214.0.0/30", "tiny")
    docker.says("run", "-d", "--name", "one", "--network", "tiny", *SLEEP)
    before = left(daemon)
    refused = docker("run", "--name", "two", "--network", "tiny", "-p", "8080:80", *SLEEP)
    assert "no available IPv4 addresses on this network's address pools: 10.214.0.0/30" in refused.err
    assert left(daemon) == before
    docker.says("rm", "--force", "one")
    docker.says("start", "two")
    docker.says("rm", "--force", "two")
    docker.says("network", "rm", "tiny")


@pytest.mark.parametrize("kind", ["veth", "bridge"])
def test_a_link_of_the_bridges_name_that_is_somebodys_is_left_alone_and_named(daemon: Daemon, kind: str) -> None:
    docker, name = daemon.docker, bridge(daemon)
    inside(daemon, f"ip link add {name} type {kind}; ip link set {name} up; sysctl -q net.ipv6.conf.{name}.disable_ipv6=1")
    before = inside(daemon, f"ip -o link show {name}")
    refused = docker("run", "--name", "box", *SLEEP)
    assert refused.code == 125
    what = "a bridge" if kind == "bridge" else "a link of kind veth"
    assert f"bridge {name}: there is {what} of that name, which is not labkit's" in refused.err
    assert f"ip link delete {name}" in refused.err
    docker.says("run", "--rm", "--network", "none", "busybox", "true")
    daemon.stop()
    assert inside(daemon, f"ip -o link show {name}") == before, "the end of the daemon took it away"
    daemon.start()
    inside(daemon, f"ip link delete {name}")
    docker.says("start", "box")
    docker.says("rm", "--force", "box")


def test_a_bridge_of_ours_with_an_address_of_another_time_gets_the_new_one(daemon: Daemon) -> None:
    name = bridge(daemon)
    daemon.docker.says("run", "--rm", "busybox", "true")
    address = inside(daemon, f"ip -o -4 addr show {name}").split()[3]
    inside(daemon, f"ip addr flush dev {name}; ip addr add 10.99.0.1/24 dev {name}")
    daemon.kill()
    daemon.start()
    daemon.docker.says("run", "--rm", "busybox", "true")
    assert inside(daemon, f"ip -o -4 addr show {name}").split()[3] == address


def test_without_nft_the_error_says_what_to_install_and_containers_without_a_network_go_on(daemon: Daemon, tmp_path: Path) -> None:
    daemon.stop()
    program = daemon.command
    hide = "mount -o bind /dev/null $(ldconfig -p | sed -n 's/.*libnftables.so.1.* => //p')"  # what nft is made of
    daemon.command = ["unshare", "--mount", "sh", "-c", f'{hide}; export PATH={tmp_path}; exec "$@"', "sh", *program]
    daemon.start()
    docker = daemon.docker
    before = (left(daemon), bridges(daemon))
    refused = docker("run", "--name", "box", "-p", "8080:80", *SLEEP)
    assert refused.code == 125
    assert "nft: there is no such program here" in refused.err and "apt install nftables" in refused.err
    assert (left(daemon), bridges(daemon)) == before
    for network in ("none", "host"):
        assert docker.says("run", "--rm", "--network", network, "busybox", "echo", "on") == "on"
    daemon.stop()
    daemon.command = program
    daemon.start()
    docker.says("start", "box")
    docker.says("rm", "--force", "box")


def test_rules_that_somebody_deletes_while_containers_run_are_there_again(daemon: Daemon) -> None:
    docker = daemon.docker
    assert daemon.holder
    docker.says("network", "create", "blue")
    docker.says("run", "-d", "--name", "web", "-p", "8080:80", *SLEEP)
    docker.says("run", "-d", "--name", "app", "--network", "blue", "-p", "8081:80", "-p", "53:80/udp", *SLEEP)
    ours = "nft list ruleset | sort"
    before = inside(daemon, ours)
    with neighbour(daemon.holder.pid) as other, served(pids(daemon, "web")[0], 80), served(pids(daemon, "app")[0], 80):
        for deed in ("nft flush ruleset", "nft delete table inet $(nft list tables inet | cut -d' ' -f3)"):
            inside(daemon, deed)
            assert until(lambda: inside(daemon, ours) == before), deed
            ports = ((8080, "tcp"), (8081, "tcp"), (53, "udp"))
            assert all(asked(other.pid, MACHINE, port, kind) for port, kind in ports), deed
        daemon.kill()
        inside(daemon, "nft flush ruleset")  # with nobody there to see it
        daemon.start()
        assert until(lambda: inside(daemon, ours) == before)
        assert asked(other.pid, MACHINE, 8080)
    docker.says("rm", "--force", "web", "app")
    docker.says("network", "rm", "blue")


@pytest.mark.parametrize("killed", ["monitor", "daemon, and the container ends", "daemon and monitor", "all three"])
def test_nothing_is_left_of_a_container_whose_keepers_were_killed(daemon: Daemon, killed: str) -> None:
    docker = daemon.docker
    docker.says("network", "create", "blue")
    before = left(daemon)
    docker.says("run", "-d", "--name", "web", "--network", "blue", "-p", "8080:80", "-p", "53:53/udp", *SLEEP)
    init, monitor = pids(daemon, "web")
    assert len(left(daemon)) == 7
    if "daemon" in killed or killed == "all three":
        daemon.kill()
    with ended(*([init] if "ends" in killed or killed == "all three" else []), *([monitor] if "monitor" in killed else [])):
        if killed != "daemon, and the container ends":
            os.kill(monitor, signal.SIGKILL)
        if "ends" in killed or killed == "all three":
            os.kill(init, signal.SIGKILL)
    if "daemon, and" in killed:
        assert until(lambda: not [line for line in left(daemon) if line.startswith(("rule", "cable"))]), "the monitor sees to it"
    if "daemon" in killed or killed == "all three":
        daemon.start()
    assert until(lambda: docker.says("inspect", "--format", "{{.State.Running}}", "web") == "false")
    assert ends_as(daemon, before), left(daemon)
    docker.says("run", "--rm", "-p", "8080:80", "-p", "53:53/udp", "busybox", "true")
    docker.says("rm", "web")
    docker.says("network", "rm", "blue")


def test_a_network_whose_daemon_was_killed_is_removed_with_its_bridge(daemon: Daemon) -> None:
    docker = daemon.docker
    docker.says("run", "--rm", "busybox", "true")
    before = bridges(daemon)
    docker.says("network", "create", "blue")
    docker.says("run", "--rm", "--network", "blue", "busybox", "true")
    assert len(bridges(daemon)) == len(before) + 1
    daemon.kill()
    daemon.start()
    docker.says("network", "rm", "blue")
    assert bridges(daemon) == before
    assert "blue" not in inside(daemon, "nft list ruleset")
