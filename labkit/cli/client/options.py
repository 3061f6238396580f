"""What can be said of a new container: the options of ``run`` and ``create``, and where in the API's body each one goes.

    $ labkit run -m 64m --hostname box busybox
        Option("-m, --memory", …, "HostConfig.Memory")     ──▶  {"HostConfig": {"Memory": 67108864}, …}
        Option("-h, --hostname", …, "Hostname")            ──▶  {"Hostname": "box", …}

Most options are one field of the body, and a line here is all there is to them. Those without ``to`` say more than one thing, or need
reading: ``body.py`` knows them. Those of Windows are left out.

Source: ``docker run --help``; Docker Engine API, ContainerCreate. Shown in notebook 06.
"""

from __future__ import annotations

from collections.abc import Callable

import click

from labkit.cli.client import mounts, networking, values
from labkit.cli.client.values import BYTES, CPUS, DURATION, INT, LIST, STRING, Kind
from labkit.records import record

SWITCH = Kind("", bool)


@record
class Option:
    """One option. ``to`` is the path of a field in the body; ``many`` may be given several times, and is a list there."""

    forms: str
    help: str
    kind: Kind = STRING
    to: str = ""
    many: bool = False

    @property
    def names(self) -> list[str]:
        """``-m`` and ``--memory``."""
        return self.forms.split(", ")

    @property
    def parameter(self) -> str:
        """The name by which click knows it: the long one."""
        return next(name for name in self.names if name.startswith("--")).removeprefix("--").replace("-", "_")


def _many(forms: str, help: str, kind: Kind, to: str = "") -> Option:
    return Option(forms, help, kind, to, many=True)


OPTIONS = (
    _many("--add-host", "Add a custom host-to-IP mapping (host:ip)", values.ADD_HOST, "HostConfig.ExtraHosts"),
    _many("--annotation", "Add an annotation to the container (passed through to the OCI runtime)", values.MAP),
    _many("-a, --attach", "Attach to STDIN, STDOUT or STDERR", values.ATTACH),
    Option("--blkio-weight", "Block IO (relative weight), between 10 and 1000", values.UINT16, "HostConfig.BlkioWeight"),
    _many("--blkio-weight-device", "Block IO weight (relative device weight)", values.WEIGHT_DEVICE, "HostConfig.BlkioWeightDevice"),
    _many("--cap-add", "Add Linux capabilities", LIST, "HostConfig.CapAdd"),
    _many("--cap-drop", "Drop Linux capabilities", LIST, "HostConfig.CapDrop"),
    Option("--cgroup-parent", "Optional parent cgroup for the container", STRING, "HostConfig.CgroupParent"),
    Option("--cgroupns", "Cgroup namespace to use (host|private)", STRING, "HostConfig.CgroupnsMode"),
    Option("--cidfile", "Write the container ID to the file", STRING, "HostConfig.ContainerIDFile"),
    Option("--cpu-period", "Limit CPU CFS (Completely Fair Scheduler) period", INT, "HostConfig.CpuPeriod"),
    Option("--cpu-quota", "Limit CPU CFS (Completely Fair Scheduler) quota", INT, "HostConfig.CpuQuota"),
    Option("--cpu-rt-period", "Limit CPU real-time period in microseconds", INT, "HostConfig.CpuRealtimePeriod"),
    Option("--cpu-rt-runtime", "Limit CPU real-time runtime in microseconds", INT, "HostConfig.CpuRealtimeRuntime"),
    Option("-c, --cpu-shares", "CPU shares (relative weight)", INT, "HostConfig.CpuShares"),
    Option("--cpus", "Number of CPUs", CPUS, "HostConfig.NanoCpus"),
    Option("--cpuset-cpus", "CPUs in which to allow execution (0-3, 0,1)", STRING, "HostConfig.CpusetCpus"),
    Option("--cpuset-mems", "MEMs in which to allow execution (0-3, 0,1)", STRING, "HostConfig.CpusetMems"),
    _many("--device", "Add a host device to the container", LIST),
    _many("--device-cgroup-rule", "Add a rule to the cgroup allowed devices list", values.CGROUP_RULE, "HostConfig.DeviceCgroupRules"),
    _many("--device-read-bps", "Limit read rate (bytes per second) from a device", values.BYTE_RATE, "HostConfig.BlkioDeviceReadBps"),
    _many("--device-read-iops", "Limit read rate (IO per second) from a device", values.OPERATION_RATE, "HostConfig.BlkioDeviceReadIOps"),
    _many("--device-write-bps", "Limit write rate (bytes per second) to a device", values.BYTE_RATE, "HostConfig.BlkioDeviceWriteBps"),
    _many("--device-write-iops", "Limit write rate (IO per second) to a device", values.OPERATION_RATE, "HostConfig.BlkioDeviceWriteIOps"),
    _many("--dns", "Set custom DNS servers", values.IP_LIST, "HostConfig.Dns"),
    _many("--dns-option", "Set DNS options", LIST, "HostConfig.DnsOptions"),
    _many("--dns-search", "Set custom DNS search domains", values.DOMAINS, "HostConfig.DnsSearch"),
    Option("--domainname", "Container NIS domain name", STRING, "Domainname"),
    Option("--entrypoint", "Overwrite the default ENTRYPOINT of the image"),
    _many("-e, --env", "Set environment variables", values.ENV),
    _many("--env-file", "Read in a file of environment variables", LIST),
    _many("--expose", "Expose a port or a range of ports", LIST),
    _many("--gpus", "GPU devices to add to the container ('all' to pass all GPUs)", values.GPUS, "HostConfig.DeviceRequests"),
    _many("--group-add", "Add additional groups to join", LIST, "HostConfig.GroupAdd"),
    Option("--health-cmd", "Command to run to check health"),
    Option("--health-interval", "Time between running the check (ms|s|m|h) (default 0s)", DURATION),
    Option("--health-retries", "Consecutive failures needed to report unhealthy", INT),
    Option("--health-start-interval", "Time between running the check during the start period (ms|s|m|h) (default 0s)", DURATION),
    Option("--health-start-period", "Time for the container to initialize before failures count (ms|s|m|h) (default 0s)", DURATION),
    Option("--health-timeout", "Maximum time to allow one check to run (ms|s|m|h) (default 0s)", DURATION),
    Option("-h, --hostname", "Container host name", STRING, "Hostname"),
    Option("--init", "Run an init inside the container that forwards signals and reaps processes", SWITCH, "HostConfig.Init"),
    Option("-i, --interactive", "Keep STDIN open even if not attached", SWITCH, "OpenStdin"),
    Option("--ip", "IPv4 address (e.g., 172.30.100.104)"),
    Option("--ip6", "IPv6 address (e.g., 2001:db8::33)"),
    Option("--ipc", "IPC mode to use", STRING, "HostConfig.IpcMode"),
    Option("--isolation", "Container isolation technology", STRING, "HostConfig.Isolation"),
    Option("--kernel-memory", "Kernel memory limit", BYTES, "HostConfig.KernelMemory"),
    _many("-l, --label", "Set meta data on a container", values.LABEL),
    _many("--label-file", "Read in a line delimited file of labels", LIST),
    _many("--link", "Add link to another container", values.LINK, "HostConfig.Links"),
    _many("--link-local-ip", "Container IPv4/IPv6 link-local addresses", values.IP_LIST),
    Option("--log-driver", "Logging driver for the container", STRING, "HostConfig.LogConfig.Type"),
    _many("--log-opt", "Log driver options", LIST),
    Option("--mac-address", "Container MAC address (e.g., 92:d0:c6:0a:29:33)"),
    Option("-m, --memory", "Memory limit", BYTES, "HostConfig.Memory"),
    Option("--memory-reservation", "Memory soft limit", BYTES, "HostConfig.MemoryReservation"),
    Option("--memory-swap", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap", values.SWAP, "HostConfig.MemorySwap"),
    Option("--memory-swappiness", "Tune container memory swappiness (0 to 100) (default -1)", INT, "HostConfig.MemorySwappiness"),
    _many("--mount", "Attach a filesystem mount to the container", mounts.MOUNT, "HostConfig.Mounts"),
    Option("--name", "Assign a name to the container"),
    _many("--network, --net", "Connect a container to a network", networking.NETWORK),
    _many("--network-alias", "Add network-scoped alias for the container", LIST),
    Option("--no-healthcheck", "Disable any container-specified HEALTHCHECK", SWITCH),
    Option("--oom-kill-disable", "Disable OOM Killer", SWITCH, "HostConfig.OomKillDisable"),
    Option("--oom-score-adj", "Tune host's OOM preferences (-1000 to 1000)", INT, "HostConfig.OomScoreAdj"),
    Option("--pid", "PID namespace to use", STRING, "HostConfig.PidMode"),
    Option("--pids-limit", "Tune container pids limit (set -1 for unlimited)", INT, "HostConfig.PidsLimit"),
    Option("--platform", "Set platform if server is multi-platform capable"),
    Option("--privileged", "Give extended privileges to this container", SWITCH, "HostConfig.Privileged"),
    _many("-p, --publish", "Publish a container's port(s) to the host", LIST),
    Option("-P, --publish-all", "Publish all exposed ports to random ports", SWITCH, "HostConfig.PublishAllPorts"),
    Option("--pull", 'Pull image before running ("always", "missing", "never") (default "missing")'),
    Option("-q, --quiet", "Suppress the pull output", SWITCH),
    Option("--read-only", "Mount the container's root filesystem as read only", SWITCH, "HostConfig.ReadonlyRootfs"),
    Option("--restart", 'Restart policy to apply when a container exits (default "no")'),
    Option("--rm", "Automatically remove the container and its anonymous volumes when it exits", SWITCH, "HostConfig.AutoRemove"),
    Option("--runtime", "Runtime to use for this container", STRING, "HostConfig.Runtime"),
    _many("--security-opt", "Security Options", LIST),
    Option("--shm-size", "Size of /dev/shm", BYTES, "HostConfig.ShmSize"),
    Option("--stop-signal", "Signal to stop the container", STRING, "StopSignal"),
    Option("--stop-timeout", "Timeout (in seconds) to stop a container", INT, "StopTimeout"),
    _many("--storage-opt", "Storage driver options for the container", LIST),
    _many("--sysctl", "Sysctl options", values.SYSCTL),
    _many("--tmpfs", "Mount a tmpfs directory", LIST),
    Option("-t, --tty", "Allocate a pseudo-TTY", SWITCH, "Tty"),
    _many("--ulimit", "Ulimit options", values.ULIMIT, "HostConfig.Ulimits"),
    Option("-u, --user", "Username or UID (format: <name|uid>[:<group|gid>])", STRING, "User"),
    Option("--userns", "User namespace to use", STRING, "HostConfig.UsernsMode"),
    Option("--uts", "UTS namespace to use", STRING, "HostConfig.UTSMode"),
    _many("-v, --volume", "Bind mount a volume", LIST),
    Option("--volume-driver", "Optional volume driver for the container", STRING, "HostConfig.VolumeDriver"),
    _many("--volumes-from", "Mount volumes from the specified container(s)", LIST, "HostConfig.VolumesFrom"),
    Option("-w, --workdir", "Working directory inside the container", STRING, "WorkingDir"),
)  # fmt: skip


def options(function: Callable[..., object]) -> Callable[..., object]:
    """A decorator: the command has all of them."""
    for each in reversed(OPTIONS):
        name = each.parameter
        if each.kind is SWITCH:
            function = click.option(*each.names, name, is_flag=True, default=None, help=each.help)(function)
        else:
            function = click.option(*each.names, name, type=each.kind, metavar=each.kind.name, multiple=each.many, help=each.help)(function)
    return function
