from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labkit.errors import KernelError, Unsupported
from labkit.linux import idmaps, namespaces, syscalls
from labkit.linux.idmaps import IdMap

InChild = Callable[[Callable[[], Any]], Any]

RESTRICTED = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
for_all_users = pytest.mark.skipif(
    RESTRICTED.exists() and RESTRICTED.read_text().strip() == "1",
    reason="this kernel's AppArmor keeps user namespaces from all but root (apparmor_restrict_unprivileged_userns)",
)


def test_a_map_is_written_once() -> None:
    with namespaces.new("user") as box, pytest.raises(KernelError, match=r"uid_map: EPERM \(a map is written once"):
        idmaps.write(box.pid, [IdMap(0, 0, 1)], [])


@for_all_users
def test_without_root_only_ones_own_id_can_be_mapped(in_child: InChild) -> None:
    def scene() -> None:
        os.setuid(65534)
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
        namespaces.unshare("user")
        with pytest.raises(KernelError, match=r"EPERM \(mapping more than one's own id takes root"):
            idmaps.write("self", [IdMap(0, 1000, 2)], [])
        idmaps.write("self", [IdMap(0, 65534, 1)], [])
        assert os.getuid() == 0

    in_child(scene)


@for_all_users
def test_without_root_a_map_of_groups_gives_up_setgroups(in_child: InChild) -> None:
    def scene() -> str:
        os.setgid(65534)
        os.setuid(65534)
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
        namespaces.unshare("user")
        idmaps.write("self", [IdMap(0, 65534, 1)], [IdMap(0, 65534, 1)])
        return Path("/proc/self/setgroups").read_text()

    assert in_child(scene) == "deny\n"


def test_a_namespace_for_its_maps_alone_has_them_and_nobody_in_it(in_child: InChild) -> None:
    maps = (IdMap(0, 100000, 10),)

    def scene() -> tuple[int, str]:
        with idmaps.namespace(maps, maps) as fd:
            inode = os.fstat(fd).st_ino
            assert inode not in {namespace.inode for namespace in namespaces.everyone("user")}
            namespaces.enter(f"/proc/self/fd/{fd}", "user")
        assert namespaces.of()["user"].inode == inode
        return os.getuid(), Path("/proc/self/uid_map").read_text()

    uid, text = in_child(scene)
    assert uid == 65534  # what is shown for an id that has no number inside, such as root's of outside
    first, _, size = text.split()
    assert (first, size) == ("0", "10")


def test_a_namespace_for_its_maps_needs_a_kernel_that_makes_one(in_child: InChild) -> None:
    def scene() -> None:
        for _ in range(40):  # user namespaces nest 32 deep
            try:
                namespaces.unshare("user")
            except KernelError:
                break
        with pytest.raises(Unsupported, match="the kernel refuses to make one"), idmaps.namespace([IdMap(0, 0, 1)], []):
            pass

    in_child(scene)
