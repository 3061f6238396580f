from __future__ import annotations

from pathlib import Path

import pytest

from labkit.errors import InvalidInput, NotFound
from labkit.linux import cgroups
from labkit.linux.cgroups.layout import _with_files, detect, directories

# Debian 13 with systemd.
PURE_V2 = """\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro
31 24 0:27 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
32 24 0:28 / /sys/fs/pstore rw,nosuid,nodev,noexec,relatime shared:10 - pstore pstore rw
"""
# Debian 10 with systemd: controllers that share a hierarchy, one tree that has none, and version 2 beside them.
HYBRID = """\
25 20 0:21 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:7 - tmpfs tmpfs ro,mode=755
26 25 0:22 / /sys/fs/cgroup/unified rw,nosuid,nodev,noexec,relatime shared:8 - cgroup2 cgroup2 rw,nsdelegate
27 25 0:23 / /sys/fs/cgroup/systemd rw,nosuid,nodev,noexec,relatime shared:9 - cgroup cgroup rw,xattr,name=systemd
30 25 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid,nodev,noexec,relatime shared:11 - cgroup cgroup rw,cpu,cpuacct
31 25 0:27 / /sys/fs/cgroup/memory rw,nosuid,nodev,noexec,relatime shared:12 - cgroup cgroup rw,memory
32 25 0:28 / /sys/fs/cgroup/blkio rw,nosuid,nodev,noexec,relatime shared:13 - cgroup cgroup rw,blkio
33 25 0:29 / /sys/fs/cgroup/freezer rw,nosuid,nodev,noexec,relatime shared:14 - cgroup cgroup rw,freezer
"""


def versions(layout: cgroups.Layout) -> dict[str, int]:
    return {name: controller.version for name, controller in layout.controllers.items()}


def test_a_machine_with_one_v2_tree() -> None:
    layout = detect(PURE_V2, "cpuset cpu io memory hugetlb pids rdma misc\n")
    assert layout.mode == "v2"
    assert layout.unified == "/sys/fs/cgroup"
    assert set(layout.controllers) == {"cpuset", "cpu", "cpuacct", "io", "memory", "hugetlb", "pids", "rdma", "misc", "freezer", "devices"}
    assert {(each.version, each.mountpoint) for each in layout.controllers.values()} == {(2, "/sys/fs/cgroup")}


def test_a_hybrid_machine_has_each_controller_where_it_is_mounted() -> None:
    layout = detect(HYBRID, "pids hugetlb")
    assert layout.mode == "hybrid"
    assert versions(layout) == {
        "memory": 1, "cpu": 1, "cpuacct": 1, "io": 1, "freezer": 1, "pids": 2, "hugetlb": 2, "devices": 2,
    }  # fmt: skip
    assert layout.controllers["io"].mountpoint == "/sys/fs/cgroup/blkio"


def test_a_controller_that_no_tree_has_is_absent() -> None:
    assert "cpuset" not in detect(HYBRID).controllers
    assert "pids" not in detect(PURE_V2, "cpu").controllers


def test_a_machine_without_version_2_and_one_without_control_groups() -> None:
    assert detect(HYBRID.replace("cgroup2", "tmpfs")).mode == "v1"
    assert detect(HYBRID.replace("cgroup2", "tmpfs")).unified is None
    assert detect("").mode == "none"


def test_of_two_mounts_of_one_hierarchy_the_first_counts() -> None:
    later = PURE_V2.splitlines()[1].replace("/sys/fs/cgroup", "/srv/root/sys/fs/cgroup")
    assert detect(f"{PURE_V2}{later}\n", "cpu").unified == "/sys/fs/cgroup"
    memory = HYBRID.splitlines()[4].replace("/sys/fs/cgroup", "/srv/root/sys/fs/cgroup")
    assert detect(f"{HYBRID}{memory}\n").controllers["memory"].mountpoint == "/sys/fs/cgroup/memory"


def test_what_the_texts_do_not_tell_is_not_looked_up() -> None:
    assert all(not controller.files for controller in detect(PURE_V2, "cpu memory").controllers.values())


def test_the_files_of_a_controller_are_learnt_from_any_group_that_has_it(tmp_path: Path) -> None:
    v1 = {"memory": ["memory.max_usage_in_bytes", "cgroup.procs", "tasks"], "blkio": ["blkio.weight", "io.weight"], "cpu": []}
    for name, files in v1.items():
        (tmp_path / name / "group").mkdir(parents=True)
        for file in files:
            (tmp_path / name / "group" / file).touch()
    (tmp_path / "cpu/group").rmdir()
    (tmp_path / "cpu/cpu.shares").touch()  # the root is no group like the others
    (tmp_path / "v2/group").mkdir(parents=True)
    (tmp_path / "v2/group/cgroup.controllers").write_text("pids\n")
    for file in ("pids.max", "hugetlb.pressure"):  # some files of a controller are there without it
        (tmp_path / "v2/group" / file).touch()
    lines = [f"1 2 0:3 / {tmp_path}/{name} rw - cgroup cgroup rw,{name}" for name in v1]
    lines += [f"1 2 0:3 / {tmp_path}/v2 rw - cgroup2 cgroup2 rw", f"1 2 0:3 / {tmp_path}/gone rw - cgroup cgroup rw,cpuset"]
    layout = _with_files(tuple(lines), "pids hugetlb")
    assert {name: set(each.files) for name, each in layout.controllers.items() if each.files} == {
        "memory": {"memory.max_usage_in_bytes"}, "io": {"blkio.weight"}, "pids": {"pids.max"},
    }  # fmt: skip
    assert layout.unified == f"{tmp_path}/v2"


def test_a_group_has_one_directory_in_version_2() -> None:
    assert directories("labkit/c1", detect(PURE_V2, "cpu memory")) == ("/sys/fs/cgroup/labkit/c1",)


def test_a_group_has_one_directory_in_each_hierarchy_and_that_of_version_2_last() -> None:
    assert directories("/labkit/c1/", detect(HYBRID, "pids")) == (
        "/sys/fs/cgroup/memory/labkit/c1",
        "/sys/fs/cgroup/cpu,cpuacct/labkit/c1",
        "/sys/fs/cgroup/blkio/labkit/c1",
        "/sys/fs/cgroup/freezer/labkit/c1",
        "/sys/fs/cgroup/unified/labkit/c1",
    )


def test_without_version_2_there_are_only_the_trees_of_version_1() -> None:
    found = directories("c1", detect(HYBRID.replace("cgroup2", "tmpfs")))
    assert found[-1] == "/sys/fs/cgroup/freezer/c1"
    assert len(found) == 4


@pytest.mark.parametrize("path", ["", "/", "..", "labkit/../..", "a//b", "./a"])
def test_a_path_that_is_no_group_below_the_root_is_refused(path: str) -> None:
    with pytest.raises(InvalidInput, match="cgroup path"):
        directories(path, detect(PURE_V2))
    with pytest.raises(InvalidInput, match="cgroup path"):
        cgroups.Cgroup(path, detect(PURE_V2))


def test_the_groups_of_a_process_that_is_gone() -> None:
    with pytest.raises(NotFound, match="process 4194305"):
        cgroups.of(4194305)
