"""Control groups for real, in whatever version this machine has its controllers; and in version 2 wherever it is mounted."""

from __future__ import annotations

import mmap
import os
import select
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labkit.errors import Conflict, InvalidInput, KernelError, NotFound, Unsupported
from labkit.linux import cgroups, processes, syscalls
from labkit.linux.cgroups import Cgroup, Controller, IoLimit, Layout, Limits

InChild = Callable[[Callable[[], Any]], Any]

LAYOUT = cgroups.detect()
CORE = Layout({name: Controller(name, 2, LAYOUT.unified or "") for name in ("cpuacct", "freezer", "devices")}, LAYOUT.unified)
"""What the v2 tree can do without controllers, which is all that it can on a hybrid machine."""

MIB = 1 << 20


@pytest.fixture(params=[pytest.param(LAYOUT, id=LAYOUT.mode), *([pytest.param(CORE, id="core of v2")] if LAYOUT.unified else [])])
def group(request: pytest.FixtureRequest) -> Iterator[Cgroup]:
    """A new group, in all hierarchies or in the v2 tree alone."""
    with cgroups.create(f"labkit/test:{os.getpid()}", layout=request.param) as group:  # /proc/PID/cgroup has colons too
        yield group


@pytest.fixture
def limited() -> Iterator[Callable[..., Cgroup]]:
    """Makes groups with limits; they end with the test."""
    made: list[Cgroup] = []

    def make(**limits: Any) -> Cgroup:
        made.append(cgroups.create(f"labkit/test-{os.getpid()}-{len(made)}", Limits(**limits)))
        return made[-1]

    yield make
    for group in made:
        group.kill()
        group.delete()


def spawn(group: Cgroup, do: Callable[[], object] = signal.pause) -> int:
    """The PID of a child that is in the group and does something."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            group.add()
            os.write(writer, b"!")
            do()
            os._exit(0)
        finally:
            os._exit(1)
    assert select.select([reader], [], [], 60)[0] and os.read(reader, 1) == b"!"
    os.close(reader)
    os.close(writer)
    return pid


def wait(pid: int) -> int:
    """The exit status, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def use_cpu(seconds: float) -> None:
    began = time.process_time()  # the fork itself, before the child was in its group, may have cost as much
    while time.process_time() - began < seconds:
        pass


# Limits


def test_a_memory_hog_is_killed_and_counted_and_its_neighbour_lives(limited: Callable[..., Cgroup]) -> None:
    hogs, others = limited(memory=40 * MIB, memory_swap=50 * MIB), limited(memory=40 * MIB, memory_swap=50 * MIB)
    neighbour = spawn(others)
    assert wait(spawn(hogs, lambda: bytearray(100 * MIB))) == -signal.SIGKILL
    assert hogs.events().oom_kill == 1
    assert (hogs.events().memory_max_hit or 0) > 0
    assert (hogs.usage().memory_peak or 0) <= 40 * MIB
    assert others.events().oom_kill == 0
    assert processes.alive(neighbour)
    others.kill()
    wait(neighbour)


def test_memory_that_fits_is_held_and_counted(limited: Callable[..., Cgroup]) -> None:
    group = limited(memory=80 * MIB)
    reader, writer = os.pipe()

    def hold() -> None:
        held = bytearray(20 * MIB)
        os.write(writer, b"!")
        signal.pause()
        del held

    pid = spawn(group, hold)
    os.read(reader, 1)
    usage = group.usage()
    assert usage.memory is not None and 20 * MIB <= usage.memory <= 80 * MIB
    assert usage.memory_peak is not None and usage.memory_peak >= 20 * MIB
    assert usage.pids == 1
    assert usage.swap == 0
    group.kill()
    assert wait(pid) == -signal.SIGKILL
    os.close(reader)
    os.close(writer)


def test_a_fork_bomb_stays_inside_its_limit_and_is_killed(limited: Callable[..., Cgroup]) -> None:
    group = limited(pids=20)

    def bomb() -> None:
        while True:
            try:
                os.fork()
            except OSError:
                pass

    pid = spawn(group, bomb)
    while not group.events().pids_max_hit:
        assert len(group.processes()) <= 20
    assert group.usage().pids == 20
    group.kill()
    assert group.processes() == ()
    assert wait(pid) == -signal.SIGKILL


def test_whoever_has_used_up_its_quota_is_throttled_and_that_is_counted(limited: Callable[..., Cgroup]) -> None:
    slow, free = limited(cpu_quota=1_000, cpu_period=20_000), limited()
    pids = [spawn(group, lambda: use_cpu(0.02)) for group in (slow, free)]
    assert [wait(pid) for pid in pids] == [0, 0]
    events = slow.events()
    assert events.periods is not None and events.periods >= 3
    assert events.throttled_periods is not None and 2 <= events.throttled_periods <= events.periods
    assert events.throttled_usec is not None and events.throttled_usec > 10_000
    assert free.events().throttled_periods == 0
    assert all(15_000 <= (group.usage().cpu_usec or 0) < 5_000_000 for group in (slow, free))


def test_of_two_groups_on_one_cpu_the_heavier_one_gets_more(limited: Callable[..., Cgroup]) -> None:
    cpu = str(max(os.sched_getaffinity(0)))
    light, heavy = limited(cpu_weight=50, cpus=cpu), limited(cpu_weight=500, cpus=cpu)
    busy = spawn(light, lambda: use_cpu(60))
    assert wait(spawn(heavy, lambda: use_cpu(0.3))) == 0
    assert (light.usage().cpu_usec or 0) < (heavy.usage().cpu_usec or 0)
    light.kill()
    wait(busy)


def test_processes_run_on_the_cpus_of_their_group_alone(limited: Callable[..., Cgroup], in_child: InChild) -> None:
    last = max(os.sched_getaffinity(0))
    group = limited(cpus=str(last))

    def affinity() -> set[int]:
        group.add()
        return os.sched_getaffinity(0)

    assert in_child(affinity) == {last}
    assert group.limits_in_force().cpus == str(last)


def test_a_group_below_one_with_few_cpus_has_no_more(limited: Callable[..., Cgroup]) -> None:
    last = str(max(os.sched_getaffinity(0)))
    above = limited(cpus=last)
    below = cgroups.create(f"{above.path}/below")
    assert below.limits_in_force().cpus == last
    assert above.limits_in_force().cpus == last


def test_limits_are_in_force_as_they_were_set(limited: Callable[..., Cgroup]) -> None:
    limits = {
        "memory": 64 * MIB, "memory_swap": 96 * MIB, "memory_reservation": 32 * MIB, "cpu_quota": 30_000, "cpu_period": 60_000,
        "cpu_burst": 10_000, "cpu_weight": 300, "pids": 20,
    }  # fmt: skip
    found = limited(**limits).limits_in_force()
    assert {name: getattr(found, name) for name in limits} == limits


def test_an_idle_group_becomes_busy_again(limited: Callable[..., Cgroup]) -> None:
    group = limited(cpu_idle=1, cpu_weight=300)
    assert group.limits_in_force().cpu_idle == 1
    group.limit(Limits(cpu_idle=0, cpu_weight=300))
    assert (group.limits_in_force().cpu_idle, group.limits_in_force().cpu_weight) == (0, 300)


def test_writing_to_a_disk_is_counted_and_slowed_down(limited: Callable[..., Cgroup]) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        disk = disk_below(directory)
        if disk is None:
            pytest.skip("/var/tmp is on no block device")

        def write() -> None:
            file = os.open(f"{directory}/file", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
            block = mmap.mmap(-1, 256 << 10)  # memory that begins with a page, as O_DIRECT wants it
            os.write(file, block)
            os.preadv(file, [block], 0)

        free, slow = limited(), limited(io=(IoLimit(*disk, write_bps=MIB, read_iops=1000),))
        assert wait(spawn(free, write)) == 0
        began = time.monotonic()
        assert wait(spawn(slow, write)) == 0
        assert time.monotonic() - began > 0.2
    for group in (free, slow):
        usage = group.usage()
        assert usage.io_read is not None and usage.io_read >= 256 << 10
        assert usage.io_write is not None and 256 << 10 <= usage.io_write < 16 * MIB
    assert slow.limits_in_force().io == (IoLimit(*disk, write_bps=MIB, read_iops=1000),)
    assert free.limits_in_force().io == ()


def disk_below(path: str) -> tuple[int, int] | None:
    """The numbers of the whole disk that a file system is on."""
    device = os.stat(path).st_dev
    where = os.path.realpath(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    if os.path.exists(f"{where}/partition"):
        where = os.path.dirname(where)
    try:
        with open(f"{where}/dev") as file:
            major, minor = file.read().split(":")
    except FileNotFoundError:
        return None
    return int(major), int(minor)


def test_limits_can_be_raised_lowered_and_lifted(limited: Callable[..., Cgroup]) -> None:
    group = limited(memory=64 * MIB, memory_swap=64 * MIB, pids=20, cpu_quota=10_000)
    for size in (128 * MIB, 32 * MIB):  # RAM may never be more than RAM and swap together: the order is not the same both ways
        group.limit(Limits(memory=size, memory_swap=size))
        found = group.limits_in_force()
        assert (found.memory, found.memory_swap, found.pids, found.cpu_quota) == (size, size, 20, 10_000)
    group.limit(Limits(memory=-1, memory_swap=-1, pids=-1, cpu_quota=-1))
    found = group.limits_in_force()
    assert (found.memory, found.memory_swap, found.pids, found.cpu_quota) == (None, None, None, None)


def test_a_limit_that_cannot_be_is_refused_with_a_cause_and_leaves_no_group() -> None:
    path = f"labkit/test-{os.getpid()}-refused"
    with pytest.raises(KernelError, match=r"write 4095 to .*cpuset\.cpus: E[A-Z]+ \(.*this machine"):
        cgroups.create(path, Limits(cpus="4095"))
    with pytest.raises(KernelError, match="no more than the quota"):
        cgroups.create(path, Limits(cpu_quota=10_000, cpu_burst=20_000))
    with pytest.raises(InvalidInput):
        cgroups.create(path, Limits(unified={"../memory.max": "1"}), CORE)
    assert not Cgroup(path).exists()


def test_a_limit_that_this_machine_cannot_set_is_refused_and_leaves_no_group() -> None:
    path = f"labkit/test-{os.getpid()}-refused"
    with pytest.raises(Unsupported, match="memory"):
        cgroups.create(path, Limits(memory=MIB), CORE)
    file = "cpu.nothing" if LAYOUT.mode == "v2" else "memory.high"
    with pytest.raises(Unsupported, match=file):
        cgroups.create(path, Limits(unified={file: "1"}))
    assert not Cgroup(path).exists()


def test_a_group_that_exists_is_taken_and_keeps_its_processes_when_a_limit_is_refused(limited: Callable[..., Cgroup]) -> None:
    group = limited(pids=20)
    pid = spawn(group)
    assert cgroups.create(group.path, Limits(pids=30)).limits_in_force().pids == 30
    with pytest.raises(KernelError):
        cgroups.create(group.path, Limits(cpus="4095"))
    assert group.processes() == (pid,)
    group.kill()
    wait(pid)


# Version 2 handing controllers down: on a hybrid machine with what no v1 tree has taken.


def test_v2_hands_a_controller_down_from_the_root() -> None:
    name = next((name for name, each in LAYOUT.controllers.items() if each.version == 2 and name in ("hugetlb", "pids")), None)
    if name is None or LAYOUT.unified is None:
        pytest.skip("this machine has neither hugetlb nor pids in a v2 tree")
    controls = [f"{LAYOUT.unified}/labkit/cgroup.subtree_control", f"{LAYOUT.unified}/cgroup.subtree_control"]
    with open(controls[1]) as file:
        before = file.read().split()
    if name == "hugetlb":
        size = next(each for each in os.listdir("/sys/kernel/mm/hugepages") if each == "hugepages-2048kB") and "2MB"
        limits, file_name, value = Limits(hugepages={size: 4 * MIB}), f"hugetlb.{size}.max", str(4 * MIB)
    else:
        limits, file_name, value = Limits(pids=7), "pids.max", "7"
    with cgroups.create(f"labkit/test-{os.getpid()}-v2", limits) as group:
        assert group.read(file_name) == value
    if name not in before:  # as it was
        for control in controls:
            cgroups.write(control, f"-{name}")


# Processes


def test_a_process_is_where_it_was_moved_and_so_are_its_children(group: Cgroup) -> None:
    pid = spawn(group, lambda: wait(os.fork() or signal.pause()))  # type: ignore[arg-type]
    while len(group.processes()) < 2:
        pass
    assert pid in group.processes()
    names = {"unified"} if group.layout is CORE else {*group.layout.controllers} - {"cpuacct", "freezer", "devices"}
    versions = {name: "unified" if name == "unified" or group.layout.controllers[name].version == 2 else name for name in names}
    assert {cgroups.of(pid)[key] for key in versions.values()} == {f"/{group.path}"}
    group.kill()
    assert group.processes() == ()
    assert wait(pid) == -signal.SIGKILL


def test_another_process_is_moved(group: Cgroup) -> None:
    pid = os.fork()
    if pid == 0:
        signal.pause()
    group.add(pid)
    assert group.processes() == (pid,)
    group.kill()
    wait(pid)


def test_a_process_with_threads_is_moved_whole(group: Cgroup, in_child: InChild) -> None:
    def join() -> set[str]:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        group.add()
        key = "unified" if group.layout.mode == "v2" else "memory"
        return {cgroups.of(f"self/task/{task}")[key] for task in os.listdir("/proc/self/task")}

    assert in_child(join) == {f"/{group.path}"}


def test_a_process_moves_itself_without_waiting_for_the_forks_of_the_machine(limited: Callable[..., Cgroup], in_child: InChild) -> None:
    group = limited()
    v1 = [directory for directory in group.directories if os.path.exists(f"{directory}/tasks")]
    written: list[str] = []

    def join() -> list[str]:
        real = cgroups.group.write
        cgroups.group.write = lambda file, value: (written.append(os.path.basename(file)), real(file, value))[1]  # type: ignore[attr-defined]
        cgroups.join(v1)
        return written

    assert in_child(join) == ["tasks"] * len(v1)


def test_a_process_that_is_gone_cannot_be_moved(group: Cgroup) -> None:
    with pytest.raises(KernelError, match="there is no such process"):
        group.add(4_194_304)


def test_a_child_is_born_in_a_v2_group(in_child: InChild) -> None:
    if not LAYOUT.unified:
        pytest.skip("no v2 tree is mounted")
    with cgroups.create(f"labkit/test-{os.getpid()}-born", layout=CORE) as group:

        def bear() -> str:
            fd = os.open(group.directories[-1], os.O_RDONLY)
            pid, _ = syscalls.clone(0, cgroup=fd)
            if pid == 0:
                signal.pause()
            found = cgroups.of(pid)["unified"]
            group.kill()
            wait(pid)
            return found

        assert in_child(bear) == f"/{group.path}"


def test_the_groups_of_the_caller_and_of_nobody() -> None:
    assert cgroups.of() == cgroups.of(os.getpid())
    assert "blkio" not in cgroups.of()
    with pytest.raises(NotFound):
        cgroups.of(4_194_304)


# Freezing, killing, deleting


def test_a_frozen_process_stands_still_until_it_is_thawed(group: Cgroup) -> None:
    asks, answers = os.pipe(), os.pipe()
    pid = spawn(group, lambda: [os.write(answers[1], os.read(asks[0], 1)) for _ in range(2)])
    os.write(asks[1], b"1")
    assert os.read(answers[0], 1) == b"1"
    assert not group.frozen
    group.freeze()
    assert group.frozen
    os.write(asks[1], b"2")
    assert select.select([answers[0]], [], [], 0.1)[0] == []
    group.thaw()
    assert os.read(answers[0], 1) == b"2"
    assert not group.frozen
    assert wait(pid) == 0
    for fd in (*asks, *answers):
        os.close(fd)


def test_many_processes_are_frozen_at_once(group: Cgroup) -> None:
    pids = [spawn(group, lambda: use_cpu(60)) for _ in range(5)]
    group.freeze()
    before = [processes_cpu(pid) for pid in pids]
    assert select.select([], [], [], 0.05) == ([], [], [])
    assert [processes_cpu(pid) for pid in pids] == before
    group.kill()
    assert [wait(pid) for pid in pids] == [-signal.SIGKILL] * 5


def processes_cpu(pid: int) -> str:
    with open(f"/proc/{pid}/schedstat") as file:
        return file.read().split()[0]


def test_a_frozen_group_is_killed_and_so_are_frozen_ones_below_it(group: Cgroup) -> None:
    below, other = (cgroups.create(f"{group.path}/{name}", layout=group.layout) for name in ("below", "other"))
    pids = [spawn(below), spawn(other)]
    below.freeze()
    group.freeze()
    group.kill()
    assert [wait(pid) for pid in pids] == [-signal.SIGKILL] * 2
    assert group.processes() == ()


def test_a_process_that_is_in_some_of_the_hierarchies_alone_is_killed_too(group: Cgroup) -> None:
    pid = os.fork()
    if pid == 0:
        signal.pause()
    cgroups.join(group.directories[:1], pid)
    group.kill()
    assert wait(pid) == -signal.SIGKILL


def test_a_group_whose_removal_was_interrupted_is_killed_in_the_hierarchies_where_it_is_left(group: Cgroup) -> None:
    pid = spawn(group)
    freezer = LAYOUT.controllers["freezer"]
    if freezer.version == 1 and group.layout is LAYOUT:
        with open(f"{freezer.mountpoint}/cgroup.procs", "w") as root:
            root.write(str(pid))
        os.rmdir(f"{freezer.mountpoint}/{group.path}")
    group.kill()
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    group.delete()
    assert not group.exists()


def test_killing_a_group_leaves_its_neighbour_alone(limited: Callable[..., Cgroup]) -> None:
    one, other = limited(), limited()
    pids = [spawn(one), spawn(other)]
    before = os.listdir("/proc/self/fd")
    one.kill()
    assert wait(pids[0]) == -signal.SIGKILL
    assert os.listdir("/proc/self/fd") == before
    assert processes.alive(pids[1]) and other.processes() == (pids[1],)
    other.kill()
    wait(pids[1])


def test_a_group_is_deleted_with_the_groups_below_it(group: Cgroup) -> None:
    for below in ("a", "a/b", "c"):
        cgroups.create(f"{group.path}/{below}", layout=group.layout)
    group.delete()
    assert not group.exists() and not any(map(os.path.exists, group.directories))
    group.delete()


def test_deleting_waits_for_a_process_that_ends(group: Cgroup) -> None:
    reader, writer = os.pipe()
    pid = spawn(group, lambda: os.read(reader, 1))
    timer = threading.Timer(0.1, os.write, (writer, b"!"))
    timer.start()
    began = time.thread_time()
    group.delete(patience=20)
    assert time.thread_time() - began < 0.05  # it slept
    assert not group.exists()
    assert wait(pid) == 0
    timer.join()
    os.close(reader)
    os.close(writer)


def test_deleting_kills_nobody_and_names_who_is_left(group: Cgroup) -> None:
    pid = spawn(group)
    with pytest.raises(Conflict, match=rf"{group.path}: processes \[{pid}\] are still in it"):
        group.delete(patience=0)
    assert processes.alive(pid)
    group.kill()
    wait(pid)


def test_at_the_end_of_a_with_the_group_is_killed_and_gone() -> None:
    with cgroups.create(f"labkit/test-{os.getpid()}-with") as group:
        pid = spawn(group)
        assert cgroups.open(group.path).processes() == (pid,)
        assert str(group) == f"Cgroup('{group.path}')"
    assert wait(pid) == -signal.SIGKILL
    with pytest.raises(NotFound):
        cgroups.open(group.path)


def test_two_groups_are_made_and_deleted_at_once() -> None:
    def live(number: int) -> None:
        for _ in range(20):
            with cgroups.create(f"labkit/test-{os.getpid()}-at-once/{number}", Limits(pids=number + 1)) as group:
                assert group.limits_in_force().pids == number + 1

    failures: list[threading.ExceptHookArgs] = []
    threading.excepthook = failures.append
    threads = [threading.Thread(target=live, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    threading.excepthook = threading.__excepthook__
    cgroups.open(f"labkit/test-{os.getpid()}-at-once").delete()
    assert failures == []


# Accounts


def test_cpu_time_is_counted(group: Cgroup) -> None:
    assert wait(spawn(group, lambda: use_cpu(0.05))) == 0
    used = group.usage().cpu_usec
    assert used is not None and 40_000 <= used < 5_000_000


def test_whoever_waits_for_the_cpu_is_under_pressure() -> None:
    if not LAYOUT.unified or not os.path.exists("/proc/pressure/cpu"):
        pytest.skip("no v2 tree is mounted, or this kernel has no pressure stall information")
    cpu = max(os.sched_getaffinity(0))
    with cgroups.create(f"labkit/test-{os.getpid()}-pressure") as group:
        pids = [spawn(group, lambda: (os.sched_setaffinity(0, {cpu}), use_cpu(0.1))) for _ in range(2)]
        assert [wait(pid) for pid in pids] == [0, 0]
        pressure = group.pressure("cpu")
    assert pressure is not None and pressure.some_usec > 10_000
    assert group.pressure("cpu") is None


def test_the_layout_of_this_machine_agrees_with_the_kernel() -> None:
    assert cgroups.detect() is cgroups.detect()
    if LAYOUT.unified:
        with open(f"{LAYOUT.unified}/cgroup.controllers") as file:
            v2 = set(file.read().split()) & {"cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"}
        assert v2 <= {name for name, each in LAYOUT.controllers.items() if each.version == 2}
    for name, controller in LAYOUT.controllers.items():
        key = "unified" if controller.version == 2 else name
        assert key in cgroups.of(), name
        assert os.path.isfile(f"{controller.mountpoint}/cgroup.procs"), name


def test_the_files_that_a_controller_is_known_to_have_are_those_of_a_new_group(group: Cgroup) -> None:
    for name, controller in group.layout.controllers.items():
        for file in controller.files:
            assert os.path.exists(group.file(file)), (name, file)
