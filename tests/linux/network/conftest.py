"""A machine made of network namespaces: it has an uplink to another machine, and containers on a bridge."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from labkit.errors import LabError
from labkit.linux import addresses, links, namespaces, nftables, sysctls
from labkit.linux.box import Box
from labkit.network.fabric import Fabric
from labkit.network.steps.address import Address, Route
from labkit.network.steps.step import Somebody
from labkit.network.steps.veth import VethPair
from labkit.network.subnet import Subnet, mac, with_prefix

BLUE = Subnet("lk-blue", "172.18.0.0/16", "172.18.0.1", subnet6="fd00:18::/64", gateway6="fd00:18::1")
RED = Subnet("lk-red", "172.19.0.0/16", "172.19.0.1")
INNER = Subnet("lk-inner", "172.20.0.0/16", "172.20.0.1", internal=True)
MACHINE, OTHER = "192.0.2.2", "192.0.2.1"

# Says who asked, by TCP or UDP, on both families; the word "ready" comes when it listens.
_SERVER = """
import socket, sys, threading
def tcp(family, address, port):
    made = socket.socket(family); made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6: made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.bind((address, port)); made.listen(64)
    while True:
        line, who = made.accept()
        line.sendall(who[0].encode()); line.close()
def udp(port):
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); made.bind(("0.0.0.0", port)); ready.release()
    while True:
        _, who = made.recvfrom(100); made.sendto(who[0].encode(), who)
ready = threading.Semaphore(0)
port = int(sys.argv[1])
class Told(socket.socket):
    def listen(self, n): super().listen(n); ready.release()
socket.socket = Told
for run in ((tcp, socket.AF_INET, "0.0.0.0", port), (tcp, socket.AF_INET6, "::", port), (udp, port)):
    threading.Thread(target=run[0], args=run[1:], daemon=True).start()
for _ in range(3): ready.acquire()
print("ready", flush=True)
sys.stdin.read()
"""
_CLIENT = """
import socket, sys
kind, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
made.settimeout(1.5)
made.connect((address, port))
if kind == "udp": made.send(b"who?")
print(made.recv(100).decode())
"""


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
        with namespaces.entered(box.pid, "net"):
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            server = subprocess.Popen([sys.executable, "-c", _SERVER, str(port)], text=True, **pipes)  # type: ignore[call-overload]
        self.servers.append(server)
        assert server.stdout.readline() == "ready\n"

    def ask(self, box: Box, address: str, port: int, kind: str = "tcp") -> str:
        """What a server there says to somebody here; "" if nothing comes."""
        with namespaces.entered(box.pid, "net"):
            done = subprocess.run([sys.executable, "-c", _CLIENT, kind, address, str(port)], capture_output=True, text=True, timeout=20)
        return done.stdout.strip()


@pytest.fixture
def machine() -> Iterator[Machine]:
    if not nftables.available():
        pytest.skip("nft is not installed")
    with ExitStack() as stack:
        box, other = (stack.enter_context(namespaces.new("net")) for _ in range(2))
        with namespaces.entered(other.pid, "net"):
            links.set_up("lo")
            sysctls.write("net.ipv6.conf.default.accept_dad", "0")
        with namespaces.entered(box.pid, "net"):
            links.set_up("lo")
            sysctls.write("net.ipv6.conf.default.accept_dad", "0")
            links.add_veth("eth0", "eth0", other.pid)
            addresses.add("eth0", f"{MACHINE}/24")
            addresses.add("eth0", "fd00:2::2/64")
            addresses.route("default", OTHER)
        with namespaces.entered(other.pid, "net"):
            links.set_up("eth0")
            addresses.add("eth0", f"{OTHER}/24")
            addresses.add("eth0", "fd00:2::1/64")
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
