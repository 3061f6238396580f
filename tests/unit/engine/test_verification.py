"""What is refused before anything is made, and in which words."""

from __future__ import annotations

import os

import pytest

from labkit.engine import verification
from labkit.engine.config import Config, Device, HostConfig, LogConfig, Mount, PortBinding, RestartPolicy, Ulimit
from labkit.errors import InvalidInput, LabError, Unsupported

CPUS = len(os.sched_getaffinity(0))
CONFIG = Config(Image="busybox", Cmd=("true",))
MEGABYTE = 1 << 20


@pytest.mark.parametrize(
    ("host", "message"),
    [
        (HostConfig(Memory=MEGABYTE), "Minimum memory limit allowed is 6MB"),
        (HostConfig(MemoryReservation=MEGABYTE), "Minimum memory reservation allowed is 6MB"),
        (HostConfig(Memory=64 * MEGABYTE, MemorySwap=32 * MEGABYTE), "Minimum memoryswap limit should be larger than memory limit"),
        (HostConfig(MemorySwap=32 * MEGABYTE), "You should always set the Memory limit when using Memoryswap limit, see usage"),
        (HostConfig(Memory=8 * MEGABYTE, MemoryReservation=9 * MEGABYTE), "memory limit can not be less than memory reservation limit"),
        (HostConfig(MemorySwappiness=101), "Invalid value: 101, valid memory swappiness range is 0-100"),
        (HostConfig(NanoCpus=99 * 10**9), f"Range of CPUs is from 0.01 to {CPUS}.00, as there are only {CPUS} CPUs available"),
        (HostConfig(NanoCpus=1), "Range of CPUs is from 0.01 to"),
        (HostConfig(NanoCpus=10**9, CpuPeriod=5000), "Conflicting options: Nano CPUs and CPU Period cannot both be set"),
        (HostConfig(NanoCpus=10**9, CpuQuota=5000), "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
        (HostConfig(CpuPeriod=1), "CPU cfs period can not be less than 1ms"),
        (HostConfig(CpuQuota=1), "CPU cfs quota can not be less than 1ms"),
        (HostConfig(CpusetCpus="x"), "Invalid value x for cpuset cpus"),
        (HostConfig(CpusetCpus="2-1"), "Invalid value 2-1 for cpuset cpus"),
        (HostConfig(CpusetCpus="0,4096"), "Requested CPUs are not available - requested 0,4096, available: 0"),
        (HostConfig(CpusetMems="77"), "Requested memory nodes are not available - requested 77, available: 0"),
        (HostConfig(BlkioWeight=5), "Range of blkio weight is from 10 to 1000"),
        (HostConfig(Ulimits=(Ulimit("bogus", 1, 2),)), "invalid ulimit type: bogus"),
        (HostConfig(Ulimits=(Ulimit("nofile", 200, 100),)), "ulimit soft limit must be less than or equal to hard limit: 200 > 100"),
        (HostConfig(DeviceCgroupRules=("x 1:3 rwm",)), "invalid device cgroup rule format: 'x 1:3 rwm'"),
        (HostConfig(CapAdd=("BOGUS",)), 'invalid CapAdd: unknown capability: "CAP_BOGUS"'),
        (HostConfig(CapDrop=("bogus",)), 'invalid CapDrop: unknown capability: "CAP_BOGUS"'),
        (HostConfig(SecurityOpt=("bogus",)), 'invalid --security-opt 1: "bogus"'),
        (HostConfig(SecurityOpt=("bogus=1",)), 'invalid --security-opt 2: "bogus=1"'),
        (HostConfig(PidMode="bogus"), "invalid PID mode: bogus"),
        (HostConfig(IpcMode="container:"), "invalid IPC mode: container:"),
        (HostConfig(UTSMode="container:x"), "invalid UTS mode: container:x"),
        (HostConfig(ShmSize=-1), "SHM size can not be less than 0"),
        (HostConfig(OomScoreAdj=1001), r"Invalid value 1001, range for oom score adj is \[-1000, 1000\]"),
        (HostConfig(Runtime="bogus"), "unknown or invalid runtime name: bogus"),
        (HostConfig(LogConfig=LogConfig("syslog")), "logger: no log driver named 'syslog' is registered"),
        (HostConfig(LogConfig=LogConfig("json-file", {"bogus": "1"})), "unknown log opt 'bogus' for json-file log driver"),
        (HostConfig(LogConfig=LogConfig("json-file", {"max-file": "0"})), "max-file cannot be less than 1"),
        (HostConfig(LogConfig=LogConfig("json-file", {"max-size": "ten"})), "invalid size: 'ten'"),
        (HostConfig(RestartPolicy=RestartPolicy("always"), AutoRemove=True), "can't create 'AutoRemove' container with restart policy"),
        (HostConfig(Binds=("/a:/b:/c:ro",)), "invalid volume specification: '/a:/b:/c:ro'"),
        (HostConfig(Binds=("/a:/b:xx",)), "invalid mode: xx"),
        (HostConfig(Binds=("/a:b",)), "invalid mount path: 'b' mount path must be absolute"),
        (HostConfig(Binds=("/a:/",)), "destination can't be '/'"),
        (HostConfig(Binds=("./a:/b",)), '"./a" includes invalid characters for a local volume name'),
        (HostConfig(Mounts=(Mount("bogus", "a", "/b"),)), 'invalid mount config for type "bogus": mount type unknown'),
        (HostConfig(Mounts=(Mount("bind", "/etc", ""),)), 'invalid mount config for type "bind": field Target must not be empty'),
        (HostConfig(Mounts=(Mount("bind", "", "/b"),)), 'invalid mount config for type "bind": field Source must not be empty'),
        (HostConfig(Mounts=(Mount("tmpfs", "/a", "/b"),)), 'invalid mount config for type "tmpfs": field Source must not be specified'),
        (HostConfig(Tmpfs={"b": ""}), "invalid mount path: 'b' mount path must be absolute"),
        (HostConfig(PortBindings={"80x/tcp": ()}), 'invalid port specification: "80x/tcp"'),
        (HostConfig(PortBindings={"80/tcp": (PortBinding("", "70000"),)}), 'invalid port specification: "70000" for 80/tcp'),
    ],
)  # fmt: skip
def test_a_host_configuration_that_cannot_be_is_refused_in_dockers_words(host: HostConfig, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        verification.check(CONFIG, host)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Config(Cmd=("true",), WorkingDir="srv"), "the working directory 'srv' is invalid, it needs to be an absolute path"),
        (Config(Cmd=("true",), Env=("=x",)), "invalid environment variable: =x"),
        (Config(Cmd=("",)), "no command specified"),
        (Config(Cmd=("true",), StopSignal="SIGBOGUS"), "Invalid signal: SIGBOGUS"),
        (Config(Cmd=("true",), Hostname="h" * 64), "invalid hostname"),
        (Config(Cmd=("true",), ExposedPorts={"0/tcp": {}}), 'invalid port specification: "0/tcp"'),
        (Config(Cmd=("true",), Volumes={"data": {}}), "invalid mount path: 'data' mount path must be absolute"),
    ],
)
def test_so_is_a_configuration(config: Config, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        verification.check(config, HostConfig())


@pytest.mark.parametrize(
    "host",
    [
        HostConfig(SecurityOpt=("label=type:spc_t",)),
        HostConfig(SecurityOpt=("apparmor=mine",)),
    ],
)
def test_what_this_machine_does_not_do_is_said_to_be_so(host: HostConfig) -> None:
    with pytest.raises(Unsupported):
        verification.check(CONFIG, host)


@pytest.mark.parametrize(
    "host",
    [
        HostConfig(),
        HostConfig(Memory=64 * MEGABYTE, MemorySwap=-1, NanoCpus=500_000_000, PidsLimit=-1, CpusetCpus="0", MemorySwappiness=-1),
        HostConfig(
            CapAdd=("ALL", "net_admin"), CapDrop=("CAP_MKNOD",), SecurityOpt=("no-new-privileges", "seccomp=unconfined", "label=disable")
        ),
        HostConfig(LogConfig=LogConfig("json-file", {"max-size": "10m", "max-file": "3"}), RestartPolicy=RestartPolicy("on-failure", 5)),
        HostConfig(Binds=("data:/data:ro,z", "/etc:/in:rslave"), Tmpfs={"/run": "size=1m"}, PidMode="container:web", IpcMode="none"),
        HostConfig(PortBindings={"80/tcp": (PortBinding("127.0.0.1", "8080"), PortBinding()), "53/udp": None, "90": ()}),
        HostConfig(DeviceCgroupRules=("c 1:3 rwm", "b *:* r"), Devices=(Device("/dev/nosuch"),)),
    ],
)
def test_what_can_be_passes(host: HostConfig) -> None:
    assert verification.check(CONFIG, host) == ()


def test_what_is_unwise_is_a_warning() -> None:
    assert (
        "OOM killer is disabled for the container, but no memory limit is set"
        in verification.check(CONFIG, HostConfig(OomKillDisable=True))[0]
    )


def test_init_needs_a_program_of_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "exists", lambda _path: False)
    with pytest.raises(LabError, match="apt-get install tini"):
        verification.check(CONFIG, HostConfig(Init=True))
