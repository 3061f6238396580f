"""KVM or not: found out by trying, once, and again when what it depends on has changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.errors import LabError
from labkit.vm import acceleration


class Probe:
    def __init__(self, failure: str = "") -> None:
        self.failure, self.count = failure, 0

    def __call__(self) -> None:
        self.count += 1
        if self.failure:
            raise LabError(self.failure)


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "kvm"
    made.touch()
    monkeypatch.setattr(acceleration, "DEVICE", str(made))
    return made


def test_a_kernel_that_boots_is_an_answer_for_good(tmp_path: Path, device: Path) -> None:
    probe = Probe()
    for _ in range(2):
        assert acceleration.find(str(tmp_path), "/bin/sh", "6.1", probe).kvm
    assert probe.count == 1


def test_another_guest_kernel_is_another_question(tmp_path: Path, device: Path) -> None:
    probe = Probe()
    acceleration.find(str(tmp_path), "/bin/sh", "6.1", probe)
    acceleration.find(str(tmp_path), "/bin/sh", "6.12", probe)
    assert probe.count == 2


def test_the_reason_is_kept_where_it_fails(tmp_path: Path, device: Path) -> None:
    acceleration.find(str(tmp_path), "/bin/sh", "6.1", Probe("it ended; the last that it said:\n    qemu: error: failed to set MSR 0x10a"))
    known = acceleration.recall(str(tmp_path))
    assert known is not None
    assert not known.kvm
    assert known.reason.endswith("cannot boot a stock kernel: failed to set MSR 0x10a")


def test_a_kernel_that_hangs_is_told_as_that(tmp_path: Path, device: Path) -> None:
    answer = acceleration.find(
        str(tmp_path), "/bin/sh", "6.1", Probe("the virtual machine is not up after 10 s; the last that it said:\n    x")
    )
    assert answer.reason.endswith("the virtual machine is not up after 10 s")


def test_without_the_device_nothing_is_tried(tmp_path: Path, device: Path) -> None:
    device.unlink()
    probe = Probe()
    assert not acceleration.find(str(tmp_path), "/bin/sh", "6.1", probe).kvm
    assert probe.count == 0


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kvm": "yes"}'])
def test_an_answer_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "acceleration.json").write_text(text)
    assert acceleration.recall(str(tmp_path)) is None
