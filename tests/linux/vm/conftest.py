"""What the tests of virtual machines share: the lab's kernel under a root of their own, and a small tree to boot."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit.lessons.rootfs import busybox_root
from labkit.vm import kernel, machine
from labkit.vm.machine import Machine

Boot = Callable[..., Machine]


@pytest.fixture(scope="session")
def vm_root(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Whether KVM works is asked once in a run of the tests, and what is found out is nobody else's."""
    place = tmp_path_factory.mktemp("vm")
    os.symlink(f"{kernel.ROOT}/kernel", place / "kernel")
    machine.accelerated(str(place))
    return str(place)


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a machine: busybox, and a page for its web server."""
    place = tmp_path_factory.mktemp("tree") / "root"
    busybox_root(str(place))
    (place / "www").mkdir()
    (place / "www/index.html").write_text("a page\n")
    return place
