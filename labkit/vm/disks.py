"""Disks for virtual machines: a directory as an ext4 file system in a file.

    >>> from labkit.vm import disks
    >>> disks.disk("/tmp/rootfs", "nginx-4f2a")
    '/var/lib/labkit/vm/disks/nginx-4f2a.ext4'

Made once for each name, kept for the next time if it is one of the last four, and read by any number of machines, none of which changes it:
each writes to a file of its own. So a disk is shared, too, but whole: two images that have Debian in common have it twice.
Source: ``man 8 mke2fs``, option ``-d``. Notebook 08.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress

from labkit.errors import LabError, Unsupported
from labkit.vm.kernel import ROOT

_MIB = 1 << 20
_KEPT = 4
_SPARE = 256 * _MIB
"""Room for what a machine writes; in the file it takes none."""


def disk(directory: str, name: str, root: str = ROOT) -> str:
    """The disk of this name, made from ``directory`` if there is none yet."""
    made = f"{root}/disks/{name}.ext4"
    with suppress(FileNotFoundError):
        os.utime(made)  # so that it is not the next one to go
        return made
    os.makedirs(f"{root}/disks", exist_ok=True)
    new = f"{made}.{os.getpid()}"
    try:
        with open(new, "wb") as file:
            file.truncate(_room(directory))
        # -m 0: nothing is kept for root; ^has_journal: a machine that is thrown away need not find its way back after a power cut
        command = ["mke2fs", "-q", "-t", "ext4", "-m", "0", "-O", "^has_journal", "-d", directory, new]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, close_fds=False)
        if done.returncode != 0:
            raise LabError(f"mke2fs -d {directory} {new}: {done.stderr.strip()}")
        os.rename(new, made)
        _forget_old(f"{root}/disks")
    except FileNotFoundError as error:
        if error.filename != "mke2fs":
            raise
        raise Unsupported("mke2fs is not installed: apt-get install e2fsprogs") from None
    finally:
        with suppress(FileNotFoundError):
            os.unlink(new)
    return made


def taken(path: str) -> int:
    """Bytes that a file takes on the disk; its holes take none."""
    return os.stat(path).st_blocks * 512


def _forget_old(directory: str) -> None:
    """Delete those that were not used for longest. A machine that runs from one has it open, and goes on."""
    found = [entry for entry in os.scandir(directory) if entry.name.endswith(".ext4")]
    for entry in sorted(found, key=lambda entry: entry.stat().st_mtime)[:-_KEPT]:
        with suppress(FileNotFoundError):
            os.unlink(entry.path)


def _room(directory: str) -> int:
    """How large the file system must be: its files in whole blocks, a tenth more for its own tables, and what is to spare."""
    total = 0
    for place, _, files in os.walk(directory):
        total += 4096 + sum(-(-os.lstat(f"{place}/{name}").st_size // 4096) * 4096 for name in files)
    return (total * 11 // 10 + _SPARE) // _MIB * _MIB
