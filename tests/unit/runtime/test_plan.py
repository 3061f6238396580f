"""``labkit.runtime.planner`` and the plan that it makes: data, before anything is done. On no machine, and without root."""

from __future__ import annotations

import itertools
import os
import pickle
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import InvalidInput, Unsupported
from labkit.linux import cgroups, syscalls
from labkit.runtime import spec
from labkit.runtime.steps import birth, groups
from labkit.runtime.steps.filesystem import MountRoot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from labkit.runtime.plans import Plan

    PlanOf = Callable[..., Plan]

IDS = [{"containerID": 0, "hostID": 100000, "size": 65536}]
ALL = [{"type": kind} for kind in ("cgroup", "ipc", "mount", "network", "pid", "user", "uts", "time")]
CAPS = {name: ["CAP_CHOWN", "CAP_KILL"] for name in ("bounding", "effective", "permitted")}
SECCOMP = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}
HOOK = [{"path": "/bin/hook", "args": ["hook", "--now"]}]


def names(plan: Plan) -> list[str]:
    return [type(step).__name__ for step in plan]


def only(plan: Plan, name: str) -> object:
    """The one step of that name."""
    (step,) = (step for step in plan if type(step).__name__ == name)
    return step


# The order


def test_the_default_configuration_on_version_1(plan_of: PlanOf) -> None:
    assert names(plan_of()) == [
        "MakeCgroup", *["SetCgroupFile"] * 4, "AllowDevices",
        "Clone", "JoinCgroup", "BringUpLoopback", "SetHostname",
        "SetPropagation", "BindRoot", *["Mount"] * 6, *["Mount"] * (1 + 7), "MakeDevices", "PivotRoot",
        "NewSession", "RemountReadonly", "RemountReadonly", "ReadonlyPaths", "MaskPaths",
        "SetRlimits", "ChangeDirectory", "DropBounding", "SetUser", "SetCapabilities", "NoNewPrivileges", "CheckCommand",
        "AwaitStart", "Exec",
    ]  # fmt: skip


def test_on_version_2_init_is_born_in_its_group_and_the_kernel_asks_a_program_about_devices(plan_of: PlanOf) -> None:
    plan = plan_of(on="v2")
    assert names(plan)[:6] == ["MakeCgroup", "SetCgroupFile", "SetCgroupFile", "AllowDevices", "Clone", "BringUpLoopback"]
    devices, clone = only(plan, "AllowDevices"), only(plan, "Clone")
    assert isinstance(devices, groups.AllowDevices) and isinstance(clone, birth.Clone)
    assert (devices.lines, devices.directory, len(devices.program) % 8) == ((), "/cg/labkit/box", 0)
    assert clone.cgroup == "/cg/labkit/box"


def test_on_a_hybrid_machine_it_is_born_in_the_one_and_moves_into_the_others(plan_of: PlanOf) -> None:
    plan = plan_of(on="hybrid")
    clone, join = only(plan, "Clone"), only(plan, "JoinCgroup")
    assert isinstance(clone, birth.Clone) and isinstance(join, groups.JoinCgroup)
    assert (clone.cgroup, join.directories) == ("/cg/unified/labkit/box", ("/cg/memory/labkit/box", "/cg/devices/labkit/box"))


def test_without_a_stage_the_cgroup_namespace_comes_after_its_group(plan_of: PlanOf) -> None:
    found = names(plan_of({"linux.namespaces": [{"type": kind} for kind in ("mount", "uts", "cgroup")]}))
    at = found.index("Clone")
    assert found[at : at + 3] == ["Clone", "JoinCgroup", "UnshareCgroup"]


# What must come before what, whatever is asked for: (earlier, later), and the bundle that has both.
EVERYTHING = {
    "linux.namespaces": ALL,
    "linux.uidMappings": IDS,
    "linux.gidMappings": IDS,
    "linux.timeOffsets": {"boottime": {"secs": 60}},
    "linux.sysctl": {"net.ipv4.ip_forward": "1"},
    "linux.seccomp": SECCOMP,
    "linux.rootfsPropagation": "rshared",
    "linux.personality": {"domain": "LINUX32"},
    "linux.resources.memory": {"limit": 1 << 26},
    "process.terminal": True,
    "process.oomScoreAdj": 5,
    "process.user": {"uid": 7, "gid": 8},
    "domainname": "lab.test",
    "mounts[+]": {"destination": "/data", "source": "/srv", "options": ["rbind"], "uidMappings": IDS, "gidMappings": IDS},
    **{f"hooks.{moment}": HOOK for moment in ("createRuntime", "createContainer", "startContainer")},
}
ORDER = [
    ("MakeCgroup", "SetCgroupFile", "a group's files appear with its directory"),
    ("AllowDevices", "Clone", "no process of the container is ever without the device rules"),
    ("SetCgroupFile", "JoinCgroup", "nor without its limits"),
    ("JoinCgroup", "CloneSibling", "init is born in its group, so that its cgroup namespace has it as root"),
    ("UnshareTime", "CloneSibling", "the clocks' offsets are fixed once somebody is inside"),
    ("CloneSibling", "SetIdMaps", "there is a user namespace to map"),
    ("SetIdMaps", "BecomeRoot", "0 inside has a meaning"),
    ("BecomeRoot", "Mount", "mounting takes root of the user namespace"),
    ("SetPropagation", "BindRoot", "no mount may reach the host"),
    ("BindRoot", "Mount", "what is mounted lies below the bound root"),
    ("CloneMount", "Clone", "the host's mounts are copied by the host"),
    ("CloneMount", "AttachMount", ""),
    ("Mount", "MakeDevices", "nodes go into the /dev that was mounted"),
    ("MakeDevices", "PivotRoot", "their bind fallback takes the host's nodes"),
    ("RunHostHooks", "PivotRoot", "createRuntime: before pivot_root"),
    ("RunHostHooks", "RunHooks", "createRuntime before createContainer"),
    ("PivotRoot", "OpenTerminal", "the terminal comes from the container's own devpts"),
    ("NewSession", "OpenTerminal", "a terminal is taken by the leader of a session without one"),
    ("OpenTerminal", "RemountReadonly", "/dev/console is made while / may be written"),
    ("PivotRoot", "SetSysctls", "these are written below the container's /proc"),
    ("SetSysctls", "ReadonlyPaths", "/proc/sys is read-only afterwards"),
    ("ReadonlyPaths", "MaskPaths", ""),
    ("PivotRoot", "MaskPaths", "the paths are the container's"),
    ("SetIdMaps", "SetOomScoreFromHost", ""),
    ("SetOomScoreFromHost", "BecomeRoot", "afterwards its files in /proc are nobody's"),
    ("SetRlimitsFromHost", "BecomeRoot", ""),
    ("DropBounding", "SetUser", "it takes CAP_SETPCAP"),
    ("SetUser", "SetCapabilities", "a change of user clears what was permitted"),
    ("SetCapabilities", "LoadSeccomp", "with no_new_privs the filter is last and may forbid all of this"),
    ("NoNewPrivileges", "LoadSeccomp", "without CAP_SYS_ADMIN a filter is only taken after it"),
    ("ChangeDirectory", "SetUser", "root may enter any directory"),
    ("SetUser", "CheckCommand", "whether it may be run is asked as the user"),
    ("CheckCommand", "AwaitStart", "a missing program is an error of create"),
    ("AwaitStart", "LoadSeccomp", ""),
    ("AwaitStart", "Exec", ""),
    ("LoadSeccomp", "Exec", ""),
]


@pytest.mark.parametrize(("earlier", "later", "why"), ORDER, ids=[f"{a}-{b}" for a, b, _ in ORDER])
def test_one_step_stands_before_another(plan_of: PlanOf, earlier: str, later: str, why: str) -> None:
    found = names(plan_of(EVERYTHING))
    assert found.index(earlier) < found.index(later), why


def test_without_no_new_privs_the_filter_is_loaded_while_there_is_the_right_to(plan_of: PlanOf) -> None:
    found = names(plan_of({"linux.seccomp": SECCOMP, "process.noNewPrivileges": False}))
    assert found.index("LoadSeccomp") < found.index("DropBounding")
    found = names(plan_of({"linux.seccomp": SECCOMP}))
    assert found[-2:] == ["LoadSeccomp", "Exec"]


def test_limits_are_set_while_there_is_the_right_to_raise_them_by_the_host_in_a_user_namespace(plan_of: PlanOf) -> None:
    found = names(plan_of({"process.oomScoreAdj": 5}))
    assert found.index("SetRlimits") < found.index("SetOomScore") < found.index("SetUser")
    joined = names(plan_of({"process.oomScoreAdj": 5, "linux.namespaces[+]": {"type": "user", "path": "/proc/4711/ns/user"}}))
    assert not {"SetRlimits", "SetOomScore", "SetIdMaps"} & set(joined)
    assert joined.index("CloneSibling") < joined.index("SetOomScoreFromHost") < joined.index("BecomeRoot")


def test_a_filter_with_an_agent_is_loaded_while_the_host_side_listens(plan_of: PlanOf) -> None:
    found = names(plan_of({"linux.seccomp": {**SECCOMP, "listenerPath": "/run/agent.sock"}}))
    assert found.index("LoadSeccomp") < found.index("AwaitStart")


# Each property of the configuration gives its step

GIVES = {
    "memory": ({"linux.resources.memory": {"limit": 67108864}}, "write 67108864 to /cg/memory/labkit/box/memory.limit_in_bytes"),
    "pids": ({"linux.resources.pids": {"limit": 20}}, "write 20 to /cg/pids/labkit/box/pids.max"),
    "quota": ({"linux.resources.cpu": {"quota": 5000}}, "write 5000 to /cg/cpu/labkit/box/cpu.cfs_quota_us"),
    "cgroup path, relative": ({"linux.cgroupsPath": "a/b"}, "mkdir labkit/a/b in 7 cgroup hierarchies"),
    "cgroup path, absolute": ({"linux.cgroupsPath": "/a/b"}, "mkdir a/b in 7 cgroup hierarchies"),
    "device rules": ({"linux.resources.devices[+]": {"allow": True, "type": "c", "major": 10, "minor": 229}}, "write 12 device rules"),
    "namespaces": ({"linux.namespaces": [{"type": "mount"}, {"type": "uts"}]}, "clone into new mnt, uts namespaces"),
    "no namespace but mount": ({"linux.namespaces": [{"type": "mount"}], "hostname": ""}, "clone into new mnt namespaces"),
    "namespaces that exist": ({"linux.namespaces[1].path": "/run/netns/shop"}, "enter net /run/netns/shop"),
    "clocks": (
        {"linux.namespaces[+]": {"type": "time"}, "linux.timeOffsets": {"boottime": {"secs": 60}, "monotonic": {"secs": -5}}},
        "unshare time, boottime +60 s, monotonic -5 s",
    ),
    "users": (
        {"linux.namespaces[+]": {"type": "user"}, "linux.uidMappings": IDS, "linux.gidMappings": IDS},
        "map uid 0 to 100000 (65536)",
    ),
    "host name": ({"hostname": "student-7"}, "sethostname student-7"),
    "domain name": ({"domainname": "lab.test"}, "setdomainname lab.test"),
    "a tmpfs": (
        {"mounts[+]": {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m"]}},
        "mount tmpfs on /tmp (size=1m)",
    ),
    "a bind": ({"mounts[+]": {"destination": "/data", "source": "/srv", "options": ["rbind", "ro"]}}, "bind /srv on /data (ro)"),
    "a bind from the bundle": ({"mounts[+]": {"destination": "/d", "source": "data", "options": ["bind"]}}, "bind /bundle/data on /d"),
    "an idmapped bind": (
        {"mounts[+]": {"destination": "/d", "source": "/srv", "options": ["bind"], "uidMappings": IDS, "gidMappings": IDS}},
        "copy the mount /srv with mapped ids",
    ),
    "its place": (
        {"mounts[+]": {"destination": "/d", "source": "/srv", "options": ["bind"], "uidMappings": IDS, "gidMappings": IDS}},
        "attach the copied mount at /d",
    ),
    "the root": ({"root.path": "elsewhere"}, "bind /bundle/elsewhere on itself"),
    "an absolute root": ({"root.path": "/srv/root"}, "pivot_root to /srv/root"),
    "a device": (
        {"linux.devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]},
        "make null zero full random urandom tty fuse in /dev",
    ),
    "propagation": ({"linux.rootfsPropagation": "rshared"}, "make / rshared"),
    "a terminal": ({"process.terminal": True}, "open a terminal"),
    "its size": (
        {"process.terminal": True, "process.consoleSize": {"height": 24, "width": 80}},
        "open a terminal of 24 rows and 80 columns",
    ),
    "sysctls": ({"linux.sysctl": {"net.ipv4.ip_forward": "1"}}, "sysctl net.ipv4.ip_forward=1"),
    "read-only paths": ({"linux.readonlyPaths": ["/a", "/b"]}, "make /a, /b read-only"),
    "masked paths": ({"linux.maskedPaths": ["/a", "/b"]}, "hide /a, /b"),
    "rlimits": ({"process.rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 1}]}, "setrlimit core 0:1"),
    "oom score": ({"process.oomScoreAdj": -7}, "oom_score_adj -7"),
    "scheduling": (
        {
            "process.scheduler": {"policy": "SCHED_BATCH"},
            "process.ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 0},
            "linux.personality": {"domain": "LINUX32"},
        },
        "sched_setattr, ioprio_set, personality",
    ),
    "seccomp": ({"linux.seccomp": SECCOMP}, "load a seccomp filter of"),
    "working directory": ({"process.cwd": "/home"}, "chdir /home"),
    "capabilities": ({"process.capabilities": CAPS}, "capset: 2 effective, 0 inheritable, 0 ambient"),
    "bounding set": ({"process.capabilities": CAPS}, "keep 2 of "),
    "user": (
        {"process.user": {"uid": 7, "gid": 8, "additionalGids": [9, 10], "umask": 0o77}},
        "become uid 7, gid 8, groups 9 10, umask 077",
    ),
    "program": ({"process.args": ["echo", "a b"]}, "execve echo 'a b'"),
    "its search": ({"process.args": ["echo"]}, "look for echo"),
    "createRuntime": ({"hooks.createRuntime": HOOK}, "run 1 createRuntime hook"),
    "prestart": ({"hooks.prestart": HOOK * 2}, "run 2 prestart hooks"),
    "createContainer": ({"hooks.createContainer": HOOK}, "run 1 createContainer hook"),
    "startContainer": ({"hooks.startContainer": HOOK}, "run 1 startContainer hook"),
}


@pytest.mark.parametrize(("changes", "step"), GIVES.values(), ids=GIVES.keys())
def test_a_property_gives_its_step(plan_of: PlanOf, changes: dict[str, object], step: str) -> None:
    def has(plan: Plan) -> bool:
        return any(str(each).startswith(step) for each in plan)

    assert has(plan_of(changes)) and not has(plan_of({"process.args": ["nothing"]}))


@pytest.mark.parametrize(
    ("changes", "step"),
    [
        ({"process.noNewPrivileges": False}, "NoNewPrivileges"),
        ({"process.rlimits": []}, "SetRlimits"),
        ({"linux.maskedPaths": []}, "MaskPaths"),
        ({"linux.readonlyPaths": []}, "ReadonlyPaths"),
        ({"hostname": ""}, "SetHostname"),
        ({"linux.namespaces": [{"type": "mount"}, {"type": "uts"}]}, "BringUpLoopback"),
        ({"mounts": [{"destination": "/dev", "source": "/dev", "options": ["rbind"]}]}, "MakeDevices"),
    ],
)
def test_what_is_not_asked_for_is_not_done(plan_of: PlanOf, changes: dict[str, object], step: str) -> None:
    assert step in names(plan_of()) and step not in names(plan_of(changes))


def test_a_bundle_without_device_rules_is_denied_the_hosts_disks_all_the_same(plan_of: PlanOf) -> None:
    plan = plan_of({"linux.resources": {}})
    devices = only(plan, "AllowDevices")
    assert isinstance(devices, groups.AllowDevices)
    first = devices.lines[0]
    assert (first.file.rpartition("/")[2], first.value) == ("devices.deny", "a")


def test_a_writable_root_is_not_made_read_only(plan_of: PlanOf) -> None:
    targets = [str(step) for step in plan_of({"root.readonly": False})]
    assert "remount / read-only" not in targets and "remount / read-only" in [str(step) for step in plan_of()]


def test_a_dev_that_shall_be_read_only_is_written_to_first(plan_of: PlanOf) -> None:
    plan = [str(step) for step in plan_of({"mounts[1].options": ["nosuid", "ro"]})]
    assert plan.index("mount tmpfs on /dev (nosuid)") < plan.index("make null zero full random urandom tty in /dev")
    assert plan.index("make null zero full random urandom tty in /dev") < plan.index("remount /dev read-only")


def test_the_root_can_be_a_union_of_layers_that_the_container_mounts_itself(plan_of: PlanOf) -> None:
    layers = MountRoot("overlay", "overlay", "/bundle/rootfs", ("lowerdir=/l",))
    plan = plan_of(rootfs=(layers,))
    assert layers in plan.steps and layers.side == "container" and "BindRoot" not in names(plan)


def test_a_cgroup_mount_shows_the_containers_own_group_alone(plan_of: PlanOf) -> None:
    def mounted(**how: object) -> list[str]:
        return [str(step) for step in plan_of(**how) if "/sys/fs/cgroup" in str(step) and "read-only" not in str(step)]

    assert [line.split(" (")[0] for line in mounted(on="v2")] == ["bind /cg/labkit/box on /sys/fs/cgroup"]
    own = {"linux.namespaces[+]": {"type": "cgroup"}}
    assert [line.split(" (")[0] for line in mounted(changes=own, on="v2")] == ["mount cgroup2 on /sys/fs/cgroup"]
    with_the_hosts_sys = own | {"mounts[5]": {"destination": "/sys", "type": "bind", "source": "/sys", "options": ["rbind"]}}
    assert mounted(changes=with_the_hosts_sys, on="v2")[-1].startswith("bind /cg/labkit/box on /sys/fs/cgroup")
    assert [line.split(" (")[0] for line in mounted(on="hybrid")] == [
        "mount tmpfs on /sys/fs/cgroup",
        "bind /cg/memory/labkit/box on /sys/fs/cgroup/memory",
        "bind /cg/devices/labkit/box on /sys/fs/cgroup/devices",
    ]
    assert "mount cgroup on /sys/fs/cgroup/memory (nosuid,noexec,nodev,relatime,ro,memory)" in mounted(changes=own, on="hybrid")
    assert "bind /cg/blkio/labkit/box on /sys/fs/cgroup/blkio" in [line.split(" (")[0] for line in mounted(on="v1")]


# What is refused, or warned of


def test_without_a_mount_namespace_the_mounts_would_be_the_hosts(plan_of: PlanOf) -> None:
    with pytest.raises(InvalidInput, match=r"linux.namespaces: must contain mount"):
        plan_of({"linux.namespaces": [{"type": "pid"}], "hostname": "", "linux.maskedPaths": [], "linux.readonlyPaths": []})


@pytest.mark.parametrize("path", ["/", "//", "/..", "../x", "/../x", "a/../../b", "/a/./b"])
def test_a_cgroup_that_is_the_root_or_climbs_is_refused(plan_of: PlanOf, path: str) -> None:
    with pytest.raises(InvalidInput, match="cgroup path"):
        plan_of({"linux.cgroupsPath": path})


def test_a_cgroup_in_systemds_notation_is_refused_with_the_reason(plan_of: PlanOf) -> None:
    with pytest.raises(InvalidInput, match=r"linux.cgroupsPath: system.slice:labkit:box is systemd's notation"):
        plan_of({"linux.cgroupsPath": "system.slice:labkit:box"})


def test_a_limit_that_the_machine_cannot_enforce_is_an_error_and_never_dropped(plan_of: PlanOf) -> None:
    with pytest.raises(Unsupported, match="cpuset"):
        plan_of({"linux.resources.cpu": {"cpus": "0"}}, on="hybrid")
    with pytest.raises(Unsupported, match=r"memory\.high"):
        plan_of({"linux.resources.unified": {"memory.high": "1"}}, on="v1")
    with pytest.raises(Unsupported, match="kernel memory"):
        plan_of({"linux.resources.memory": {"kernel": 1 << 20}})


def test_unknown_capabilities_are_warned_of_and_left_out(plan_of: PlanOf) -> None:
    plan = plan_of({"process.capabilities": {**CAPS, "bounding": ["CAP_CHOWN", "CAP_DANCE"]}})
    assert plan.warnings == ("process.capabilities: CAP_DANCE unknown, ignored",)
    assert str(only(plan, "DropBounding")).startswith("keep 1 of ")


# The plan as a thing


def test_making_a_plan_calls_nothing_of_the_kernel(plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object, **__: object) -> None:
        raise AssertionError("a plan is data")

    for name, function in vars(syscalls).items():
        if callable(function) and name.islower() and name[0] != "_" and name != "prctl":  # which asks how many capabilities there are
            monkeypatch.setattr(syscalls, name, nobody)
    for name in ("fork", "mkdir", "makedirs", "mknod", "chdir"):
        monkeypatch.setattr(os, name, nobody)
    plan = plan_of(EVERYTHING)
    assert plan.shell() and str(plan) and plan.table() and plan.journal()


@pytest.mark.parametrize("on", ["v1", "v2", "hybrid"])
@pytest.mark.parametrize("changes", [{}, EVERYTHING, *(changes for changes, _ in GIVES.values())])
def test_every_step_tells_what_it_does_and_why(plan_of: PlanOf, changes: dict[str, object], on: str) -> None:
    if on == "hybrid" and "linux.resources.cpu" in changes:
        changes = {}  # that machine has no cpu controller
    for step in plan_of(changes, on=on):
        assert step.side in ("host", "container")
        assert str(step) and "\n" not in str(step) and " at 0x" not in str(step)
        assert step.why and "\n" not in step.why and not step.why.endswith(".")
        assert step.man.endswith(")") or step.man.startswith("OCI")
        assert isinstance(step.shell(), str)
        assert type(step).__doc__


def test_the_table_has_a_row_for_each_step_and_the_print_two_lines(plan_of: PlanOf) -> None:
    plan = plan_of()
    rows = plan.table()
    assert [row[0] for row in rows] == [str(number) for number in range(1, len(plan) + 1)]
    assert rows[-1] == (str(len(plan)), "container", "execve sh", plan[-1].why, "execve(2)")
    lines = str(plan).splitlines()
    assert len(lines) == 2 * len(plan)
    assert lines[-2] == f"{len(plan):>3}  container  execve sh" and lines[-1].strip().endswith("(execve(2))")


def test_what_must_be_undone_is_the_group_and_nothing_else(plan_of: PlanOf) -> None:
    assert [type(step).__name__ for step in plan_of(EVERYTHING).journal()] == ["MakeCgroup"]


def test_the_journal_is_undone_backwards(plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch) -> None:
    undone: list[str] = []
    monkeypatch.setattr(groups.SetCgroupFile, "undo", lambda self: undone.append(self.setting.file))
    monkeypatch.setattr(groups.MakeCgroup, "undo", lambda self: undone.append("group"))
    plan = plan_of({"linux.resources.pids": {"limit": 3}})
    plan.undo()
    assert undone[-1] == "group" and len(undone) == 6
    assert undone[:-1] == [step.setting.file for step in plan if isinstance(step, groups.SetCgroupFile)][::-1]


def test_runs_are_cut_where_the_side_changes_and_before_what_waits(plan_of: PlanOf) -> None:
    plan = plan_of({"linux.namespaces": ALL, "linux.uidMappings": IDS, "linux.gidMappings": IDS})
    runs = plan.runs()
    assert [run.side for run in runs] == ["host", "container", "host", "container", "container"]
    assert [type(run.steps[0]).__name__ for run in runs] == ["MakeCgroup", "JoinCgroup", "SetIdMaps", "BecomeRoot", "AwaitStart"]
    assert [step for run in runs for step in run.steps] == list(plan.steps)
    assert all(step.side == run.side for run in runs for step in run.steps)


def test_stepped_each_step_is_a_run_of_its_own(plan_of: PlanOf) -> None:
    plan = plan_of()
    assert [run.steps for run in plan.runs(single=True)] == [(step,) for step in plan]


@given(st.lists(st.sampled_from(["host", "container", "waits"]), max_size=12))
def test_whatever_the_order_runs_keep_it_and_never_mix_sides(kinds: list[str]) -> None:
    from labkit.runtime.plans import Plan
    from labkit.runtime.state import State
    from labkit.runtime.steps.execution import AwaitStart
    from labkit.runtime.steps.machine import BringUpLoopback

    made = {"host": birth.SetIdMaps((), ()), "container": BringUpLoopback(), "waits": AwaitStart()}
    plan = Plan(State("box", "/b", "/r", "labkit/box"), "/state", tuple(made[kind] for kind in kinds))
    runs = plan.runs()
    assert [step for run in runs for step in run.steps] == list(plan.steps)
    assert all({step.side for step in run.steps} == {run.side} for run in runs)
    assert all(not step.waits for run in runs for step in run.steps[1:])
    assert all(a.side != b.side or b.steps[0].waits for a, b in itertools.pairwise(runs))


def test_a_plan_is_handed_to_another_process_whole(plan_of: PlanOf) -> None:
    plan = plan_of(EVERYTHING)
    copy: Plan = pickle.loads(pickle.dumps(plan))
    assert (list(map(str, copy)), copy.id, copy.root, copy.warnings) == (list(map(str, plan)), "box", "/state", plan.warnings)
    assert copy.container.rootfs == "/bundle/rootfs" and copy.directory == "/state/box"


def test_a_new_plan_has_everything_before_it(plan_of: PlanOf) -> None:
    plan = plan_of()
    assert plan.next is plan[0] and len(plan) == len(list(plan))
    plan.abandon()  # nothing was begun; nothing happens
    assert plan.next is plan[0]


def test_an_exec_enters_what_its_container_does_not_share_with_us(monkeypatch: pytest.MonkeyPatch, machine: Callable[[str], None]) -> None:
    from labkit.linux import namespaces
    from labkit.runtime import defaults, planner
    from labkit.runtime.state import State

    machine("hybrid")
    monkeypatch.setattr(namespaces, "compare", lambda pid: {"user": False, "pid": False, "net": True, "mnt": False})
    program = spec.Process(args=("id",), cwd="/")
    plan = planner.exec_plan(defaults.spec(), program, State("box", "/b", "/b/rootfs", "labkit/box", pid=4711), "/state")
    assert names(plan)[:5] == ["Clone", "JoinCgroup", "JoinNamespaces", "CloneSibling", "BecomeRoot"]
    join = only(plan, "JoinNamespaces")
    assert isinstance(join, birth.JoinNamespaces)
    assert join.paths == tuple((kind, f"/proc/4711/ns/{kind}") for kind in ("user", "pid", "mnt"))
    assert "AwaitStart" not in names(plan) and names(plan)[-1] == "Exec" and plan.journal() == ()
    assert cgroups.directories("labkit/box", cgroups.detect())[-1] == "/cg/unified/labkit/box"
