"""What a program that asks for many containers has open afterwards."""

from __future__ import annotations

import os
from collections.abc import Callable

from labkit import runtime
from labkit.runtime import container


def test_a_container_that_is_run_deleted_or_forgotten_leaves_no_descriptor_open(bundle: Callable[..., str], root: str) -> None:
    where = bundle({}, "true")
    runtime.run(where, root=root)  # starts the spawner, whose line stays open
    before = len(os.listdir("/proc/self/fd"))
    runtime.run(where, root=root, stdin="read me")
    with runtime.create(bundle({}, "sleep", "infinity"), root=root) as box:
        box.start()
        assert box.exec("cat", stdin="read me").stdout == "read me"
    forgotten = runtime.create(where, root=root)
    container.delete(root, forgotten.id, force=True)
    del forgotten
    plan = runtime.plan(where, root=root)
    plan.step()
    plan.abandon()
    assert len(os.listdir("/proc/self/fd")) == before
