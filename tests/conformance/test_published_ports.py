"""Each form of -p, and -P, with the unmodified docker client: what is bound, and who reaches the container through it.

    another machine ══ eth0 ─┐                       ┌─ itself
    (a network namespace)    │ the machine ─ bridge ─┼─ a container beside it
                        lo ──┘      └─ another bridge └─ …
                                        └─ a container of another network

The same on labkit's daemon and on dockerd without its user-land proxy, for what passes by that is another story.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.daemons import DOCKER, HAS_DOCKERD, Daemon, busybox_archive, dockerd, labkit_daemon
from tests.packets import MACHINE, MACHINE6, OTHER, asked, neighbour, served

pytestmark = [pytest.mark.skipif(not DOCKER, reason="no docker client is installed"), pytest.mark.timeout(300)]

OUTSIDE, LOOPBACK, OWN = "another machine", "the machine, by 127.0.0.1", "the machine, by its address"
BESIDE, GATEWAY, ITSELF = "a container beside it", "a container beside it, by the gateway", "itself"
STRANGER = "a container of another network"
EVERYWHERE = {OUTSIDE, LOOPBACK, OWN, BESIDE, GATEWAY, ITSELF}


@dataclass(frozen=True)
class Lan:
    """A machine with a daemon, another machine beside it, and containers ``beside`` and ``stranger``."""

    daemon: Daemon
    other: int
    gateway: str

    @property
    def machine(self) -> int:
        assert self.daemon.holder
        return self.daemon.holder.pid

    def pid(self, name: str) -> int:
        return int(self.daemon.docker.says("inspect", "--format", "{{.State.Pid}}", name))

    def reach(self, name: str, port: int, kind: str = "tcp") -> set[str]:
        """From where a port leads to a container."""
        ways = {
            OUTSIDE: (self.other, MACHINE),
            LOOPBACK: (self.machine, "127.0.0.1"),
            OWN: (self.machine, MACHINE),
            BESIDE: (self.pid("beside"), MACHINE),
            GATEWAY: (self.pid("beside"), self.gateway),
            ITSELF: (self.pid(name), MACHINE),
        }
        return {way for way, (pid, address) in ways.items() if asked(pid, address, port, kind)}

    def ports(self, name: str) -> dict[str, list[dict[str, str]]]:
        return dict(json.loads(self.daemon.docker.says("inspect", "--format", "{{json .NetworkSettings.Ports}}", name)))


needs_dockerd = pytest.mark.skipif(not HAS_DOCKERD, reason="dockerd is not installed")


@pytest.fixture(scope="module", params=[labkit_daemon, pytest.param(dockerd, marks=needs_dockerd)])
def lan(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    place = tmp_path_factory.mktemp("ports")
    with request.param(place / "daemon") as daemon, contextlib.ExitStack() as stack:
        docker = daemon.docker
        docker.says("load", "--input", str(busybox_archive(place / "image")))
        other = stack.enter_context(neighbour(daemon.holder.pid))
        docker.says("network", "create", "elsewhere")
        docker.says("run", "-d", "--name", "beside", "busybox", "sleep", "100000")
        docker.says("run", "-d", "--name", "stranger", "--network", "elsewhere", "busybox", "sleep", "100000")
        gateway = docker.says("inspect", "--format", "{{.NetworkSettings.Gateway}}", "beside")
        yield Lan(daemon, other.pid, gateway)
        docker.says("rm", "--force", "beside", "stranger")
        docker.says("network", "rm", "elsewhere")


@pytest.fixture
def run(lan: Lan) -> Iterator[Callable[..., None]]:
    """``run("-p", "80")``: a container ``web`` with servers on 80, 81 and 82."""
    with contextlib.ExitStack() as stack:

        def start(*options: str) -> None:
            lan.daemon.docker.says("run", "-d", "--name", "web", *options, "busybox", "sleep", "100000")
            stack.callback(lan.daemon.docker, "rm", "--force", "web")
            stack.enter_context(served(lan.pid("web"), 80, 81, 82))

        yield start


@pytest.mark.parametrize(
    ("options", "kind", "port", "address", "reach"),
    [
        (("-p", "80"), "tcp", None, "0.0.0.0", EVERYWHERE),
        (("-p", "80/udp"), "udp", None, "0.0.0.0", EVERYWHERE),
        (("-P", "--expose", "80"), "tcp", None, "0.0.0.0", EVERYWHERE),
        (("-P", "--expose", "80/udp"), "udp", None, "0.0.0.0", EVERYWHERE),
        (("-p", "8080:80"), "tcp", 8080, "0.0.0.0", EVERYWHERE),
        (("-p", "8080:80/udp"), "udp", 8080, "0.0.0.0", EVERYWHERE),
        (("-p", "0.0.0.0::80"), "tcp", None, "0.0.0.0", EVERYWHERE),
        (("-p", "0.0.0.0::80/udp"), "udp", None, "0.0.0.0", EVERYWHERE),
        (("-p", "0.0.0.0:8080:80"), "tcp", 8080, "0.0.0.0", EVERYWHERE),
        (("-p", "0.0.0.0:8080:80/udp"), "udp", 8080, "0.0.0.0", EVERYWHERE),
        (("-p", "127.0.0.1:8080:80/tcp"), "tcp", 8080, "127.0.0.1", {LOOPBACK}),
        (("-p", "127.0.0.1:8080:80/udp"), "udp", 8080, "127.0.0.1", {LOOPBACK}),
        (("-p", "127.0.0.1::80"), "tcp", None, "127.0.0.1", {LOOPBACK}),
        (("-p", f"{MACHINE}:8080:80"), "tcp", 8080, MACHINE, {OUTSIDE, OWN, BESIDE, ITSELF}),
        (("-p", f"{MACHINE}:8080:80/udp"), "udp", 8080, MACHINE, {OUTSIDE, OWN, BESIDE, ITSELF}),
        (("-p", "target=80,published=8080,protocol=udp"), "udp", 8080, "0.0.0.0", EVERYWHERE),
    ],
    ids=lambda value: "-".join(value).replace("/", ":") if isinstance(value, tuple) else "",
)
def test_a_form_binds_what_it_says_and_is_reached_from_where_it_says(
    lan: Lan, run: Callable[..., None], options: tuple[str, ...], kind: str, port: int | None, address: str, reach: set[str]
) -> None:
    run(*options)
    found = {(each["HostIp"], each["HostPort"]) for each in lan.ports("web")[f"80/{kind}"]} - {("::", str(port or ""))}
    (bound,) = {number for host, number in found if host == address}
    assert not port or bound == str(port)
    assert f"{address}:{bound}" in lan.daemon.docker.says("port", "web", f"80/{kind}")
    assert lan.reach("web", int(bound), kind) == reach
    assert lan.reach("web", int(bound), {"tcp": "udp", "udp": "tcp"}[kind]) == set(), "the other protocol"
    lan.daemon.docker.says("stop", "-t", "0", "web")
    assert lan.reach("beside", int(bound), kind) == set(), "nobody, once it has stopped"


def test_a_range_of_ports_leads_to_a_range_each_to_its_own(lan: Lan, run: Callable[..., None]) -> None:
    run("-p", "8080-8082:83-85", "-p", "8090-8091:80-81/udp")
    with served(lan.pid("web"), 84):
        assert [bool(asked(lan.other, MACHINE, port)) for port in (8080, 8081, 8082)] == [False, True, False]
    assert [bool(asked(lan.other, MACHINE, port, "udp")) for port in (8089, 8090, 8091, 8092)] == [False, True, True, False]


def test_the_first_free_one_of_a_range_is_taken(lan: Lan, run: Callable[..., None]) -> None:
    docker = lan.daemon.docker
    docker.says("run", "-d", "--name", "first", "-p", "8080-8081:80", "busybox", "sleep", "1000")
    run("-p", "8080-8081:80")
    assert docker("port", "web").out.split()[2].endswith(":8081")
    refused = docker("run", "--name", "third", "-p", "8080-8081:80", "busybox", "true")
    assert refused.code == 125
    assert "all ports are allocated" in refused.err or "port is already allocated" in refused.err
    assert asked(lan.other, MACHINE, 8081) == OTHER
    docker.says("rm", "--force", "first", "third")


def test_the_container_sees_who_asks_from_another_machine(lan: Lan, run: Callable[..., None]) -> None:
    run("-p", "8080:80", "-p", "8080:80/udp")
    assert asked(lan.other, MACHINE, 8080) == asked(lan.other, MACHINE, 8080, "udp") == OTHER


def test_a_container_of_another_network_reaches_what_is_published_and_nothing_else(lan: Lan, run: Callable[..., None]) -> None:
    run("-p", "8080:80")
    stranger = lan.pid("stranger")
    inside = lan.daemon.docker.says("inspect", "--format", "{{.NetworkSettings.IPAddress}}", "web")
    assert asked(stranger, inside, 80) == asked(stranger, inside, 81) == ""
    if lan.daemon.name == "labkit":  # dockerd has its user-land proxy for it, and without one lets nothing pass
        assert asked(stranger, MACHINE, 8080) != ""


@pytest.mark.parametrize("form", ["8080:80", "0.0.0.0:8080:81", "127.0.0.1:8080:80", "8080:80/udp"])
def test_a_port_that_a_container_has_is_refused_in_dockers_words_and_nothing_is_left(lan: Lan, run: Callable[..., None], form: str) -> None:
    kind = form.partition("/")[2] or "tcp"
    run("-p", f"8080:80/{kind}")
    docker = lan.daemon.docker
    before = state(lan)
    refused = docker("run", "--name", "second", "-p", form, "-p", "8085:80", "busybox", "true")
    assert refused.code == 125
    address = "127.0.0.1" if "127" in form else "0.0.0.0"
    assert "driver failed programming external connectivity on endpoint second" in refused.err
    taken = f"Bind for {address}:8080 failed: port is already allocated"
    if form.startswith("127"):  # by the one that has it for all addresses
        taken = f"listen tcp4 {address}:8080: bind: address already in use"
    assert taken in refused.err, refused.err
    assert docker.says("inspect", "--format", "{{.State.Status}}", "second") == "created"
    docker.says("rm", "second")
    assert state(lan) == before
    docker.says("rm", "--force", "web")
    docker.says("run", "--rm", "--name", "second", "-p", form, "busybox", "true")


def test_a_port_that_a_program_of_the_machine_has_is_refused_and_nothing_is_left(lan: Lan) -> None:
    docker = lan.daemon.docker
    before = state(lan)
    with served(lan.machine, 8080):
        refused = docker("run", "--rm", "--name", "second", "-p", "8080:80", "busybox", "true")
        assert refused.code == 125
        assert "listen tcp4 0.0.0.0:8080: bind: address already in use" in refused.err, refused.err
    docker("rm", "second")
    assert state(lan) == before
    docker.says("run", "--rm", "-p", "8080:80", "busybox", "true")


def state(lan: Lan) -> list[str]:
    """What there is of networks in the kernel: rules and addresses, without counters and handles."""
    look = "nft list ruleset 2>/dev/null; iptables -S; iptables -t nat -S; ls /sys/class/net; ss -Hltun"
    words = lan.daemon.inside("sh", "-c", look)
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()


def test_the_common_slip_names_the_forms_that_were_meant(lan: Lan) -> None:
    refused = lan.daemon.docker("run", "--rm", "-p", "0.0.0.0:80", "busybox", "true")
    assert refused.code == 125
    assert "0.0.0.0" in refused.err  # the client's own words; labkit's are in tests/unit/cli/client/test_ports.py


def test_random_ports_are_of_the_kernels_range_and_none_is_given_twice(lan: Lan) -> None:
    docker = lan.daemon.docker
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    names = [f"box{number}" for number in range(4)]
    for name in names:
        docker.says("run", "-d", "--name", name, "-p", "80", "-p", "81", "-p", "80/udp", "busybox", "sleep", "1000")
    bound = [each for name in names for key in ("80/tcp", "81/tcp") for each in lan.ports(name)[key]]
    tcp = [each["HostPort"] for each in bound if each["HostIp"] == "0.0.0.0"]
    assert len(set(tcp)) == len(tcp) == 8
    assert all(first <= int(number) <= last for number in tcp)
    docker.says("rm", "--force", *names)


labkit_only = pytest.mark.parametrize("lan", [labkit_daemon], indirect=True)
"""For what dockerd 20.10 has rules for only as an experiment (IPv6), or leaves to its user-land proxy."""


@labkit_only
@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("[::]:8080:80", "tcp"),
        ("[::]:8080:80/udp", "udp"),
        ("8080:80", "tcp"),
        (f"[{MACHINE6}]:8080:80", "tcp"),
        (f"[{MACHINE6}]:8080:80/udp", "udp"),
    ],
)
def test_ports_of_ipv6_addresses_lead_to_containers_that_have_one(lan: Lan, form: str, kind: str) -> None:
    docker = lan.daemon.docker
    docker.says("network", "create", "--ipv6", "--subnet", "fd00:77::/64", "six")
    try:
        docker.says("run", "-d", "--name", "web", "--network", "six", "-p", form, "busybox", "sleep", "1000")
        docker.says("run", "-d", "--name", "near", "--network", "six", "busybox", "sleep", "1000")
        web, near = lan.pid("web"), lan.pid("near")
        with served(web, 80):
            ways = {
                "other": (lan.other, MACHINE6), "own": (lan.machine, MACHINE6), "loopback": (lan.machine, "::1"),
                "beside": (near, MACHINE6), "itself": (web, MACHINE6),
            }  # fmt: skip
            assert {way for way, (pid, address) in ways.items() if asked(pid, address, 8080, kind)} == {*ways} - {"loopback"}
            assert bool(asked(lan.other, MACHINE, 8080, kind)) == (form == "8080:80")
    finally:
        docker("rm", "--force", "web", "near")
        docker.says("network", "rm", "six")


@labkit_only
def test_the_loopback_of_ipv6_is_refused_with_what_to_take_instead(lan: Lan) -> None:
    refused = lan.daemon.docker("run", "--rm", "--name", "web", "-p", "[::1]:8080:80", "busybox", "true")
    assert refused.code == 125
    assert "[::1]" in refused.err and "127.0.0.1" in refused.err
    lan.daemon.docker("rm", "web")
