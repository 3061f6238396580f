"""What QEMU and the kernel are asked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labkit.errors import InvalidInput, NotFound, Unsupported
from labkit.vm import hardware


def test_there_are_two_sizes() -> None:
    assert hardware.size("micro").name == "micro"
    assert hardware.size("full").bus == "pci"
    with pytest.raises(InvalidInput, match="micro, full"):
        hardware.size("huge")


def test_emulation_imitates_a_processor_and_kvm_lends_its_own() -> None:
    assert "tcg,tb-size=32" in hardware.MICRO.machine(kvm=False)
    assert hardware.MICRO.machine(kvm=True)[-4:] == ("-accel", "kvm", "-cpu", "host")


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="only a PC has this counter")
def test_a_kernel_without_a_clock_to_measure_by_is_told_the_processors_rate() -> None:
    said = dict(word.partition("=")[::2] for word in hardware.MICRO.command_line(kvm=False, verbose=False).split())
    assert 100_000 < int(said["tsc_early_khz"]) < 10_000_000
    assert "tsc_early_khz" not in hardware.FULL.command_line(kvm=False, verbose=False)


def test_a_verbose_kernel_is_not_told_to_be_quiet() -> None:
    assert "quiet" not in hardware.FULL.command_line(kvm=True, verbose=True)


def test_a_missing_qemu_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unsupported, match="apt-get install qemu-system"):
        hardware.qemu()


def test_what_is_on_a_disk_is_told_by_its_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "a,b.qcow2").write_bytes(b"QFI\xfb....")
    (tmp_path / "raw").write_bytes(b"")
    assert f"file={tmp_path}/a,,b.qcow2,format=qcow2,snapshot=on" in hardware.FULL.disk(f"{tmp_path}/a,b.qcow2")[1]
    assert "format=raw" in hardware.MICRO.disk(f"{tmp_path}/raw")[1]
    with pytest.raises(NotFound, match="/nosuch"):
        hardware.FULL.disk("/nosuch")
