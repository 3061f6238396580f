from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labkit.errors import InvalidInput, KernelError
from labkit.linux import devices, mounts, syscalls
from labkit.linux.devices import DEFAULT, Device

InChild = Callable[[Callable[[], Any]], Any]


def facts(path: Path) -> tuple[str, int, int, int, int, int]:
    """Type, numbers, mode and owner of a node."""
    found = path.lstat()
    kind = {stat.S_IFCHR: "c", stat.S_IFBLK: "b", stat.S_IFIFO: "p"}[stat.S_IFMT(found.st_mode)]
    return kind, os.major(found.st_rdev), os.minor(found.st_rdev), stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid


def test_the_default_devices_are_the_hosts_own(tmp_path: Path) -> None:
    for device in DEFAULT:
        devices.make(str(tmp_path), device)
        kind, major, minor, mode, *owner = facts(tmp_path / device.path[1:])
        assert (kind, major, minor) == facts(Path(device.path))[:3]
        assert (mode, *owner) == (0o666, 0, 0)
    assert {device.path for device in DEFAULT} == {f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty")}


def test_mode_and_owner_are_as_asked_for_whatever_the_umask(tmp_path: Path, in_child: InChild) -> None:
    def make() -> None:
        os.umask(0o077)
        devices.make(str(tmp_path), Device("/dev/a/disk", "b", 8, 1, 0o640, 5, 6))
        devices.make(str(tmp_path), Device("/dev/plain", "u", 1, 3))

    in_child(make)
    assert facts(tmp_path / "dev/a/disk") == ("b", 8, 1, 0o640, 5, 6)
    assert facts(tmp_path / "dev/plain") == ("c", 1, 3, 0o666, 0, 0)


def test_a_pipe_has_no_numbers(tmp_path: Path) -> None:
    for _ in range(2):
        devices.make(str(tmp_path), Device("/run/pipe", "p", fileMode=0o600))
    assert facts(tmp_path / "run/pipe") == ("p", 0, 0, 0o600, 0, 0)


def test_a_node_that_is_there_stays_as_it_is_for_it_may_be_the_hosts(tmp_path: Path) -> None:
    devices.make(str(tmp_path), Device("/null", "c", 1, 3, 0o600))
    devices.make(str(tmp_path), Device("/null", "c", 1, 3, 0o644, 7, 8))
    assert facts(tmp_path / "null") == ("c", 1, 3, 0o600, 0, 0)


def test_a_device_of_no_known_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="type 'x' is not one of c, u, b, p"):
        devices.make(str(tmp_path), Device("/null", "x", 1, 3))


@pytest.mark.parametrize("other", [Device("/null", "c", 1, 5), Device("/null", "b", 1, 3), Device("/null", "p")])
def test_something_else_of_that_name_is_not(tmp_path: Path, other: Device) -> None:
    devices.make(str(tmp_path), Device("/null", "c", 1, 3))
    with pytest.raises(KernelError, match=rf"mknod {tmp_path}/null: EEXIST \(something else has that name\)"):
        devices.make(str(tmp_path), other)
    assert facts(tmp_path / "null")[:3] == ("c", 1, 3)


def test_no_symbolic_link_leads_out_of_the_root(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "dev").symlink_to(outside)
    (root / "link").symlink_to(outside / "node")
    try:
        devices.make(str(root), DEFAULT[0])
    except KernelError:
        pass
    with pytest.raises(KernelError, match="something else has that name"):
        devices.make(str(root), Device("/link", "c", 1, 3))
    assert os.listdir(outside) == []


def test_in_a_user_namespace_the_hosts_node_is_bound(tmp_path: Path, in_child: InChild) -> None:
    def make() -> tuple[tuple[int, int], int]:
        syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text("0 0 1")
        Path("/proc/self/gid_map").write_text("0 0 1")
        mounts.mount("tmpfs", str(tmp_path), "tmpfs")
        devices.make(str(tmp_path), DEFAULT[0])
        found = (tmp_path / "dev/null").stat()
        with open(tmp_path / "dev/null", "w") as null:
            written = null.write("nothing")
        return (os.major(found.st_rdev), os.minor(found.st_rdev)), written

    assert in_child(make) == ((1, 3), 7)
    assert os.listdir(tmp_path) == []
