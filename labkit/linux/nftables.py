"""nftables: tables of rules about packets, handed to the kernel in one transaction by ``nft -j -f -``.

    >>> from labkit.linux import nftables
    >>> nftables.run([{"add": {"table": {"family": "inet", "name": "labkit"}}}])
    >>> nftables.listed("chain", "inet", "labkit", "published")
    [{'chain': {…}}, {'rule': {'handle': 7, 'comment': 'web', 'expr': […]}}]

A transaction happens as a whole or not at all. The words are nftables' own JSON: ``man 5 libnftables-json``, ``man 8 nft``.
Shown in notebook 07-networks-and-ports.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from labkit.errors import LabError, NotFound, Unsupported

Command = Mapping[str, object]


def run(commands: Sequence[Command]) -> None:
    """Carry out all commands, or none. ``NotFound`` if one of them names what is not there, ``LabError`` with nft's own words."""
    _nft(["-f", "-"], json.dumps({"nftables": list(commands)}))


def listed(*what: str) -> list[dict[str, object]]:
    """What ``nft list …`` says, with the handles by which rules are deleted; ``NotFound``."""
    found = json.loads(_nft(["-a", "list", *what]))["nftables"]
    return [each for each in found if "metainfo" not in each]


def _nft(words: Sequence[str], given: str = "") -> str:
    try:
        done = subprocess.run(["nft", "-j", *words], input=given, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        raise Unsupported(
            "nft: there is no such program here, and networks of containers need it"
            " (`apt install nftables`; a container with --network none or host does without)"
        ) from None
    except subprocess.TimeoutExpired:
        raise LabError(f"nft {' '.join(words)}: no answer in 60 seconds") from None
    if done.returncode == 0:
        return done.stdout
    said = done.stderr.strip() or f"exit code {done.returncode}"
    if "No such file or directory" in said:
        raise NotFound(f"nft {' '.join(words)}: {said}")
    if "Operation not supported" in said or "Protocol not supported" in said:
        raise Unsupported(f"nft {' '.join(words)}: {said} (the kernel was built without a part of nftables)")
    raise LabError(f"nft {' '.join(words)}: {said}")


def available() -> bool:
    """Whether the program is there."""
    return shutil.which("nft") is not None
