"""Device rules, decided by the kernel: in the version that this machine has, and by BPF programs wherever v2 is mounted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from errno import EINVAL, EPERM
from pathlib import Path
from typing import Any

import pytest

from labkit.errors import KernelError, Unsupported
from labkit.linux import cgroups
from labkit.linux.cgroups import Cgroup, Controller, Layout
from labkit.linux.cgroups.devices import ALWAYS, Rule, attach, program

InChild = Callable[[Callable[[], Any]], Any]

LAYOUT = cgroups.detect()
CORE = Layout({name: Controller(name, 2, LAYOUT.unified or "") for name in ("cpuacct", "freezer", "devices")}, LAYOUT.unified)
DENY = Rule(allow=False)


@pytest.fixture(params=[pytest.param(LAYOUT, id=LAYOUT.mode), *([pytest.param(CORE, id="v2 program")] if LAYOUT.unified else [])])
def group(request: pytest.FixtureRequest) -> Iterator[Cgroup]:
    with cgroups.create(f"labkit/test-devices-{os.getpid()}", layout=request.param) as group:
        yield group


@pytest.fixture
def may(in_child: InChild) -> Callable[..., bool]:
    """Whether a process of a group may open a file so."""

    def may(group: Cgroup, path: str, flags: int = os.O_RDONLY) -> bool:
        def attempt() -> bool:
            group.add()
            try:
                os.close(os.open(path, flags))
            except OSError as error:
                assert error.errno == EPERM, error
                return False
            return True

        return bool(in_child(attempt))

    return may


def test_a_group_may_use_the_devices_that_are_allowed_and_no_others(group: Cgroup, may: Callable[..., bool]) -> None:
    assert may(group, "/dev/kmsg")
    group.restrict_devices([DENY, *ALWAYS])
    assert may(group, "/dev/null", os.O_RDWR)
    assert may(group, "/dev/urandom")
    assert may(group, "/dev/ptmx", os.O_RDWR)
    assert not may(group, "/dev/kmsg")
    group.restrict_devices([DENY, Rule(True, "c", 1, 11)])
    assert may(group, "/dev/kmsg")
    assert not may(group, "/dev/null")
    group.restrict_devices([])
    assert not may(group, "/dev/kmsg")


def test_reading_writing_and_making_are_told_apart(group: Cgroup, may: Callable[..., bool], in_child: InChild, tmp_path: Path) -> None:
    group.restrict_devices([DENY, Rule(True, "c", 1, 3, "r"), Rule(True, "b", access="m")])
    assert may(group, "/dev/null", os.O_RDONLY)
    assert not may(group, "/dev/null", os.O_WRONLY)
    assert not may(group, "/dev/null", os.O_RDWR)

    def make(kind: int) -> int:
        group.add()
        try:
            os.mknod(tmp_path / "node", kind | 0o600, os.makedev(7, 0))
        except OSError as error:
            return error.errno or -1
        return 0

    assert in_child(lambda: make(0o020000)) == EPERM
    assert in_child(lambda: make(0o060000)) == 0


def test_everything_but_one_device(group: Cgroup, may: Callable[..., bool]) -> None:
    group.restrict_devices([Rule(allow=True), Rule(False, "c", 1, 11)])
    assert may(group, "/dev/zero", os.O_RDWR)
    assert not may(group, "/dev/kmsg")


def test_the_last_rule_that_matches_decides(group: Cgroup, may: Callable[..., bool]) -> None:
    rules: Sequence[Rule] = [Rule(True, "c", 1, 5), Rule(False, "c", 1, 5, "w")]
    group.restrict_devices([DENY, *rules])
    assert may(group, "/dev/zero") and not may(group, "/dev/zero", os.O_WRONLY)
    group.restrict_devices([DENY, *reversed(rules)])
    assert may(group, "/dev/zero") and may(group, "/dev/zero", os.O_WRONLY)


def test_a_group_below_has_no_more_than_the_one_above_it(group: Cgroup, may: Callable[..., bool]) -> None:
    group.restrict_devices([DENY, *ALWAYS])
    below = cgroups.create(f"{group.path}/below", layout=group.layout)
    if group.layout.controllers["devices"].version == 1:
        with pytest.raises(KernelError, match="the group above may not use that device itself"):
            below.restrict_devices([DENY, Rule(True, "c", 1, 11)])
    else:
        below.restrict_devices([DENY, Rule(True, "c", 1, 11)])
    assert not may(below, "/dev/kmsg")


def test_a_process_that_holds_a_device_keeps_it(group: Cgroup, in_child: InChild) -> None:
    def read_later() -> bytes:
        group.add()
        with open("/dev/zero", "rb", buffering=0) as zero:
            group.restrict_devices([DENY])
            return zero.read(1)

    assert in_child(read_later) == b"\0"


def test_a_program_cannot_be_attached_where_there_is_no_group() -> None:
    with pytest.raises(KernelError, match="/nowhere"):
        attach("/nowhere", program([DENY]))


def test_what_the_kernel_does_not_accept_as_a_program_is_refused(group: Cgroup) -> None:
    if group.layout is CORE:
        with pytest.raises(KernelError, match=f"attach device program to {group.directories[-1]}"):
            attach(group.directories[-1], b"\xff" * 8)


def test_a_kernel_without_such_programs_says_so(group: Cgroup, monkeypatch: pytest.MonkeyPatch) -> None:
    def bpf(command: int, attributes: object) -> int:
        raise KernelError(EINVAL, "bpf")

    monkeypatch.setattr("labkit.linux.syscalls.bpf", bpf)
    with pytest.raises(Unsupported, match="CONFIG_CGROUP_BPF"):
        attach(group.directories[-1], program([DENY]))


def test_descriptors_are_closed(group: Cgroup) -> None:
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        group.restrict_devices([DENY, *ALWAYS])
    assert os.listdir("/proc/self/fd") == before
