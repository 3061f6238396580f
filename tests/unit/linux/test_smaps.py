"""Memory, shared out."""

from __future__ import annotations

import mmap
import os

from labkit.linux import smaps


def test_what_a_process_fills_it_has() -> None:
    before = smaps.pss(os.getpid())
    with mmap.mmap(-1, 32 << 20) as filled:
        filled.write(b"x" * len(filled))
        assert smaps.pss(os.getpid()) - before > 30 << 20


def test_a_process_that_has_ended_has_nothing() -> None:
    pid = os.spawnlp(os.P_NOWAIT, "true", "true")
    os.waitpid(pid, 0)
    assert smaps.pss(pid) == 0
