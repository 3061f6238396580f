"""Other firewalls on the same machine: a packet passes only if every one of them lets it.

    nft table inet labkit   accept  ─┐
    iptables FORWARD, policy DROP   ─┴─▶ dropped: ufw and dockerd set that policy

No table can overrule another. So where iptables' FORWARD chain drops what nobody accepts, two rules of ours go on top of it, one for
each direction of a bridge, marked with the comment ``labkit``; no rule of anybody's is changed. What may pass from network to network is
still decided in our own table. A machine that has never used iptables gets no such rule, and no module of it is loaded.

Source: ``man 8 iptables``; docs.docker.com, "Packet filtering and firewalls". Shown in notebook 07.
"""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterator
from contextlib import suppress

from labkit.errors import LabError
from labkit.linux import nftables

_log = logging.getLogger(__name__)
_COMMENT = ("-m", "comment", "--comment", "labkit")


def let_through(bridge: str) -> None:
    """See that no iptables drops what is forwarded from or to a bridge. What cannot be done is logged."""
    for program in _droppers():
        for direction in ("-i", "-o"):
            rule = ("FORWARD", direction, bridge, *_COMMENT, "-j", "ACCEPT")
            if _run(program, "-C", *rule) is None and _run(program, "-I", *rule) is None:
                _log.warning("%s drops what is forwarded, and does not take a rule for %s", program, bridge)


def forget(bridge: str) -> None:
    """Take our rules away again."""
    for program in _in_use():
        for direction in ("-i", "-o"):
            rule = ("FORWARD", direction, bridge, *_COMMENT, "-j", "ACCEPT")
            while _run(program, "-D", *rule) is not None:
                pass


def _droppers() -> Iterator[str]:
    """Those whose FORWARD chain drops what no rule accepts."""
    for program in _in_use():
        said = _run(program, "-S", "FORWARD") or ""
        if said.startswith("-P FORWARD DROP") or "-j DOCKER-USER" in said:
            yield program


def _in_use() -> Iterator[str]:
    """The two iptables, where they have a FORWARD chain; to ask the program would load its module."""
    with suppress(OSError), open("/proc/thread-self/net/ip_tables_names") as file:
        if "filter" in file.read().split():
            yield "iptables-legacy"
    with suppress(LabError):
        nftables.listed("chain", "ip", "filter", "FORWARD")
        yield "iptables-nft"


def _run(program: str, *words: str) -> str | None:
    try:
        done = subprocess.run([program, "-w", "5", *words], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
