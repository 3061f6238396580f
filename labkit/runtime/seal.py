"""Keeps labkit's own program file out of reach of the containers that it starts (CVE-2019-5736).

A container's first process is labkit until it executes the container's program, and an image can make it execute itself:
``/bin/sh`` there may be a link to ``/proc/self/exe``. Then a process in the container holds the interpreter's file of the host,
and may open it for writing. So whoever starts containers first executes itself anew through a mount that is read-only and in no
mount table, where nobody can find it to make it writable again:

    /usr/bin/python3 ── open_tree(CLONE) ──▶ detached mount ── mount_setattr(RDONLY) ──▶ execveat ──▶ /proc/self/exe: read-only

Source: ``man 2 execveat``; runc answers the same attack with a sealed copy of itself in memory.
"""

from __future__ import annotations

import os
import sys

from labkit.linux import syscalls


def is_sealed() -> bool:
    """Whether this process's program file lies on a mount that is read-only."""
    fd = os.open("/proc/self/exe", os.O_PATH)
    try:
        return bool(os.fstatvfs(fd).f_flag & os.ST_RDONLY)
    finally:
        os.close(fd)


def seal() -> None:
    """Execute this program anew through a read-only mount; returns at once in one that was. Needs root and Linux 5.12."""
    if is_sealed():
        return
    fd = syscalls.open_tree("/proc/self/exe", syscalls.OPEN_TREE_CLONE)
    syscalls.mount_setattr(fd, syscalls.MOUNT_ATTR_RDONLY)
    sys.stdout.flush()
    os.execve(fd, [sys.executable, *sys.orig_argv[1:]], os.environ)
