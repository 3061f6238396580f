"""From a record to an OCI configuration: Docker's defaults, and what changes them. What they do is seen in tests/linux/engine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from labkit import codec
from labkit.engine import oci, oci_mounts, oci_resources
from labkit.engine.config import Config, HostConfig, ThrottleDevice, Ulimit
from labkit.engine.container_file import MountPoint, Record
from labkit.linux import capabilities, seccomp
from labkit.runtime import spec as specs
from labkit.runtime.spec import Spec, User

ID = "4cfc314c4980" + "0" * 52


def record(config: Config | None = None, mounts: tuple[MountPoint, ...] = (), **host: object) -> Record:
    hosts = replace(HostConfig(NetworkMode="none"), **host)  # type: ignore[arg-type]
    return Record(ID, "web", "", "", "", config or Config(Cmd=("true",)), hosts, Mounts=mounts)


def configured(config: Config | None = None, mounts: tuple[MountPoint, ...] = (), **host: object) -> Spec:
    setting = oci.Setting("/c", "/c", User(0, 0), "web", joined={"network": 7, "pid": 8, "ipc": 9})
    return oci.configuration(record(config, mounts, **host), setting)


def test_a_plain_container_has_dockers_defaults() -> None:
    spec = configured()
    assert [mount.destination for mount in spec.mounts] == [
        "/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup", "/dev/mqueue", "/dev/shm", "/etc/resolv.conf", "/etc/hostname", "/etc/hosts",
    ]  # fmt: skip
    assert {each.type for each in spec.linux.namespaces if not each.path} >= {"mount", "pid", "ipc", "network", "uts"}
    assert spec.process.env == ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=web")
    assert (spec.process.cwd, spec.hostname, spec.root.readonly, spec.process.noNewPrivileges) == ("/", "web", False, False)
    assert spec.process.capabilities and set(spec.process.capabilities.bounding) == capabilities.DEFAULT
    assert spec.process.capabilities.inheritable == spec.process.capabilities.ambient == ()
    assert "/proc/kcore" in spec.linux.maskedPaths and "/proc/sys" in spec.linux.readonlyPaths
    assert spec.linux.cgroupsPath == f"/labkit/containers/{ID}"
    assert spec.linux.seccomp == seccomp.default_profile(capabilities.DEFAULT)


@pytest.mark.parametrize("host", [{}, {"SecurityOpt": ("seccomp=unconfined",)}, {"Privileged": True}])
def test_the_text_of_a_configuration_is_read_back_as_the_same(host: dict[str, object]) -> None:
    spec = configured(Config(Cmd=("true",), Env=('A="b}}"',)), **host)
    assert codec.encode(specs.parse(oci.text(spec))) == codec.encode(spec)


def test_namespaces_of_others_are_entered_by_their_path() -> None:
    spec = configured(NetworkMode="container:a", PidMode="container:b", IpcMode="container:c", UTSMode="host", CgroupnsMode="private")
    found = {each.type: each.path for each in spec.linux.namespaces}
    assert found == {"mount": "", "network": "/proc/7/ns/net", "pid": "/proc/8/ns/pid", "ipc": "/proc/9/ns/ipc", "cgroup": ""}
    assert spec.hostname == ""


def test_the_users_mounts_take_the_place_of_dockers_and_come_in_order_of_depth() -> None:
    points = (
        MountPoint("bind", "/data/deep/er", "/srv/er", RW=False),
        MountPoint("volume", "/data", "/var/lib/labkit/volumes/v/_data", "v"),
        MountPoint("tmpfs", "/dev/shm", Options=("size=1m",)),
        MountPoint("bind", "/etc/hosts", "/my/hosts", Propagation="rslave"),
    )
    mounts = configured(mounts=points).mounts
    assert [mount.destination for mount in mounts][-4:] == ["/data", "/dev/shm", "/etc/hosts", "/data/deep/er"]
    assert [mount.destination for mount in mounts].count("/etc/hosts") == 1
    by_path = {mount.destination: mount for mount in mounts}
    assert by_path["/data/deep/er"].options == ("rbind", "rprivate", "ro")
    assert by_path["/etc/hosts"].options == ("rbind", "rslave") and by_path["/etc/hosts"].source == "/my/hosts"
    assert by_path["/dev/shm"].options == ("nosuid", "nodev", "noexec", "size=1m")


def test_the_hosts_namespaces_come_with_the_hosts_files() -> None:
    by_path = {mount.destination: mount for mount in configured(NetworkMode="host", PidMode="host", IpcMode="host").mounts}
    assert (by_path["/sys"].source, by_path["/proc"].source, by_path["/dev/shm"].source) == ("/sys", "/proc", "/dev/shm")
    assert "/dev/shm" not in {mount.destination for mount in configured(IpcMode="none").mounts}


def test_a_privileged_container_is_not_held_back() -> None:
    spec = configured(Privileged=True)
    assert spec.linux.maskedPaths == spec.linux.readonlyPaths == () and spec.linux.seccomp is None
    assert spec.process.capabilities and set(spec.process.capabilities.bounding) == capabilities.of().bounding
    assert not any("ro" in mount.options for mount in spec.mounts)
    assert [(rule.allow, rule.access) for rule in spec.linux.resources.devices] == [(True, "rwm")]


def test_paths_of_the_kernels_can_be_left_open() -> None:
    assert configured(SecurityOpt=("systempaths=unconfined",)).linux.maskedPaths == ()
    assert configured(MaskedPaths=("/x",), ReadonlyPaths=()).linux.maskedPaths == ("/x",)


def test_a_process_is_what_the_user_says() -> None:
    config = Config(Cmd=("a",), Entrypoint=("e",), Tty=True, Env=("A=b", "TERM=vt100", "HOSTNAME"), WorkingDir="/srv", Domainname="lab")
    spec = configured(
        config, Init=False, Ulimits=(Ulimit("nofile", 1, 2),), OomScoreAdj=5, ConsoleSize=(24, 80), SecurityOpt=("no-new-privileges:true",)
    )
    process = spec.process
    assert (process.args, process.terminal, process.cwd, process.noNewPrivileges) == (("e", "a"), True, "/srv", True)
    assert process.env[1:] == ("TERM=vt100", "A=b")
    assert process.consoleSize and (process.consoleSize.height, process.consoleSize.width) == (24, 80)
    assert (process.rlimits[0].type, process.rlimits[0].soft, process.rlimits[0].hard) == ("RLIMIT_NOFILE", 1, 2)
    assert (process.oomScoreAdj, spec.domainname) == (5, "lab")


def test_limits_are_in_the_words_of_oci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oci_resources, "counts_swap", lambda: True)
    monkeypatch.setattr(oci_resources, "_numbers", lambda _path: (8, 0))
    limits = oci_resources.limits(
        HostConfig(
            Memory=64, NanoCpus=1_500_000_000, PidsLimit=5, CpuShares=1, CpusetCpus="0", BlkioDeviceReadBps=(ThrottleDevice("/dev/sda", 9),)
        )
    )
    assert limits.memory and (limits.memory.limit, limits.memory.swap) == (64, 128)
    assert limits.cpu and (limits.cpu.quota, limits.cpu.period, limits.cpu.shares, limits.cpu.cpus) == (150_000, 100_000, 2, "0")
    assert limits.pids and limits.pids.limit == 5
    assert limits.blockIO and (limits.blockIO.throttleReadBpsDevice[0].major, limits.blockIO.throttleReadBpsDevice[0].rate) == (8, 9)


def test_without_limits_there_are_none() -> None:
    limits = oci_resources.limits(HostConfig(MemorySwappiness=-1, PidsLimit=0))
    assert (limits.memory, limits.cpu, limits.pids, limits.blockIO) == (None, None, None, None)


def test_a_configuration_is_completed_before_it_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oci_resources, "counts_swap", lambda: True)
    whole = oci_resources.adapted(HostConfig(Memory=10, MemorySwappiness=-1))
    assert (whole.MemorySwap, whole.MemorySwappiness, whole.NetworkMode, whole.ShmSize) == (20, None, "default", oci_mounts.SHM_SIZE)
    assert oci_resources.adapted(HostConfig(Memory=10, MemorySwap=-1)).MemorySwap == -1
    monkeypatch.setattr(oci_resources, "counts_swap", lambda: False)
    assert oci_resources.adapted(HostConfig(Memory=10)).MemorySwap == 0
