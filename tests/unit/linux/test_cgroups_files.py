"""Reading and writing, on trees of plain files: what both versions of cgroupfs look like to the code that reads them."""

from __future__ import annotations

import os
from errno import EBUSY
from pathlib import Path

import pytest

from labkit.errors import Conflict, KernelError, NotFound, Unsupported
from labkit.linux import cgroups
from labkit.linux.cgroups import Events, IoLimit, Layout, Limits, Pressure, Usage, files

UNLIMITED = "9223372036854771712\n"  # 2^63, rounded down to a page
PSI = "some avg10=1.50 avg60=0.30 avg300=0.00 total=2500\nfull avg10=0.25 avg60=0.00 avg300=0.00 total=700\n"


def tree(root: Path, contents: dict[str, str]) -> None:
    for name, text in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def v1_layout(root: Path) -> Layout:
    names = ("cpuset", "memory", "cpu", "cpuacct", "pids", "blkio", "freezer")
    return cgroups.detect("\n".join(f"1 2 0:3 / {root}/{name} rw - cgroup cgroup rw,{name}" for name in names))


def v2_layout(root: Path) -> Layout:
    return cgroups.detect(f"1 2 0:3 / {root} rw - cgroup2 cgroup2 rw", "cpuset cpu io memory pids")


@pytest.fixture
def v1(tmp_path: Path) -> cgroups.Cgroup:
    tree(
        tmp_path,
        {
            "cpuset/c1/cpuset.effective_cpus": "0-3\n",
            "cpuset/c1/cpuset.effective_mems": "0\n",
            "memory/c1/memory.usage_in_bytes": "4096\n",
            "memory/c1/memory.max_usage_in_bytes": "8192\n",
            "memory/c1/memory.memsw.usage_in_bytes": "5120\n",
            "memory/c1/memory.limit_in_bytes": "1048576\n",
            "memory/c1/memory.memsw.limit_in_bytes": UNLIMITED,
            "memory/c1/memory.soft_limit_in_bytes": UNLIMITED,
            "memory/c1/memory.swappiness": "60\n",
            "memory/c1/memory.failcnt": "5\n",
            "memory/c1/memory.memsw.failcnt": "2\n",
            "memory/c1/memory.oom_control": "oom_kill_disable 1\nunder_oom 0\noom_kill 3\n",
            "cpu/c1/cpu.shares": "1024\n",
            "cpu/c1/cpu.cfs_quota_us": "-1\n",
            "cpu/c1/cpu.cfs_period_us": "100000\n",
            "cpu/c1/cpu.cfs_burst_us": "0\n",
            "cpu/c1/cpu.stat": "nr_periods 10\nnr_throttled 4\nthrottled_time 5000000\nnr_bursts 0\nburst_time 0\n",
            "cpuacct/c1/cpuacct.usage": "123456789\n",
            "pids/c1/pids.current": "2\n",
            "pids/c1/pids.max": "max\n",
            "pids/c1/pids.events": "max 9\n",
            "blkio/c1/blkio.throttle.io_service_bytes_recursive": "8:0 Read 10\n8:0 Write 20\n8:0 Sync 30\n8:16 Read 1\n8:16 Write 2\n",
            "blkio/c1/blkio.throttle.read_bps_device": "8:0 1048576\n",
            "blkio/c1/blkio.throttle.write_iops_device": "8:0 5\n8:16 6\n",
            "freezer/c1/freezer.state": "THAWED\n",
        },
    )
    return cgroups.Cgroup("c1", v1_layout(tmp_path))


@pytest.fixture
def v2(tmp_path: Path) -> cgroups.Cgroup:
    contents = {
        "cgroup.controllers": "cpuset cpu io memory pids\n",
        "cgroup.events": "populated 1\nfrozen 1\n",
        "cpuset.cpus.effective": "0-3\n",
        "cpuset.mems.effective": "0\n",
        "memory.current": "4096\n",
        "memory.peak": "8192\n",
        "memory.swap.current": "1024\n",
        "memory.max": "1048576\n",
        "memory.swap.max": "4096\n",
        "memory.low": "0\n",
        "memory.events": "low 0\nhigh 0\nmax 7\noom 5\noom_kill 3\n",
        "memory.pressure": PSI,
        "cpu.pressure": PSI.splitlines()[0],  # kernels before 5.13 have no second line here
        "cpu.weight": "100\n",
        "cpu.max": "50000 100000\n",
        "cpu.max.burst": "0\n",
        "cpu.idle": "0\n",
        "cpu.stat": "usage_usec 123456\nuser_usec 1\nsystem_usec 2\nnr_periods 10\nnr_throttled 4\nthrottled_usec 5000\n",
        "pids.current": "2\n",
        "pids.max": "20\n",
        "pids.events": "max 9\n",
        "io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=1 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=2 rios=1 wios=1 dbytes=0 dios=0\n",
        "io.max": "8:0 rbps=1048576 wbps=max riops=max wiops=5\n",
    }
    tree(tmp_path / "c1", contents)
    return cgroups.Cgroup("c1", v2_layout(tmp_path))


def test_both_versions_tell_the_same_usage(v1: cgroups.Cgroup, v2: cgroups.Cgroup) -> None:
    usage = Usage(memory=4096, memory_peak=8192, swap=1024, cpu_usec=123456, pids=2, io_read=11, io_write=22)
    assert v1.usage() == v2.usage() == usage


def test_version_1_tells_swap_as_what_ram_and_swap_have_beyond_ram(v1: cgroups.Cgroup) -> None:
    both = Path(v1.file("memory.memsw.usage_in_bytes"))
    both.write_text("4000\n")  # the two are not read at the same instant
    assert v1.usage().swap == 0
    both.unlink()
    assert v1.usage().swap is None
    Path(v1.file("memory.memsw.failcnt")).unlink()
    assert v1.events().memory_max_hit == 5


def test_both_versions_tell_the_same_events_but_that_v1_does_not_count_oom(v1: cgroups.Cgroup, v2: cgroups.Cgroup) -> None:
    common = {"memory_max_hit": 7, "oom_kill": 3, "pids_max_hit": 9, "periods": 10, "throttled_periods": 4, "throttled_usec": 5000}
    assert v1.events() == Events(**common)
    assert v2.events() == Events(oom=5, **common)


def test_the_limits_in_force_in_version_1(v1: cgroups.Cgroup) -> None:
    assert v1.limits_in_force() == Limits(
        memory=1 << 20, swappiness=60, oom_kill_disable=True, cpu_period=100000, cpu_burst=0, cpu_weight=39, cpus="0-3", mems="0",
        io=(IoLimit(8, 0, read_bps=1 << 20, write_iops=5), IoLimit(8, 16, write_iops=6)),
    )  # fmt: skip


def test_the_limits_in_force_in_version_2(v2: cgroups.Cgroup) -> None:
    assert v2.limits_in_force() == Limits(
        memory=1 << 20, memory_swap=(1 << 20) + 4096, memory_reservation=0, cpu_quota=50000, cpu_period=100000, cpu_burst=0,
        cpu_weight=100, cpu_idle=0, cpus="0-3", mems="0", pids=20, io=(IoLimit(8, 0, read_bps=1 << 20, write_iops=5),),
    )  # fmt: skip


def test_no_limit_of_ram_is_no_limit_of_swap_with_it(v2: cgroups.Cgroup) -> None:
    Path(v2.file("memory.max")).write_text("max\n")
    found = v2.limits_in_force()
    assert (found.memory, found.memory_swap) == (None, None)


def test_what_a_kernel_does_not_count_is_none(tmp_path: Path) -> None:
    for layout in (v1_layout(tmp_path), v2_layout(tmp_path)):
        group = cgroups.Cgroup("c1", layout)
        for directory in group.directories:
            os.makedirs(directory)
        usage = group.usage()
        assert (usage.memory, usage.memory_peak, usage.swap, usage.cpu_usec, usage.pids) == (None,) * 5
        assert group.events() == Events()
    assert cgroups.Cgroup("c1", v1_layout(tmp_path)).usage().io_read is None


def test_pressure_is_read_from_the_v2_tree(v2: cgroups.Cgroup, v1: cgroups.Cgroup) -> None:
    assert v2.pressure("memory") == Pressure(some=1.5, some_usec=2500, full=0.25, full_usec=700)
    assert v2.pressure("cpu") == Pressure(some=1.5, some_usec=2500, full=0, full_usec=0)
    assert v2.pressure("io") is None
    assert v1.pressure("memory") is None


def test_a_file_is_found_in_the_hierarchy_of_its_controller(v1: cgroups.Cgroup, v2: cgroups.Cgroup) -> None:
    assert v1.file("memory.stat").endswith("/memory/c1/memory.stat")
    assert v1.file("blkio.weight").endswith("/blkio/c1/blkio.weight")
    assert v2.file("io.stat") == f"{v2.directories[0]}/io.stat"
    assert v2.file("cgroup.procs") == f"{v2.directories[0]}/cgroup.procs"
    assert (v2.read("pids.max"), v2.read("pids.nothing")) == ("20", "")


def test_limits_are_written_to_the_files(v2: cgroups.Cgroup) -> None:
    for name in ("memory.max", "pids.max"):
        Path(v2.file(name)).write_text("")
    (Path(v2.directories[0]).parent / "cgroup.subtree_control").write_text("cpuset cpu io memory pids")
    v2.limit(Limits(memory=5, pids=6))
    assert (v2.read("memory.max"), v2.read("pids.max")) == ("5", "6")


def test_the_state_of_the_freezer(v1: cgroups.Cgroup, v2: cgroups.Cgroup) -> None:
    assert (v1.frozen, v2.frozen) == (False, True)


def test_a_group_that_is_not_there(tmp_path: Path) -> None:
    layout = v2_layout(tmp_path)
    group = cgroups.Cgroup("c1", layout)
    assert not group.exists() and group.processes() == ()
    group.kill()
    group.delete()
    for question in (group.usage, group.events, group.limits_in_force, lambda: cgroups.open("c1", layout)):
        with pytest.raises(NotFound, match="cgroup c1"):
            question()


def test_a_group_that_does_not_stand_still_is_thawed_again(v1: cgroups.Cgroup, v2: cgroups.Cgroup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.linux.cgroups.v1.frozen", lambda directory: False)
    monkeypatch.setattr("labkit.linux.cgroups.group.PATIENCE", 0.02)
    Path(v2.file("cgroup.events")).write_text("populated 1\nfrozen 0\n")
    Path(v2.file("cgroup.freeze")).touch()
    for group, file, thawed in ((v1, "freezer.state", "THAWED"), (v2, "cgroup.freeze", "0")):
        with pytest.raises(Conflict, match="state D"):
            group.freeze()
        assert group.read(file) == thawed


def test_a_machine_without_a_freezer_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="freezer"):
        cgroups.Cgroup("c1", cgroups.detect(f"1 2 0:3 / {tmp_path} rw - cgroup cgroup rw,memory")).freeze()


def test_a_process_of_another_pid_namespace_is_not_listed(v2: cgroups.Cgroup) -> None:
    Path(v2.file("cgroup.procs")).write_text("12\n0\n7\n")
    (Path(v2.directories[0]) / "below").mkdir()
    (Path(v2.directories[0]) / "below/cgroup.procs").write_text("8\n")
    assert v2.processes() == (7, 8, 12)


def test_writing_to_a_file_that_the_kernel_does_not_have_tells_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="swapaccount=1"):
        cgroups.write(f"{tmp_path}/memory.swap.max", "1")
    with pytest.raises(Unsupported, match=r"memory\.nothing"):
        cgroups.write(f"{tmp_path}/memory.nothing", "1")


def test_writing_to_a_group_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match=rf"write 1 to {tmp_path}/c1/memory.max: ENOENT \(there is no such group\)"):
        cgroups.write(f"{tmp_path}/c1/memory.max", "1")


def test_a_failed_write_tells_the_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(fd: int, data: bytes) -> int:
        raise OSError(EBUSY, "busy")

    causes = {"memory.limit_in_bytes": "hold more than that", "cgroup.procs": "group below", "pids.max": os.strerror(EBUSY)}
    for name in causes:
        (tmp_path / name).touch()
    monkeypatch.setattr("os.write", busy)
    for name, cause in causes.items():
        with pytest.raises(KernelError, match=cause) as caught:
            cgroups.write(f"{tmp_path}/{name}", "1")
        assert caught.value.errno == EBUSY


def test_a_file_that_cannot_be_read_is_an_error_but_one_that_is_missing_is_empty(tmp_path: Path) -> None:
    assert files.read(f"{tmp_path}/nothing") == ""
    with pytest.raises(KernelError, match=f"read {tmp_path}: EISDIR"):
        files.read(str(tmp_path))


def test_an_empty_value_is_what_the_group_above_has_unless_there_is_one(tmp_path: Path) -> None:
    tree(tmp_path, {"cpuset.cpus": "0-3\n", "c1/cpuset.cpus": "\n", "c2/cpuset.cpus": "2\n"})
    for name in ("c1", "c2"):
        cgroups.write(f"{tmp_path}/{name}/cpuset.cpus", "")
    assert [files.read(f"{tmp_path}/{name}/cpuset.cpus") for name in ("c1", "c2")] == ["0-3", "2"]


def test_controllers_that_are_handed_down_already_are_not_written_again(tmp_path: Path) -> None:
    file = tmp_path / "cgroup.subtree_control"
    file.write_text("cpu memory\n")
    cgroups.write(str(file), "+memory +cpu")
    assert file.read_text() == "cpu memory\n"
    cgroups.write(str(file), "+memory +pids")
    assert file.read_text().startswith("+memory +pids")


def test_the_forms_in_which_the_kernel_writes() -> None:
    assert [files.number(text) for text in ("64", "max", "")] == [64, None, None]
    assert [files.limit(text) for text in ("0", "64", UNLIMITED.strip(), "-1", "max", "")] == [0, 64, None, None, None, None]
    assert files.flat("low 0\noom_kill 1\n") == {"low": 0, "oom_kill": 1}
    assert files.nested("8:0 rbps=1 wbps=max\n8:16\n") == {"8:0": {"rbps": "1", "wbps": "max"}, "8:16": {}}
