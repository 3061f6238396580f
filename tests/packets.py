"""Packets between network namespaces, for tests: a server that says who asks, and the asking.

    with served(pid, 80):
        asked(other, "172.18.0.2", 80, "udp")      '172.18.0.3', the address that the server saw; "" if nothing came back

A namespace is named by a process in it. Both are programs of Python's on the machine's own files: a container needs nothing for them.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from labkit.linux import addresses, links, namespaces, sysctls
from labkit.linux.box import Box
from tests.patience import PATIENCE

MACHINE, OTHER = "192.0.2.2", "192.0.2.1"
MACHINE6, OTHER6 = "fd00:2::2", "fd00:2::1"
SECONDS = 20.0 * PATIENCE

# By TCP and UDP, on both families; the word "ready" comes when it listens everywhere.
_SERVER = """
import socket, sys, threading
def made(family, kind, address, port):
    each = socket.socket(family, kind); each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6: each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    each.bind((address, port)); return each
def tcp(each):
    each.listen(64)
    def run():
        while True:
            line, who = each.accept()
            with line: line.sendall(who[0].encode())
    return run
def udp(each):
    def run():
        while True:
            _, who = each.recvfrom(100); each.sendto(who[0].encode(), who)
    return run
for port in map(int, sys.argv[1:]):
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        for kind, serve in ((socket.SOCK_STREAM, tcp), (socket.SOCK_DGRAM, udp)):
            threading.Thread(target=serve(made(family, kind, address, port)), daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""
_CLIENT = """
import socket, sys
kind, address, port, mine = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
made.settimeout(1.5)
if mine: made.bind(("", mine))
made.connect((address, port))
if kind == "udp": made.send(b"who?")
print(made.recv(100).decode())
"""


def server(pid: int, *ports: int) -> subprocess.Popen[str]:
    """A server in the network namespace of a process, listening; ``communicate`` ends it."""
    with namespaces.entered(pid, "net"):
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, *map(str, ports)], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


@contextlib.contextmanager
def served(pid: int, *ports: int) -> Iterator[None]:
    """The same for a while."""
    process = server(pid, *ports)
    try:
        yield
    finally:
        process.communicate()


def asked(pid: int, address: str, port: int, kind: str = "tcp", mine: int = 0) -> str:
    """What a server says to somebody in the network namespace of a process, who may ask from a port of its choice."""
    with namespaces.entered(pid, "net"):
        command = [sys.executable, "-c", _CLIENT, kind, address, str(port), str(mine)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    return done.stdout.strip()


@contextlib.contextmanager
def neighbour(pid: int) -> Iterator[Box]:
    """Another machine: a network namespace that a cable joins with that of a process, which it makes MACHINE; it is OTHER itself."""
    with namespaces.new("net") as other:
        with namespaces.entered(other.pid, "net"):
            links.set_up("lo")
            sysctls.write("net.ipv6.conf.default.accept_dad", "0")
        with namespaces.entered(pid, "net"):
            sysctls.write("net.ipv6.conf.default.accept_dad", "0")
            links.add_veth("eth0", "eth0", other.pid)
            addresses.add("eth0", f"{MACHINE}/24")
            addresses.add("eth0", f"{MACHINE6}/64")
            addresses.route("default", OTHER)
        with namespaces.entered(other.pid, "net"):
            links.set_up("eth0")
            addresses.add("eth0", f"{OTHER}/24")
            addresses.add("eth0", f"{OTHER6}/64")
        yield other


def until(condition: Callable[[], object], seconds: float = SECONDS) -> bool:
    """Whether something comes true; asked again until it does, since nobody tells."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
    return False
