"""A machine made of network namespaces: it has an uplink to another machine, and containers on a bridge."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from labkit.errors import LabError
from labkit.linux import links, namespaces, nftables
from labkit.linux.box import Box
from labkit.network.fabric import Fabric
from labkit.network.steps.address import Address, Route
from labkit.network.steps.step import Somebody
from labkit.network.steps.veth import VethPair
from labkit.network.subnet import Subnet, mac, with_prefix
from tests import packets
from tests.daemons import busybox_archive, labkit_daemon

BLUE = Subnet("lk-blue", "172.18.0.0/16", "172.18.0.1", subnet6="fd00:18::/64", gateway6="fd00:18::1")
RED = Subnet("lk-red", "172.19.0.0/16", "172.19.0.1")
INNER = Subnet("lk-inner", "172.20.0.0/16", "172.20.0.1", internal=True)

@dataclass
class Machine:
    """The machine, the other one, and the containers by name."""

    box: Box
    other: Box
    fabric: Fabric
    containers: dict[str, Box]
    stack: ExitStack
    servers: list[subprocess.Popen[str]] = field(default_factory=list)

    def connect(self, name: str, network: Subnet, address: str, address6: str = "") -> Box:
        """A container in a network, with a server on port 80."""
        box = self.containers[name] = self.stack.enter_context(namespaces.new("net"))
        with namespaces.entered(self.box.pid, "net"):
            self.fabric.raise_up(network)
            VethPair(f"lk{name}", "eth0", network.bridge, mac(address), network.mtu).apply(Somebody(box.pid))
        with namespaces.entered(box.pid, "net"):
            links.set_up("lo")
            six = with_prefix(address6, network.subnet6) if address6 else ""
            Address("eth0", with_prefix(address, network.subnet), six).apply(Somebody())
            if not network.internal:
                Route(network.gateway).apply(Somebody())
                if address6:
                    Route(network.gateway6).apply(Somebody())
        self.serve(box, 80)
        return box

    def serve(self, box: Box, port: int) -> None:
        """A server there that says who asks."""
        self.servers.append(packets.server(box.pid, port))

    def ask(self, box: Box, address: str, port: int, kind: str = "tcp") -> str:
        """What a server there says to somebody here; "" if nothing comes."""
        return packets.asked(box.pid, address, port, kind)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a daemon has been that has an image, ``busybox``, whose archive is ``image/busybox.tar`` beside it."""
    place = tmp_path_factory.mktemp("home")
    with labkit_daemon(place / "daemon") as started:
        started.docker.says("load", "--input", str(busybox_archive(place / "image")))
    return place / "daemon"


@pytest.fixture
def machine() -> Iterator[Machine]:
    if not nftables.available():
        pytest.skip("nft is not installed")
    with ExitStack() as stack:
        box = stack.enter_context(namespaces.new("net"))
        with namespaces.entered(box.pid, "net"):
            links.set_up("lo")
        other = stack.enter_context(packets.neighbour(box.pid))
        made = Machine(box, other, Fabric("labkit"), {}, stack)
        try:
            yield made
        finally:
            for server in made.servers:
                server.communicate()


@pytest.fixture
def fails() -> Callable[[Box, str], bool]:
    """Whether a command in a box fails."""

    def do(box: Box, command: str) -> bool:
        try:
            box.run(command)
        except LabError:
            return True
        return False

    return do
