from __future__ import annotations

from dataclasses import replace

import pytest

from labkit.errors import InvalidInput, Unsupported
from labkit.linux.cgroups import Controller, IoLimit, Layout, Limits, detect, settings, shares_to_weight, weight_to_shares

V2 = detect("31 24 0:27 / /cg rw shared:9 - cgroup2 cgroup2 rw", "cpuset cpu io memory hugetlb pids rdma misc")
V1 = detect(
    "\n".join(
        f"31 24 0:27 / /cg/{name} rw - cgroup cgroup rw,{name}"
        for name in ("cpuset", "memory", "cpu", "cpuacct", "pids", "blkio", "hugetlb", "rdma", "net_cls", "net_prio", "freezer", "devices")
    )
)
HYBRID = detect("31 24 0:27 / /cg/memory rw - cgroup cgroup rw,memory\n31 24 0:27 / /cg/unified rw - cgroup2 cgroup2 rw", "pids")
NOTHING = detect("")


def written(limits: Limits, layout: Layout) -> list[tuple[str, str]]:
    """The files of the group c1 itself that are written, and what; but for the CPUs that every v1 group gets."""
    found = settings("c1", limits, layout)
    return [(each.file.removeprefix("/cg/"), each.value) for each in found if each.value and "subtree_control" not in each.file]


def with_files(layout: Layout, name: str, *files: str) -> Layout:
    controller = replace(layout.controllers[name], files=frozenset(files))
    return replace(layout, controllers={**layout.controllers, name: controller})


def test_memory() -> None:
    limits = Limits(memory=64 << 20, memory_swap=96 << 20, memory_reservation=32 << 20)
    assert written(limits, V1) == [
        ("memory/c1/memory.limit_in_bytes", "67108864"),
        ("memory/c1/memory.memsw.limit_in_bytes", "100663296"),  # RAM and swap, and never before the limit of RAM
        ("memory/c1/memory.soft_limit_in_bytes", "33554432"),
    ]
    assert written(limits, V2) == [
        ("c1/memory.max", "67108864"),
        ("c1/memory.swap.max", "33554432"),  # swap alone
        ("c1/memory.low", "33554432"),
    ]


def test_memory_without_limits() -> None:
    limits = Limits(memory=-1, memory_swap=-1, memory_reservation=-1)
    assert [value for _, value in written(limits, V1)] == ["-1", "-1", "-1"]
    assert [value for _, value in written(limits, V2)] == ["max", "max", "max"]


def test_no_swap_at_all() -> None:
    assert ("c1/memory.swap.max", "0") in written(Limits(memory=1 << 20, memory_swap=1 << 20), V2)


def test_what_only_version_1_can() -> None:
    limits = Limits(
        swappiness=10, oom_kill_disable=True, cpu_rt_period=1000000, cpu_rt_runtime=5000, net_class=16, net_priorities={"lo": 3}
    )
    assert written(limits, V1) == [
        ("memory/c1/memory.swappiness", "10"),
        ("memory/c1/memory.oom_control", "1"),
        ("cpu/c1/cpu.rt_period_us", "1000000"),
        ("cpu/c1/cpu.rt_runtime_us", "5000"),
        ("net_cls/c1/net_cls.classid", "16"),
        ("net_prio/c1/net_prio.ifpriomap", "lo 3"),
    ]
    for name in ("swappiness", "oom_kill_disable", "cpu_rt_period", "cpu_rt_runtime", "net_class", "net_priorities"):
        with pytest.raises(Unsupported, match=r"version [12] control groups"):
            written(replace(Limits(), **{name: getattr(limits, name)}), V2)


def test_an_oom_killer_that_stays_on_needs_nothing_of_version_2() -> None:
    assert written(Limits(oom_kill_disable=False), V2) == []
    assert written(Limits(oom_kill_disable=False), V1) == [("memory/c1/memory.oom_control", "0")]


def test_cpu_quota() -> None:
    limits = Limits(cpu_quota=50000, cpu_period=200000, cpu_burst=1000)
    assert written(limits, V1) == [
        ("cpu/c1/cpu.cfs_period_us", "200000"),
        ("cpu/c1/cpu.cfs_quota_us", "50000"),
        ("cpu/c1/cpu.cfs_burst_us", "1000"),
    ]
    assert written(limits, V2) == [("c1/cpu.max", "50000 200000"), ("c1/cpu.max.burst", "1000")]


def test_a_quota_alone_keeps_the_period_and_a_period_alone_has_no_quota() -> None:
    assert written(Limits(cpu_quota=50000), V2) == [("c1/cpu.max", "50000")]
    assert written(Limits(cpu_quota=-1), V2) == [("c1/cpu.max", "max")]
    assert written(Limits(cpu_quota=-1), V1) == [("cpu/c1/cpu.cfs_quota_us", "-1")]
    assert written(Limits(cpu_period=200000), V2) == [("c1/cpu.max", "max 200000")]


def test_cpu_weight_and_shares_are_one_thing_in_two_units() -> None:
    assert written(Limits(cpu_weight=100), V2) == [("c1/cpu.weight", "100")]
    assert written(Limits(cpu_weight=100), V1) == [("cpu/c1/cpu.shares", "2598")]
    assert written(Limits(cpu_shares=1024), V1) == [("cpu/c1/cpu.shares", "1024")]
    assert written(Limits(cpu_shares=1024), V2) == [("c1/cpu.weight", "39")]
    with pytest.raises(InvalidInput, match="cpu_weight"):
        Limits(cpu_weight=100, cpu_shares=1024)


def test_an_idle_group_cannot_change_its_weight_and_one_that_is_no_longer_idle_has_lost_it() -> None:
    for weight in ("shares", "weight"):
        values = {f"cpu_{weight}": 1024}
        for layout in (V1, V2):
            idle = [file.rpartition("cpu.")[2] for file, _ in written(Limits(cpu_idle=1, **values), layout)]
            busy = [file.rpartition("cpu.")[2] for file, _ in written(Limits(cpu_idle=0, **values), layout)]
            assert idle == busy[::-1] == ["shares" if layout is V1 else "weight", "idle"]
    assert written(Limits(cpu_idle=1), V1) == [("cpu/c1/cpu.idle", "1")]
    assert written(Limits(cpu_idle=0), V2) == [("c1/cpu.idle", "0")]


def test_shares_and_weight_are_converted_as_runc_does() -> None:
    assert [shares_to_weight(shares) for shares in (2, 512, 1024, 262144)] == [1, 20, 39, 10000]
    assert [weight_to_shares(weight) for weight in (1, 10000)] == [2, 262144]
    assert all(shares_to_weight(weight_to_shares(weight)) == weight for weight in range(1, 10001))


@pytest.mark.parametrize("shares", [-1, 0, 1, 262145])
def test_shares_out_of_range_are_refused(shares: int) -> None:
    with pytest.raises(InvalidInput, match="cpu_shares"):
        shares_to_weight(shares)


@pytest.mark.parametrize("weight", [-1, 0, 10001])
def test_a_weight_out_of_range_is_refused(weight: int) -> None:
    with pytest.raises(InvalidInput, match="cpu_weight"):
        weight_to_shares(weight)


def test_pids() -> None:
    assert written(Limits(pids=20), V1) == [("pids/c1/pids.max", "20")]
    assert written(Limits(pids=20), V2) == [("c1/pids.max", "20")]
    assert {written(Limits(pids=none), layout)[0][1] for none in (-1, 0) for layout in (V1, V2)} == {"max"}
    assert {written(Limits(pids=1), layout)[0][1] for layout in (V1, V2)} == {"1"}


def test_cpuset() -> None:
    limits = Limits(cpus="0-1", mems="0")
    assert written(limits, V1) == [("cpuset/c1/cpuset.cpus", "0-1"), ("cpuset/c1/cpuset.mems", "0")]
    assert written(limits, V2) == [("c1/cpuset.cpus", "0-1"), ("c1/cpuset.mems", "0")]


def test_a_v1_cpuset_gets_what_the_group_above_has_from_the_top_down() -> None:
    found = settings("labkit/a/b", Limits(cpus="1"), V1)
    assert [(each.file.removeprefix("/cg/cpuset/"), each.value) for each in found] == [
        ("labkit/cpuset.cpus", ""),
        ("labkit/cpuset.mems", ""),
        ("labkit/a/cpuset.cpus", ""),
        ("labkit/a/cpuset.mems", ""),
        ("labkit/a/b/cpuset.cpus", "1"),
        ("labkit/a/b/cpuset.mems", ""),
    ]


def test_v2_hands_the_controllers_down_from_the_root_before_the_group_has_its_limits() -> None:
    found = settings("labkit/c1", Limits(memory=1 << 20), V2)
    assert [(each.file, each.value) for each in found] == [
        ("/cg/cgroup.subtree_control", "+cpuset +memory +cpu +pids +io"),
        ("/cg/labkit/cgroup.subtree_control", "+cpuset +memory +cpu +pids +io"),
        ("/cg/labkit/c1/memory.max", "1048576"),
    ]


def test_rare_v2_controllers_are_handed_down_when_they_are_asked_for() -> None:
    limits = Limits(hugepages={"2MB": 1 << 21}, rdma={"mlx5_0": "hca_handle=2"}, unified={"misc.max": "sev 1"})
    (root, *_) = settings("c1", limits, V2)
    assert root.value == "+cpuset +memory +cpu +pids +io +hugetlb +rdma +misc"


def test_a_hybrid_machine_hands_down_what_it_has_in_version_2() -> None:
    found = settings("c1", Limits(memory=1, pids=2), HYBRID)
    assert [(each.file, each.value) for each in found] == [
        ("/cg/unified/cgroup.subtree_control", "+pids"),
        ("/cg/memory/c1/memory.limit_in_bytes", "1"),
        ("/cg/unified/c1/pids.max", "2"),
    ]


def test_io() -> None:
    limits = Limits(io=(IoLimit(8, 0, read_bps=1 << 20, write_iops=100), IoLimit(8, 16, write_bps=-1, read_iops=7)))
    assert written(limits, V1) == [
        ("blkio/c1/blkio.throttle.read_bps_device", "8:0 1048576"),
        ("blkio/c1/blkio.throttle.write_iops_device", "8:0 100"),
        ("blkio/c1/blkio.throttle.write_bps_device", "8:16 0"),
        ("blkio/c1/blkio.throttle.read_iops_device", "8:16 7"),
    ]
    assert written(limits, V2) == [("c1/io.max", "8:0 rbps=1048576 wiops=100"), ("c1/io.max", "8:16 wbps=max riops=7")]


def test_io_weight_goes_to_the_scheduler_that_is_there() -> None:
    limits = Limits(io_weight=500, io=(IoLimit(8, 0, weight=10),))
    bfq = with_files(V1, "io", "blkio.bfq.weight", "blkio.bfq.weight_device")
    cfq = with_files(V1, "io", "blkio.weight", "blkio.weight_device")
    assert written(limits, bfq) == [("blkio/c1/blkio.bfq.weight", "500"), ("blkio/c1/blkio.bfq.weight_device", "8:0 10")]
    assert written(limits, cfq) == [("blkio/c1/blkio.weight", "500"), ("blkio/c1/blkio.weight_device", "8:0 10")]
    assert written(limits, with_files(V2, "io", "io.bfq.weight")) == [("c1/io.bfq.weight", "default 500"), ("c1/io.bfq.weight", "8:0 10")]
    assert written(limits, V2) == [("c1/io.weight", "default 4950"), ("c1/io.weight", "8:0 1")]


def test_huge_pages_and_rdma() -> None:
    limits = Limits(hugepages={"2MB": 4 << 20}, rdma={"mlx5_0": "hca_handle=2"})
    assert written(limits, V1) == [("hugetlb/c1/hugetlb.2MB.limit_in_bytes", "4194304"), ("rdma/c1/rdma.max", "mlx5_0 hca_handle=2")]
    assert written(limits, V2) == [("c1/hugetlb.2MB.max", "4194304"), ("c1/rdma.max", "mlx5_0 hca_handle=2")]


def test_unified_files_are_written_as_they_are_where_version_2_has_the_controller() -> None:
    assert written(Limits(unified={"memory.high": "1G"}), V2) == [("c1/memory.high", "1G")]
    assert written(Limits(unified={"pids.max": "7"}), HYBRID) == [("unified/c1/pids.max", "7")]
    for layout in (V1, HYBRID):
        with pytest.raises(Unsupported, match=r"memory\.high"):
            written(Limits(unified={"memory.high": "1G"}), layout)
    for bad in ({"../x": "1"}, {"memory.high": ""}):
        with pytest.raises(InvalidInput, match="unified"):
            written(Limits(unified=bad), V2)


@pytest.mark.parametrize(
    "limits",
    [Limits(memory=1), Limits(cpu_quota=1), Limits(cpus="0"), Limits(pids=1), Limits(io_weight=10), Limits(hugepages={"2MB": 0})],
)
def test_a_controller_that_is_not_mounted_is_named(limits: Limits) -> None:
    with pytest.raises(Unsupported, match=r"mounted here has the controller (memory|cpu|cpuset|pids|io|hugetlb)$"):
        written(limits, NOTHING)


def test_without_limits_there_is_nothing_to_refuse() -> None:
    assert settings("c1", Limits(), NOTHING) == ()


@pytest.mark.parametrize(
    ("layout", "name", "there", "limits", "reason"),
    [
        (V1, "memory", "memory.limit_in_bytes", Limits(memory=1, memory_swap=1), "swap limit: .*swapaccount=1"),
        (V2, "memory", "memory.max", Limits(memory=1, memory_swap=1), "swap limit: .*swapaccount=1"),
        (V1, "cpu", "cpu.shares", Limits(cpu_quota=1), "cpu quota: .*CONFIG_CFS_BANDWIDTH"),
        (V2, "cpu", "cpu.weight", Limits(cpu_quota=1), "cpu quota: .*CONFIG_CFS_BANDWIDTH"),
        (V1, "cpu", "cpu.shares", Limits(cpu_burst=1), r"cpu burst: .*Linux 5\.14"),
        (V2, "cpu", "cpu.max", Limits(cpu_burst=1), r"cpu burst: .*Linux 5\.14"),
        (V1, "cpu", "cpu.shares", Limits(cpu_rt_runtime=1), "real-time cpu limit: .*CONFIG_RT_GROUP_SCHED"),
        (V2, "io", "io.stat", Limits(io=(IoLimit(8, 0, read_bps=1),)), "io limit: .*CONFIG_BLK_DEV_THROTTLING"),
        (V2, "io", "io.stat", Limits(io_weight=10), "io weight: .*CONFIG_BLK_CGROUP_IOCOST"),
        (V1, "io", "blkio.reset_stats", Limits(io_weight=10), "io weight: .*modprobe bfq"),
        (V1, "hugetlb", "hugetlb.1GB.max", Limits(hugepages={"2MB": 1}), r"hugetlb\.2MB\.limit_in_bytes: .*no such file"),
    ],
)
def test_a_limit_that_this_kernel_lacks_is_refused_with_the_reason(
    layout: Layout, name: str, there: str, limits: Limits, reason: str
) -> None:
    written(limits, layout)  # not known to be missing: only writing it will tell
    with pytest.raises(Unsupported, match=reason):
        written(limits, with_files(layout, name, there))


def test_swap_contains_ram() -> None:
    assert Limits(memory=0, memory_swap=0) and Limits(memory=3, memory_swap=3)
    for limits in ({"memory_swap": 2}, {"memory_swap": 0}, {"memory": -1, "memory_swap": 2}, {"memory": 3, "memory_swap": 2}):
        with pytest.raises(InvalidInput, match="memory_swap"):
            replace(Limits(), **limits)


def test_a_setting_as_a_line_of_shell() -> None:
    found = settings("labkit/c1", Limits(memory=5), V1)
    assert found[-1].shell() == "echo '5' > /cg/memory/labkit/c1/memory.limit_in_bytes"
    assert found[0].shell() == "grep -q . /cg/cpuset/labkit/cpuset.cpus || cat /cg/cpuset/cpuset.cpus > /cg/cpuset/labkit/cpuset.cpus"


def test_every_setting_says_why() -> None:
    limits = Limits(memory=1, cpu_quota=1, pids=1, cpus="0", io_weight=10, hugepages={"2MB": 1}, unified={"misc.max": "a 1"})
    assert all(len(each.why) > 10 for layout in (V1, V2) for each in settings("a/b", replace(limits, unified={}), layout))
    assert Controller("cpu", 2, "/cg").files == frozenset()
