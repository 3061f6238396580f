"""What there is for one daemon's containers in the kernel and on the disk, each as a line for people: cables, rules, ports, leases."""

from __future__ import annotations

import json
import os
import subprocess

from tests.daemons import Daemon
from tests.packets import until


def inside(daemon: Daemon, script: str) -> str:
    """What a script says in the daemon's network."""
    done = subprocess.run(daemon.inside("sh", "-ec", script), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, (script, done)
    return done.stdout.strip()


def left(daemon: Daemon) -> list[str]:
    """All that is there for containers, and not for the networks that they are in."""
    found = [f"cable {each['ifname']}" for each in _links(daemon) if each["ifname"].startswith("lk") and "master" in each]
    rules = inside(daemon, "nft list ruleset").splitlines()
    found += [f"rule {line.strip()}" for line in rules if "dnat" in line and " to " in line]
    found += [f"port {line.split()[0]} {line.split()[4]}" for line in inside(daemon, "ss -Hltun").splitlines()]
    for directory, _, files in os.walk(daemon.place / "data/networks"):
        if directory.endswith("/leases"):
            found += [f"lease of {name}" for name in files]
    namespaces = inside(daemon, "ip netns list-id").splitlines()
    return sorted(found + [f"network namespace {line}" for line in namespaces if line])


def _links(daemon: Daemon) -> list[dict[str, str]]:
    return list(json.loads(inside(daemon, "ip -json link show type veth") or "[]"))


def bridges(daemon: Daemon) -> list[str]:
    return [each["ifname"] for each in json.loads(inside(daemon, "ip -json link show type bridge") or "[]") if each]


def ends_as(daemon: Daemon, before: list[str]) -> bool:
    """Whether all is as it was before; the kernel takes a moment to end a network namespace."""
    return until(lambda: left(daemon) == before)
