"""A root file system for the lessons, made of one program: Debian's statically linked busybox.

    >>> root = busybox_root()                                   # /var/lib/labkit/lessons/busybox
    >>> os.readlink(root + "/bin/ls")
    'busybox'

BusyBox is some 270 commands in one file that looks at the name it was called by (``man 1 busybox``), and being static
it needs no library. So a binary, links to it and a few empty directories are a whole user land: 2 MB, no download.
Notebooks 03 and 04 stand on it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile

from labkit.errors import Unsupported

ROOT = "/var/lib/labkit/lessons/busybox"
BUSYBOX = "/bin/busybox"

_DIRECTORIES = ("dev", "etc", "home", "proc", "root", "run", "sys", "tmp", "var")
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/hostname": "box\n",
    "etc/motd": "Welcome to busybox: one program, many names.\n",
    "root/.profile": "export PS1='box:\\w# '\n",
}


def busybox_root(target: str = ROOT, busybox: str = BUSYBOX) -> str:
    """Build the tree at ``target`` unless it stands there already; returns ``target``.

    Raises ``Unsupported`` where ``busybox`` is missing or dynamically linked (``apt-get install busybox-static``).
    """
    _require_static(busybox)
    program = f"{target}/bin/busybox"
    # Built beside its place and renamed into it: whoever finds the tree finds it whole.
    if os.path.exists(program) and os.path.getsize(program) == os.path.getsize(busybox):
        return target
    os.makedirs(os.path.dirname(target), exist_ok=True)
    new = tempfile.mkdtemp(prefix=".busybox-", dir=os.path.dirname(target))
    try:
        _build(new, busybox)
        shutil.rmtree(target, ignore_errors=True)
        os.rename(new, target)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return target


def _build(root: str, busybox: str) -> None:
    os.chmod(root, 0o755)
    for name in _DIRECTORIES:
        os.makedirs(f"{root}/{name}")
    os.chmod(f"{root}/tmp", 0o1777)
    for name, text in _FILES.items():
        with open(f"{root}/{name}", "w") as file:
            file.write(text)
    os.makedirs(f"{root}/bin")
    shutil.copy2(busybox, f"{root}/bin/busybox")
    listed = subprocess.run([busybox, "--list-full"], capture_output=True, text=True, check=True).stdout
    for applet in listed.split():
        link = f"{root}/{applet}"
        os.makedirs(os.path.dirname(link), exist_ok=True)
        if not os.path.lexists(link):
            os.symlink(os.path.relpath(f"{root}/bin/busybox", os.path.dirname(link)), link)


def _require_static(busybox: str) -> None:
    """A dynamically linked program names its loader in an ELF header of type PT_INTERP; a static one has none."""
    try:
        with open(busybox, "rb") as file:
            head = file.read(4096)
    except FileNotFoundError:
        raise Unsupported(f"{busybox} is missing: apt-get install busybox-static") from None
    if head[:5] != b"\x7fELF\x02":
        raise Unsupported(f"{busybox} is no 64-bit ELF program: apt-get install busybox-static")
    offset, size, count = int.from_bytes(head[32:40], "little"), *(int.from_bytes(head[n : n + 2], "little") for n in (54, 56))
    types = (int.from_bytes(head[at : at + 4], "little") for at in range(offset, offset + size * count, size))
    if 3 in types:
        raise Unsupported(f"{busybox} is dynamically linked and needs libraries that a small root lacks: apt-get install busybox-static")
