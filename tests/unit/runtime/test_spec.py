"""``labkit.runtime.spec``, and ``validate`` behind it: a ``config.json`` is read, or refused with the path of the field."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit import codec
from labkit.errors import InvalidInput, KernelError, LabError, NotFound, Unsupported
from labkit.runtime import defaults, spec

DEFAULT: dict[str, object] = json.loads(defaults.text(defaults.spec()))
IDS = [{"containerID": 0, "hostID": 100000, "size": 65536}]
ID_MAPPED = {"destination": "/x", "source": "/", "options": ["bind", "idmap"], "uidMappings": IDS, "gidMappings": IDS}

# Every property of OCI runtime-spec 1.1 that a Linux container has, each with a value that it does not have by default.
EVERYTHING = {
    "ociVersion": "1.1.0",
    "process": {
        "terminal": True,
        "consoleSize": {"height": 25, "width": 80},
        "user": {"uid": 1, "gid": 2, "umask": 63, "additionalGids": [5, 6]},
        "args": ["sh", "-c", "true"],
        "env": ["PATH=/bin", "EMPTY="],
        "cwd": "/root",
        "capabilities": {name: ["CAP_CHOWN"] for name in ("bounding", "effective", "inheritable", "permitted", "ambient")},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 2**64 - 1, "soft": 1024}],
        "noNewPrivileges": True,
        "oomScoreAdj": -5,
        "scheduler": {
            "policy": "SCHED_DEADLINE",
            "nice": 3,
            "priority": 1,
            "flags": ["SCHED_FLAG_RECLAIM"],
            "runtime": 1,
            "deadline": 2,
            "period": 3,
        },
        "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 4},
        "apparmorProfile": "unconfined",
    },
    "root": {"path": "rootfs", "readonly": True},
    "hostname": "student-7",
    "domainname": "lab.test",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {
            "destination": "/data",
            "source": "data",
            "options": ["rbind", "ro", "idmap"],
            "uidMappings": IDS,
            "gidMappings": IDS,
        },
    ],
    "hooks": {
        moment: [{"path": "/bin/true", "args": ["true"], "env": ["A=1"], "timeout": 5}]
        for moment in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    },
    "annotations": {"org.example.course": "containers"},
    "linux": {
        "uidMappings": IDS,
        "gidMappings": IDS,
        "timeOffsets": {"boottime": {"secs": -5, "nanosecs": 1}, "monotonic": {"secs": 7}},
        "sysctl": {"net.ipv4.ip_forward": "1", "kernel.shmmax": "1000000"},
        "cgroupsPath": "/lab/one",
        "resources": {
            "devices": [{"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}],
            "memory": {
                "limit": 1,
                "reservation": 2,
                "swap": -1,
                "kernel": 3,
                "kernelTCP": 4,
                "swappiness": 0,
                "disableOOMKiller": True,
                "useHierarchy": True,
                "checkBeforeUpdate": True,
            },
            "cpu": {
                "shares": 2,
                "quota": -1,
                "burst": 3,
                "period": 4,
                "realtimeRuntime": 5,
                "realtimePeriod": 6,
                "cpus": "0-1",
                "mems": "0",
                "idle": 1,
            },
            "pids": {"limit": 7},
            "blockIO": {
                "weight": 10,
                "leafWeight": 11,
                "weightDevice": [{"major": 8, "minor": 0, "weight": 12, "leafWeight": 13}],
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 14}],
                "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 15}],
                "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 16}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 17}],
            },
            "hugepageLimits": [{"pageSize": "2MB", "limit": 18}],
            "network": {"classID": 19, "priorities": [{"name": "eth0", "priority": 20}]},
            "rdma": {"mlx5_1": {"hcaHandles": 21, "hcaObjects": 22}},
            "unified": {"memory.high": "64M"},
        },
        "namespaces": [
            {"type": "network", "path": "/run/netns/shop"},
            *({"type": kind} for kind in ("pid", "mount", "ipc", "uts", "user", "cgroup", "time")),
        ],
        "devices": [{"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229, "fileMode": 438, "uid": 1, "gid": 2}],
        "seccomp": {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": 1,
            "architectures": ["SCMP_ARCH_X86_64"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "listenerPath": "/run/listener",
            "listenerMetadata": "of mine",
            "syscalls": [
                {
                    "names": ["getcwd", "chmod"],
                    "action": "SCMP_ACT_ERRNO",
                    "errnoRet": 2,
                    "args": [{"index": 1, "value": 3, "valueTwo": 4, "op": "SCMP_CMP_MASKED_EQ"}],
                }
            ],
        },
        "rootfsPropagation": "rslave",
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
        "personality": {"domain": "LINUX32"},
    },
}


Way = tuple[str | int, ...]


def put(config: dict[str, object], where: str | Way, value: object) -> dict[str, object]:
    """A copy of ``config`` with ``value`` at a place such as ``linux.namespaces[0].type``."""
    changed = copy.deepcopy(config)
    if isinstance(where, str):
        where = tuple(int(step) if step.isdecimal() else step for step in re.findall(r"[^.\[\]]+", where))
    place: object = changed
    for step in where[:-1]:
        place = place[step]  # type: ignore[index]
    place[where[-1]] = value  # type: ignore[index]
    return changed


def test_every_property_of_the_specification_is_read_and_written_back() -> None:
    assert codec.encode(spec.parse(json.dumps(EVERYTHING))) == EVERYTHING


def test_properties_that_the_specification_does_not_know_are_ignored() -> None:
    config = put(put(DEFAULT, "process.novelty", [1]), "windows", {"layerFolders": []})
    assert codec.encode(spec.parse(json.dumps(config))) == DEFAULT


def test_what_is_left_out_has_the_default_of_the_specification() -> None:
    smallest = spec.parse('{"ociVersion": "1.0.2", "process": {"args": ["true"], "cwd": "/"}, "root": {"path": "/"}}')
    assert (smallest.process.user.uid, smallest.process.user.gid, smallest.process.user.umask) == (0, 0, None)
    assert (smallest.linux.namespaces, smallest.linux.resources.memory, smallest.hooks.poststop) == ((), None, ())
    assert (smallest.process.capabilities, smallest.root.readonly, smallest.hostname) == (None, False, "")


# What is changed, what to, and what is said of it: of the field that was changed, unless another one is named.
REFUSED = [
    ("ociVersion", "2.0.0", "'2.0.0' is not a version 1.x.y"),
    ("ociVersion", "1", "'1' is not a version 1.x.y"),
    ("process.args", [], "must not be empty"),
    ("process.args", [""], "process.args[0]: must name a program"),
    ("process.cwd", "root", "must be absolute, not 'root'"),
    ("process.env", ["A=1", "B"], "process.env[1]: must be NAME=value, not 'B'"),
    ("process.env", ["=1"], "process.env[0]: must be NAME=value, not '=1'"),
    ("process.user.uid", -1, "-1 is not between 0 and 4294967294"),
    ("process.user.gid", 2**32 - 1, "4294967295 is not between 0 and 4294967294"),
    ("process.user.umask", 0o1000, "512 is not between 0 and 511"),
    ("process.user.additionalGids", [5, -6], "process.user.additionalGids[1]: -6 is not between"),
    ("process.consoleSize", {"height": -1, "width": 80}, "process.consoleSize.height: -1 is not between 0 and 65535"),
    ("process.consoleSize", {"height": 25, "width": 65536}, "process.consoleSize.width: 65536 is not between 0 and 65535"),
    ("process.rlimits[0].type", "RLIMIT_JOY", "'RLIMIT_JOY' is not one of "),
    ("process.rlimits[0].hard", 2**64, "18446744073709551616 is not between 0 and"),
    ("process.rlimits[0].soft", 4096, "4096 is not between 0 and 1024"),
    ("process.rlimits", [{"type": "RLIMIT_CPU", "hard": 1, "soft": 1}] * 2, "process.rlimits[1].type: RLIMIT_CPU is there twice"),
    ("process.oomScoreAdj", 1001, "1001 is not between -1000 and 1000"),
    ("process.scheduler", {"policy": "SCHED_LAZY"}, "process.scheduler.policy: 'SCHED_LAZY' is not one of "),
    ("process.scheduler", {"policy": "SCHED_OTHER", "nice": 20}, "process.scheduler.nice: 20 is not between -20 and 19"),
    ("process.scheduler", {"policy": "SCHED_RR", "priority": 100}, "process.scheduler.priority: 100 is not between 0 and 99"),
    ("process.scheduler", {"policy": "SCHED_RR", "flags": ["X"]}, "process.scheduler.flags[0]: 'X' is not one of "),
    ("process.scheduler", {"policy": "SCHED_RR", "period": 1}, "process.scheduler.period: is for SCHED_DEADLINE alone"),
    ("process.scheduler", {"policy": "SCHED_DEADLINE", "runtime": -1}, "process.scheduler.runtime: -1 is not between"),
    ("process.ioPriority", {"class": "IOPRIO_CLASS_NONE", "priority": 0}, "process.ioPriority.class: 'IOPRIO_CLASS_NONE' is not"),
    ("process.ioPriority", {"class": "IOPRIO_CLASS_BE", "priority": 8}, "process.ioPriority.priority: 8 is not between 0 and 7"),
    ("root.path", "", "must name a directory"),
    ("hostname", "x" * 65, f"{'x' * 65!r} is longer than 64 bytes"),
    ("domainname", "é" * 33, f"{'é' * 33!r} is longer than 64 bytes"),
    ("annotations", {"": "x"}, "a key must not be empty"),
    ("mounts[1].destination", "", "must be a path inside the container"),
    ("mounts[1].type", "", "must name a file system"),
    ("mounts[1]", {"destination": "/x", "options": ["bind"]}, "mounts[1].source: must name what to bind"),
    ("mounts[1]", {"destination": "/x", "source": "/", "options": ["bind"], "uidMappings": IDS}, "mounts[1]: must have both"),
    ("mounts[1]", {"destination": "/x", "type": "tmpfs", "uidMappings": IDS, "gidMappings": IDS}, "mounts[1].uidMappings: are for bind"),
    ("mounts[1]", ID_MAPPED | {"uidMappings": [{"containerID": -1, "hostID": 0, "size": 1}]}, "mounts[1].uidMappings[0].containerID: -1"),
    ("mounts[1]", ID_MAPPED | {"gidMappings": [{"containerID": 0, "hostID": 0, "size": 0}]}, "mounts[1].gidMappings[0].size: 0"),
    ("mounts[1]", {"destination": "/x", "source": "/", "options": ["bind", "idmap"]}, "mounts[1].uidMappings: must say how to map"),
    ("hooks", {"poststop": [{"path": "true"}]}, "hooks.poststop[0].path: must be absolute, not 'true'"),
    ("hooks", {"poststart": [{"path": "/x", "env": ["A"]}]}, "hooks.poststart[0].env[0]: must be NAME=value, not 'A'"),
    ("hooks", {"prestart": [{"path": "/x", "timeout": 0}]}, "hooks.prestart[0].timeout: 0 is not between 1 and"),
    ("linux.namespaces[2].type", "foo", "'foo' is not one of cgroup, ipc, mount, network, pid, time, user, uts"),
    ("linux.namespaces[2].type", "pid", "pid is there twice"),
    ("linux.namespaces[2].path", "net", "must be absolute, not 'net'"),
    ("linux.namespaces", [{"type": "mount"}], "hostname: needs a uts namespace"),
    ("linux.namespaces", [{"type": "uts"}], "linux.maskedPaths: needs a mount namespace"),
    ("linux.uidMappings", IDS, "needs a user namespace"),
    ("linux.uidMappings", [{"containerID": -1, "hostID": 0, "size": 1}], "linux.uidMappings[0].containerID: -1 is not between"),
    ("linux.gidMappings", [{"containerID": 0, "hostID": -1, "size": 1}], "linux.gidMappings[0].hostID: -1 is not between"),
    ("linux.gidMappings", [{"containerID": 0, "hostID": 0, "size": 0}], "linux.gidMappings[0].size: 0 is not between 1 and"),
    ("linux.timeOffsets", {"realtime": {}}, "'realtime' is not one of boottime, monotonic"),
    ("linux.timeOffsets", {"boottime": {"nanosecs": 10**9}}, "linux.timeOffsets['boottime'].nanosecs: 1000000000 is not between"),
    ("linux.timeOffsets", {"boottime": {"secs": 1}}, "needs a new time namespace"),
    ("linux.devices", [{"type": "x", "path": "/dev/x", "major": 1, "minor": 1}], "linux.devices[0].type: 'x' is not one of b, c, p, u"),
    ("linux.devices", [{"type": "c", "path": "x", "major": 1, "minor": 1}], "linux.devices[0].path: must be absolute"),
    ("linux.devices", [{"type": "c", "path": "/x", "major": 1, "minor": 1, "uid": -1}], "linux.devices[0].uid: -1 is not between"),
    ("linux.devices", [{"type": "c", "path": "/x", "major": 1, "minor": 1, "gid": -1}], "linux.devices[0].gid: -1 is not between"),
    ("linux.devices", [{"type": "c", "path": "/x", "major": 1, "minor": 1, "fileMode": -1}], "linux.devices[0].fileMode: -1 is not"),
    ("linux.devices", [{"type": "c"}], "linux.devices[0].path: is missing"),
    ("linux.rootfsPropagation", "loud", "'loud' is not one of private, rprivate, shared, rshared, slave"),
    ("linux.seccomp", {"defaultAction": "SCMP_ACT_SING"}, "linux.seccomp.defaultAction: 'SCMP_ACT_SING' is not one of "),
    ("linux.sysctl", {"kernel.hostname": "x"}, "linux.sysctl['kernel.hostname']: is set by hostname"),
    ("linux.sysctl", {"": "1"}, "linux.sysctl['']: is not the name of a setting"),
    ("linux.sysctl", {"vm.swappiness": "1"}, "linux.sysctl['vm.swappiness']: belongs to the whole machine"),
    ("linux.maskedPaths[0]", "proc/acpi", "must be absolute, not 'proc/acpi'"),
    ("linux.readonlyPaths[0]", "x", "must be absolute, not 'x'"),
    ("linux.personality", {"domain": "SOLARIS"}, "linux.personality.domain: 'SOLARIS' is not one of LINUX, LINUX32"),
    ("linux.personality", {"domain": "LINUX", "flags": ["X"]}, "linux.personality.flags: must be empty"),
    ("linux.resources.devices[0].type", "p", "'p' is not one of a, b, c"),
    ("linux.resources.devices[0].access", "rwx", "'rwx' is not made of r, w and m"),
    ("linux.resources.memory", {"limit": -2}, "linux.resources.memory.limit: -2 is not between -1 and"),
    ("linux.resources.memory", {"swappiness": 101}, "linux.resources.memory.swappiness: 101 is not between 0 and 100"),
    ("linux.resources.cpu", {"shares": -1}, "linux.resources.cpu.shares: -1 is not between 0 and"),
    ("linux.resources.cpu", {"idle": 2}, "linux.resources.cpu.idle: 2 is not between 0 and 1"),
    ("linux.resources.blockIO", {"weight": 9}, "linux.resources.blockIO.weight: 9 is not between 10 and 1000"),
    ("linux.resources.hugepageLimits", [{"pageSize": "2M", "limit": 1}], "linux.resources.hugepageLimits[0].pageSize: '2M' is not a size"),
    ("linux.resources.hugepageLimits", [{"pageSize": "2MB", "limit": -1}], "linux.resources.hugepageLimits[0].limit: -1 is not between"),
    ("linux.resources.network", {"classID": -1}, "linux.resources.network.classID: -1 is not between 0 and"),
    ("linux.resources.unified", {"../cpu.max": "1"}, "linux.resources.unified: '../cpu.max' is not the name of a control group's file"),
]


@pytest.mark.parametrize(("path", "value", "message"), REFUSED, ids=[f"{path}={str(value)[:50]}" for path, value, _ in REFUSED])
def test_what_the_specification_forbids_is_refused_with_the_path_of_its_field(path: str, value: object, message: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        spec.parse(json.dumps(put(DEFAULT, path, value)))
    names_a_field = re.match(r"[\w.\[\]']+: ", message)
    assert str(refusal.value).startswith(message if names_a_field else f"{path}: {message}")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"names": [], "action": "SCMP_ACT_ALLOW"}, "names: must not be empty"),
        ({"names": ["chmod"], "action": "SCMP_ACT_SING"}, "action: 'SCMP_ACT_SING' is not one of "),
        ({"names": ["chmod"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]}, "args[0].index: 6"),
        ({"names": ["chmod"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 5, "value": 1, "op": "=="}]}, "args[0].op: '==' is not"),
    ],
)
def test_a_rule_of_seccomp_that_libseccomp_could_not_take_is_refused(rule: object, message: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        spec.parse(json.dumps(put(DEFAULT, "linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})))
    assert str(refusal.value).startswith(f"linux.seccomp.syscalls[0].{message}")


def test_a_new_user_namespace_needs_maps_but_one_that_exists_has_them() -> None:
    with_user = [*DEFAULT["linux"]["namespaces"], {"type": "user"}]  # type: ignore[index]
    with pytest.raises(InvalidInput, match=r"^linux\.uidMappings: must not be empty"):
        spec.parse(json.dumps(put(DEFAULT, "linux.namespaces", with_user)))
    with_user[-1] = {"type": "user", "path": "/proc/self/ns/user"}
    spec.parse(json.dumps(put(DEFAULT, "linux.namespaces", with_user)))


def test_a_sysctl_needs_the_namespace_that_it_belongs_to() -> None:
    config = put(DEFAULT, "linux.sysctl", {"net.ipv4.ip_forward": "1"})
    spec.parse(json.dumps(config))
    with pytest.raises(InvalidInput, match=r"^linux\.sysctl\['net.ipv4.ip_forward'\]: needs a network namespace"):
        spec.parse(json.dumps(put(config, "linux.namespaces", [{"type": kind} for kind in ("mount", "uts")])))


@pytest.mark.parametrize("path", ["process.apparmorProfile", "process.selinuxLabel", "linux.mountLabel", "linux.intelRdt"])
def test_what_labkit_leaves_out_is_unsupported_and_says_so(path: str) -> None:
    spec.parse(json.dumps(put(DEFAULT, path, {} if path.endswith("Rdt") else "")))
    with pytest.raises(Unsupported, match=f"^{path}: labkit does not"):
        spec.parse(json.dumps(put(DEFAULT, path, {"closID": "x"} if path.endswith("Rdt") else "system_u:object_r:x")))


@pytest.mark.parametrize("text", ["", "{", "[1,]", b"\xff\xfe\xff", "[" * 100_000, "1" * 5000, '{"a": 1} x'])
def test_what_is_not_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(InvalidInput, match=r"^config\.json: is not JSON: "):
        spec.parse(text)


def ways(value: object, here: Way = ()) -> list[Way]:
    """The way to everything that is in a JSON document."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way for step, item in below for way in ((*here, step), *ways(item, (*here, step)))]


@given(st.sampled_from(ways(EVERYTHING)), st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just([]) | st.just({}))
def test_a_stray_value_anywhere_is_read_or_refused_never_a_crash(way: Way, value: object) -> None:
    try:
        spec.parse(json.dumps(put(EVERYTHING, way, value)))
    except LabError as refusal:
        assert ": " in str(refusal)


def test_a_bundle_is_loaded_from_its_directory(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=re.escape(f"{tmp_path}/config.json")):
        spec.load(str(tmp_path))
    (tmp_path / "config.json").mkdir()
    with pytest.raises(KernelError, match=re.escape(f"read {tmp_path}/config.json: EISDIR")):
        spec.load(str(tmp_path))
    (tmp_path / "config.json").rmdir()
    (tmp_path / "config.json").write_text(json.dumps(DEFAULT))
    with pytest.raises(InvalidInput, match=re.escape(f"root.path: {tmp_path}/rootfs does not exist")):
        spec.load(str(tmp_path))
    (tmp_path / "rootfs").write_text("")
    with pytest.raises(InvalidInput, match=re.escape(f"root.path: {tmp_path}/rootfs is not a directory")):
        spec.load(str(tmp_path))
    (tmp_path / "rootfs").unlink()
    (tmp_path / "rootfs").mkdir()
    assert spec.load(str(tmp_path)).process.args == ("sh",)


def test_the_process_of_exec_is_read_alone() -> None:
    assert spec.load_process('{"args": ["id"], "cwd": "/", "user": {"uid": 7, "gid": 8}}').user.gid == 8
    with pytest.raises(InvalidInput, match=r"^process\.args: must not be empty$"):
        spec.load_process('{"args": [], "cwd": "/"}')
    with pytest.raises(InvalidInput, match=r"^process\.cwd: is missing$"):
        spec.load_process('{"args": ["id"]}')
    with pytest.raises(InvalidInput, match=r"^process: is not JSON: "):
        spec.load_process("no")


def test_the_classes_of_the_linux_part_can_be_had_from_spec() -> None:
    from labkit.runtime.spec_resources import Memory

    assert spec.Memory is Memory  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        _ = spec.NoSuchClass  # type: ignore[attr-defined]


def test_reading_a_plain_bundle_imports_only_what_it_needs() -> None:
    lines = f"""
import sys
before = set(sys.modules)
from labkit.runtime import spec
spec.parse({json.dumps(DEFAULT)!r})
print(*set(sys.modules) - before)
"""
    loaded = set(subprocess.run([sys.executable, "-c", lines], check=True, capture_output=True, text=True).stdout.split())
    assert "labkit.runtime.spec_linux" in loaded
    assert not loaded & {"typing", "pathlib", "subprocess", "ctypes", "labkit.runtime.spec_resources", "labkit.linux.seccomp"}
