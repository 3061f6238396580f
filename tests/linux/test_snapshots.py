"""Snapshots as the kernel's overlayfs sees them: what is written through a mount, and who is told to wait."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.errors import Conflict, KernelError, Unsupported
from labkit.linux import mounts, namespaces
from labkit.storage.snapshots import Snapshots

IMAGE = """
mkdir -p etc dir/sub again other
touch dir/sub/a again/1 again/2 other/x
echo one > etc/hosts
echo two > etc/motd
echo text > file
ln -s /etc link
mknod null c 1 3
"""


@pytest.fixture
def layers(tmp_path: Path) -> Iterator[Snapshots]:
    """Snapshots on a tmpfs, with an image to start from."""
    root = tmp_path / "comma,colon:root"
    root.mkdir()
    with mounts.mounted("tmpfs", str(root), "tmpfs", ["size=16m"]):
        layers = Snapshots(str(root / "layers"))
        layers.prepare("work")
        write(layers, "work", IMAGE)
        layers.commit("work", "image")
        layers.prepare("c1", "image")
        yield layers


def write(layers: Snapshots, name: str, script: str) -> None:
    """Run a shell script in the mounted snapshot."""
    target = os.path.join(os.path.dirname(layers.root), "target")
    os.makedirs(target, exist_ok=True)
    with layers.mounted(name, target):
        subprocess.run(["sh", "-e", "-c", script], cwd=target, check=True)


def changes(layers: Snapshots, name: str = "c1") -> list[str]:
    return [f"{change.kind} {change.path}" for change in layers.changes(name)]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("true", []),
        ("cat etc/hosts", []),
        ("touch etc/new", ["added /etc/new"]),
        ("echo more >> etc/hosts", ["changed /etc/hosts"]),
        ("chmod 600 file", ["changed /file"]),
        ("chown 12:34 etc", ["changed /etc"]),
        ("rm etc/motd", ["deleted /etc/motd"]),
        ("rm -r dir", ["deleted /dir"]),
        ("rm -r again; mkdir again; touch again/2 again/3", ["deleted /again/1", "changed /again/2", "added /again/3"]),
        ("rm file; mkdir file; touch file/x", ["changed /file", "added /file/x"]),
        ("rm -r dir; echo > dir", ["changed /dir"]),
        ("rm link; mkdir link; touch link/hosts", ["changed /link", "added /link/hosts"]),
        ("touch tmp; rm tmp", []),
        ("rm file; echo again > file", ["changed /file"]),
        ("mv file moved", ["deleted /file", "added /moved"]),
        ("mv dir moved", ["deleted /dir", "added /moved", "added /moved/sub", "added /moved/sub/a"]),
        ("rm null; mknod null c 1 5; mkfifo fifo", ["added /fifo", "changed /null"]),
        ("ln file hard", ["changed /file", "added /hard"]),
    ],
)
def test_changes_are_those_made_through_the_mount(layers: Snapshots, script: str, expected: list[str]) -> None:
    write(layers, "c1", script)
    assert changes(layers) == expected
    layers.commit("c1", "committed")
    assert changes(layers, "committed") == expected


def test_a_change_of_mode_alone_that_is_copied_up_without_data_is_a_change(layers: Snapshots, tmp_path: Path) -> None:
    overlay = layers.overlay("c1")
    assert overlay.upper and overlay.work
    target = tmp_path / "target"
    target.mkdir()
    mounts.overlay(overlay.lower, overlay.upper, overlay.work, str(target), ["metacopy=on"])
    os.chmod(target / "file", 0o600)
    mounts.unmount(str(target))
    assert os.getxattr(f"{overlay.upper}/file", "trusted.overlay.metacopy") is not None
    assert changes(layers) == ["changed /file"]


def test_the_providers_are_the_paths_of_the_mounted_union(layers: Snapshots, tmp_path: Path) -> None:
    write(layers, "c1", "echo more >> etc/hosts; rm -r again dir; mkdir again; touch again/2; rm file; ln -s x file")
    target = tmp_path / "target"
    target.mkdir()
    with layers.mounted("c1", str(target)):
        found = {f"/{path.relative_to(target)}" for path in target.rglob("*")}
    providers = layers.providers("c1")
    assert set(providers) == found
    assert {path for path, name in providers.items() if name == "c1"} == {"/etc", "/etc/hosts", "/again", "/again/2", "/file"}


def test_two_children_share_a_parent_and_not_their_changes(layers: Snapshots) -> None:
    layers.prepare("c2", "image")
    write(layers, "c1", "echo one > mine")
    write(layers, "c2", "test ! -e mine; rm file")
    write(layers, "c1", "test -e file")
    assert (changes(layers, "c1"), changes(layers, "c2")) == (["added /mine"], ["deleted /file"])


def test_a_committed_snapshot_cannot_be_written_to(layers: Snapshots, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    with layers.mounted("image", str(target)) as where:
        assert where == str(target) and (target / "file").read_text() == "text\n"
        with pytest.raises(OSError, match="Read-only"):
            (target / "new").touch()
    assert mounts.at(str(target)) is None


def test_what_is_mounted_can_neither_be_committed_nor_removed(layers: Snapshots, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    with layers.mounted("c1", str(target)):
        for attempt in lambda: layers.commit("c1", "new"), lambda: layers.remove("c1"):
            with pytest.raises(Conflict, match=f"snapshot c1: is mounted on {target} .*unmount it first"):
                attempt()
    layers.remove("c1")
    with layers.mounted("image", str(target)), pytest.raises(Conflict, match="snapshot image: is mounted"):
        layers.remove("image")
    layers.remove("image")


def test_what_is_mounted_in_another_namespace_is_in_use_too(layers: Snapshots, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    with namespaces.new("mnt") as box:
        with namespaces.entered(box.pid, "mnt"):
            layers.overlay("c1").mount(str(target))
        assert mounts.at(str(target)) is None
        with pytest.raises(Conflict, match=f"for process {box.pid}"):
            layers.remove("c1")
    layers.remove("c1")


def test_mounted_unmounts_even_after_an_error(layers: Snapshots, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(ZeroDivisionError), layers.mounted("c1", str(target)):
        raise ZeroDivisionError
    assert mounts.at(str(target)) is None


def test_a_root_on_overlayfs_is_unsupported(layers: Snapshots, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    with layers.mounted("c1", str(target)), pytest.raises(Unsupported, match="this is on overlayfs"):
        Snapshots(str(target / "layers"))


def test_a_full_disk_is_reported_and_leaves_no_half_snapshot(tmp_path: Path) -> None:
    with mounts.mounted("tmpfs", str(tmp_path), "tmpfs", ["nr_inodes=10"]):
        layers = Snapshots(str(tmp_path / "layers"))
        with pytest.raises(KernelError, match="ENOSPC"):
            for number in range(10):
                layers.prepare(f"c{number}")
        assert all(os.path.isdir(each.upper) and os.path.isdir(f"{each.upper}/../work") for each in layers.list())


def test_one_that_is_killed_while_it_holds_the_lock_locks_nobody_out(layers: Snapshots) -> None:
    pid = os.fork()
    if pid == 0:
        with layers._locked():
            os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    assert layers.prepare("c9").name == "c9"
