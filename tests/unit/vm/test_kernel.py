"""Modules and what they need, on a kernel of a few made-up files."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from labkit.errors import InvalidInput, NotFound
from labkit.vm import kernel


def module(*needs: str) -> bytes:
    return b"\x7fELF\0license=GPL\0depends=" + ",".join(needs).encode() + b"\0name=x\0"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "kernel"
    (made / "boot").mkdir(parents=True)
    (made / "boot/vmlinuz-6.1.0-9-cloud").touch()
    (made / "boot/vmlinuz-6.1.0-10-cloud").touch()
    modules = made / "lib/modules/6.1.0-10-cloud"
    (modules / "kernel/drivers").mkdir(parents=True)
    (modules / "kernel/drivers/ring.ko").write_bytes(module())
    (modules / "kernel/drivers/bus.ko.xz").write_bytes(lzma.compress(module("ring")))
    (modules / "kernel/drivers/virtio-rng.ko").write_bytes(module("bus", "ring"))
    (modules / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\n")
    return tmp_path


def names(paths: tuple[str, ...]) -> list[str]:
    return [Path(path).name for path in paths]


def test_the_newest_kernel_is_found_by_numbers_and_not_by_letters(root: Path) -> None:
    assert kernel.find(str(root)).release == "6.1.0-10-cloud"


def test_what_a_module_needs_comes_before_it_and_once(root: Path) -> None:
    assert names(kernel.find(str(root)).modules("virtio_rng", "bus")) == ["ring.ko", "bus.ko.xz", "virtio-rng.ko"]


def test_what_is_built_in_needs_no_file(root: Path) -> None:
    assert kernel.find(str(root)).modules("ext4") == ()


def test_a_module_that_is_nowhere_is_named(root: Path) -> None:
    with pytest.raises(NotFound, match="no module nosuch"):
        kernel.find(str(root)).modules("nosuch")


def test_without_a_kernel_the_remedy_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="make setup"):
        kernel.find(str(tmp_path))


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no kernel module"):
        list(kernel.depends(b"text"))
