"""What a process sees of the container that it runs in: one line a case, the same on every runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from conftest import Container


@dataclass(frozen=True)
class Case:
    """With these ``changes`` to the default configuration, the shell ``script`` writes ``sees`` and ends with ``code``.

    ``says`` is part of what the runtime writes to standard error.
    """

    name: str
    script: str = ""
    sees: str = ""
    changes: Mapping[str, object] = field(default_factory=dict)
    code: int = 0
    says: str = ""
    labkit_only: str = ""  # why runc 1.1 is not asked
    runc_code: int | None = None  # where runc's exit code rightly differs


ALL = ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"]
IDS = [{"containerID": 0, "hostID": 100000, "size": 65536}]
CAPS = {name: ["CAP_CHOWN", "CAP_KILL"] for name in ("bounding", "effective", "permitted")}
SYSLOG = {name: ["CAP_SYSLOG"] for name in ("bounding", "effective", "permitted")}


def mount(destination: str, type: str, source: str, *options: str) -> dict[str, object]:
    return {"mounts[+]": {"destination": destination, "type": type, "source": source, "options": list(options)}}


def seccomp(*names: str, action: str = "SCMP_ACT_ERRNO", **rule: object) -> dict[str, object]:
    return {"linux.seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": list(names), "action": action, **rule}]}}


SHARED_PIDS = {"linux.namespaces": [{"type": kind} for kind in ("mount", "uts", "ipc", "network")]}
STATUS = "grep -E '^{}:' /proc/self/status | tr -s '\\t ' ' '"

CASES = [
    # The command, and how it ends
    Case("its exit code is the runtime's", "exit 7", code=7),
    Case("zero too", "exit 0"),
    Case("killed by a signal it is 128 + n", "kill -KILL $$", code=137, changes=SHARED_PIDS),
    Case("standard output and error stay apart", "echo out; echo err >&2", "out", says="err\n"),
    Case("a program is found along the PATH", changes={"process.args": ["echo.sh"], "process.env": ["PATH=/nowhere:/opt"]}, sees="found"),
    Case(
        "a program that is not there is 127",
        changes={"process.args": ["no-such-program"]},
        code=127,
        runc_code=1,
        says="executable file not found in $PATH",
    ),
    Case("by its path too", changes={"process.args": ["/no/such"]}, code=127, runc_code=1, says="no such file or directory"),
    Case("one that may not be executed is 126", changes={"process.args": ["/etc/plain"]}, code=126, runc_code=1, says="permission denied"),
    Case("a directory neither", changes={"process.args": ["/etc"]}, code=126, runc_code=1, says="/etc"),
    Case("it is PID 1, and alone", "echo $$; ls -d /proc/[0-9]*", "1\n/proc/1"),
    Case("it can reap its children", "sleep 0 & wait $!; echo $?", "0"),
    # The process
    Case(
        "the environment is the configured one and HOME",
        "env | grep -v -e ^SHLVL -e ^PWD | sort",
        "A=1\nHOME=/\nPATH=/bin",
        {"process.env": ["PATH=/bin", "A=1"]},
    ),
    Case("HOME comes from /etc/passwd", "echo $HOME", "/home/ada", {"process.user": {"uid": 1000, "gid": 1000}}),
    Case("a HOME that is given stays", "echo $HOME", "/x", {"process.env": ["PATH=/bin", "HOME=/x"]}),
    Case("the working directory", "pwd", "/etc", {"process.cwd": "/etc"}),
    Case("one that is missing is made", "pwd; stat -c %a .", "/some/where\n755", {"process.cwd": "/some/where"}),
    Case(
        "the user and its groups",
        "id -u; id -g; id -G",
        "1000\n100\n100 5 6",
        {"process.user": {"uid": 1000, "gid": 100, "additionalGids": [5, 6]}},
    ),
    Case("no groups but those that are asked for", STATUS.format("Groups"), "Groups:"),
    Case("the umask", "umask", "0077", {"process.user.umask": 0o077}),
    Case("0022 unless it is given", "umask", "0022"),
    Case(
        "resource limits",
        "ulimit -n; ulimit -Hn; ulimit -c",
        "64\n128\n0",
        {"process.rlimits": [{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 128}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]},
    ),
    Case(
        "a limit of all ones is unlimited",
        "ulimit -s",
        "unlimited",
        {"process.rlimits": [{"type": "RLIMIT_STACK", "soft": 2**64 - 1, "hard": 2**64 - 1}]},
    ),
    Case("how the OOM killer scores it", "cat /proc/self/oom_score_adj", "321", {"process.oomScoreAdj": 321}),
    Case("no new privileges", STATUS.format("NoNewPrivs"), "NoNewPrivs: 1"),
    Case("or new ones", STATUS.format("NoNewPrivs"), "NoNewPrivs: 0", {"process.noNewPrivileges": False}),
    Case(
        "a session keyring of its own",
        "grep -c 'keyring *_ses' /proc/keys",
        "1",
        {"linux.maskedPaths": [], "process.user": {"uid": 54321, "gid": 54321}},  # somebody who has not logged in here
    ),
    # Capabilities: CAP_CHOWN is bit 0, CAP_KILL bit 5
    Case(
        "capabilities of root",
        STATUS.format("Cap(Inh|Prm|Eff|Bnd|Amb)"),
        "CapInh: 0000000000000000\nCapPrm: 0000000000000021\nCapEff: 0000000000000021\nCapBnd: 0000000000000021\nCapAmb: 0000000000000000",
        {"process.capabilities": CAPS},
    ),
    Case(
        "of somebody else only the bounding set stays",
        STATUS.format("Cap(Inh|Prm|Eff|Bnd|Amb)"),
        "CapInh: 0000000000000000\nCapPrm: 0000000000000000\nCapEff: 0000000000000000\nCapBnd: 0000000000000021\nCapAmb: 0000000000000000",
        {"process.capabilities": CAPS, "process.user": {"uid": 1000, "gid": 1000}},
    ),
    Case(
        "ambient ones survive execve",
        STATUS.format("Cap(Inh|Prm|Eff|Bnd|Amb)"),
        "CapInh: 0000000000000021\nCapPrm: 0000000000000021\nCapEff: 0000000000000021\nCapBnd: 0000000000000021\nCapAmb: 0000000000000021",
        {
            "process.capabilities": {**CAPS, "inheritable": CAPS["bounding"], "ambient": CAPS["bounding"]},
            "process.user": {"uid": 1000, "gid": 1000},
        },
    ),
    Case(
        "none at all",
        STATUS.format("Cap(Eff|Bnd)"),
        "CapEff: 0000000000000000\nCapBnd: 0000000000000000",
        {"process.capabilities": {}},
    ),
    Case(
        "without the sets it is none too",
        STATUS.format("Cap(Eff|Bnd)"),
        "CapEff: 0000000000000000\nCapBnd: 0000000000000000",
        {"process.capabilities": None},
    ),
    Case(
        "an unknown capability is a warning",
        STATUS.format("CapEff"),
        "CapEff: 0000000000000021",
        {"process.capabilities": {**CAPS, "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_DANCE"]}},
        says="CAP_DANCE",
    ),
    # Names
    Case("the host name", "hostname", "student-7", {"hostname": "student-7"}),
    Case("the domain name", "cat /proc/sys/kernel/domainname", "lab.test", {"domainname": "lab.test"}, labkit_only="domainname is of 1.1"),
    # The root file system
    Case("a root that is read-only", "touch /x 2>&1; echo $?", "touch: /x: Read-only file system\n1", {"root.readonly": True}),
    Case("and one that is not", "touch /x && ls /x", "/x"),
    Case("nothing of the host is to be seen", "ls / | tr '\\n' ' '", "bin dev etc home link opt proc sys tmp"),
    Case("the old root is not left mounted", "grep -c -v ' /' /proc/self/mountinfo; umount / 2>&1 | head -c 6", "0\numount"),
    Case(
        "masked paths are empty",
        "cat /etc/secret; ls /etc/secret.d; echo done",
        "done",
        {"linux.maskedPaths": ["/etc/secret", "/etc/secret.d", "/not/there"]},
    ),
    Case(
        "and cannot be filled",
        "touch /etc/secret.d/x 2>&1; echo x > /etc/secret; cat /etc/secret",
        "touch: /etc/secret.d/x: Read-only file system",
        {"linux.maskedPaths": ["/etc/secret", "/etc/secret.d"]},
    ),
    Case(
        "read-only paths",
        "touch /etc/secret.d/x 2>&1; cat /etc/secret.d/key; touch /etc/y && echo y",
        "touch: /etc/secret.d/x: Read-only file system\nkey\ny",
        {"linux.readonlyPaths": ["/etc/secret.d", "/not/there"]},
    ),
    Case("kernel settings are read-only by default", "echo x > /proc/sys/kernel/hostname; echo $?", "1", says="Read-only file system"),
    Case("mounts made inside stay inside", "awk '$5 == \"/\"' /proc/self/mountinfo | grep -c shared:", "0", code=1),
    Case(
        "unless it is said",
        "awk '$5 == \"/\"' /proc/self/mountinfo | grep -c shared:",
        "1",
        {"linux.rootfsPropagation": "rshared"},
        labkit_only="runc applies shared only since 1.2.7 (its pull request 4724)",
    ),
    # Mounts
    Case(
        "a tmpfs",
        "stat -c %a /scratch; df -k /scratch | awk 'NR == 2 {print $2}'; touch /scratch/x && echo ok",
        "700\n1024\nok",
        mount("/scratch", "tmpfs", "tmpfs", "mode=700", "size=1024k"),
    ),
    Case(
        "with flags",
        "awk '$5 == \"/scratch\" {print $6}' /proc/self/mountinfo",
        "ro,nosuid,nodev,noexec,relatime",
        mount("/scratch", "tmpfs", "tmpfs", "ro", "nosuid", "nodev", "noexec", "relatime"),
    ),
    Case(
        "a directory of the host", "cat /data/key; echo new > /data/new; cat /data/new", "key\nnew", mount("/data", "bind", "data", "rbind")
    ),
    Case(
        "read-only",
        "cat /data/key; touch /data/new 2>&1",
        "key\ntouch: /data/new: Read-only file system",
        mount("/data", "none", "data", "bind", "ro"),
        code=1,
    ),
    Case(
        "and with flags",
        "awk '$5 == \"/data\" {print $6}' /proc/self/mountinfo",
        "ro,nosuid,nodev,noexec,noatime",  # which nobody asks for is inherited from the host
        mount("/data", "bind", "data", "rbind", "ro", "nosuid", "nodev", "noexec", "noatime"),
    ),
    Case("a file of the host", "cat /etc/one", "key", mount("/etc/one", "bind", "data/key", "bind", "ro")),
    Case("a destination that is relative starts at /", "cat /far/away/key", "key", mount("far/away", "bind", "data", "bind")),
    Case("one that is a link stays inside", "cat /link/key; ls /etc/target", "key\nkey", mount("/link", "bind", "data", "bind")),
    Case("one that climbs stays inside", "ls /climbed", "key", mount("/../../climbed", "bind", "data", "bind")),
    Case(
        "mounts are made in the order of the list",
        "ls /a /a/b",
        "/a:\nb\n\n/a/b:\nkey",
        {
            "mounts[+]": {"destination": "/a", "type": "tmpfs", "source": "tmpfs"},
            "mounts[7]": {"destination": "/a/b", "type": "bind", "source": "data", "options": ["bind"]},
        },
    ),
    Case("a tmpfs that starts with what it covers", "ls /etc/secret.d", "key", mount("/etc/secret.d", "tmpfs", "tmpfs", "tmpcopyup")),
    Case(
        "a directory whose files belong to somebody else in here",
        "stat -c %u:%g /data/key",
        "100000:100000",
        {"mounts[+]": {"destination": "/data", "source": "data", "options": ["bind", "idmap"], "uidMappings": IDS, "gidMappings": IDS}},
        labkit_only="mapped mounts are of 1.1",
    ),
    Case(
        "propagation of one mount",
        "awk '$5 == \"/scratch\"' /proc/self/mountinfo | grep -c shared:",
        "1",
        mount("/scratch", "tmpfs", "tmpfs", "rshared"),
    ),
    Case("/proc is the container's own", "cat /proc/1/comm; true", "sh"),
    # Devices
    Case(
        "the default devices",
        "cd /dev; stat -c '%n %t:%T %a %u:%g' null zero full random urandom tty",
        "null 1:3 666 0:0\nzero 1:5 666 0:0\nfull 1:7 666 0:0\nrandom 1:8 666 0:0\nurandom 1:9 666 0:0\ntty 5:0 666 0:0",
    ),
    Case(
        "and links",
        "cd /dev; for link in fd stdin stdout stderr ptmx; do readlink $link; done",
        "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx",
    ),
    Case("they work", "echo x > /dev/null; head -c 3 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c", "3\n3"),
    Case(
        "one more",
        "stat -c '%F %t:%T %a %u:%g' /dev/mine",
        "character special file 1:3 600 7:8",
        {"linux.devices": [{"path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600, "uid": 7, "gid": 8}]},
    ),
    Case(
        "anywhere",
        "stat -c '%F %a' /opt/sub/mine",
        "character special file 666",
        {"linux.devices": [{"path": "/opt/sub/mine", "type": "u", "major": 1, "minor": 3, "fileMode": 0o666}]},
    ),
    Case("a pipe", "stat -c '%F %a' /dev/pipe", "fifo 640", {"linux.devices": [{"path": "/dev/pipe", "type": "p", "fileMode": 0o640}]}),
    Case(
        "a device that no rule allows cannot be opened",
        "exec 3< /dev/kmsg",
        code=1,
        says="Operation not permitted",
        changes={
            "process.capabilities": SYSLOG,
            "linux.devices": [{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}],
        },
    ),
    Case(
        "one that a rule allows can",
        "exec 3< /dev/kmsg && echo open",
        "open",
        {
            "process.capabilities": SYSLOG,
            "linux.devices": [{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}],
            "linux.resources.devices[+]": {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"},
        },
    ),
    Case(
        "but not for more than it says",
        "exec 3> /dev/kmsg",
        code=1,
        says="Operation not permitted",
        changes={
            "process.capabilities": SYSLOG,
            "linux.devices": [{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}],
            "linux.resources.devices[+]": {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"},
        },
    ),
    Case(
        "nodes may be made, of what may not be opened",
        "mknod /dev/disk b 254 0 && stat -c %F /dev/disk; head -c 1 /dev/disk",
        "block special file",
        {"process.capabilities": {name: ["CAP_MKNOD"] for name in ("bounding", "effective", "permitted")}},
        code=1,
        says="Operation not permitted",
    ),
    # Sysctls
    Case("a sysctl of the network", "cat /proc/sys/net/ipv4/ip_forward", "1", {"linux.sysctl": {"net.ipv4.ip_forward": "1"}}),
    Case("and of IPC", "cat /proc/sys/kernel/msgmax", "4096", {"linux.sysctl": {"kernel.msgmax": "4096"}}),
    # System calls
    Case("a call that is denied", "mkdir /x", code=1, says="Operation not permitted", changes=seccomp("mkdir", "mkdirat")),
    Case("with an errno", "mkdir /x", code=1, says="Function not implemented", changes=seccomp("mkdir", "mkdirat", errnoRet=38)),
    Case(
        "by an argument",
        "hostname; kill -0 1; kill -URG 1",
        code=1,
        says="Operation not permitted",
        sees="labkit",
        changes=seccomp("kill", args=[{"index": 1, "value": 23, "op": "SCMP_CMP_EQ"}]),
    ),
    Case(
        "that kills",
        "mkdir /x; echo $?",
        "159",
        changes=seccomp("mkdir", "mkdirat", action="SCMP_ACT_KILL_PROCESS"),
        says="Bad system call",
    ),
    Case("a filter is in force", STATUS.format("Seccomp"), "Seccomp: 2", seccomp("mkdir")),
    Case("a call that this machine does not know is no matter", "echo ok", "ok", seccomp("no_such_call")),
    # Namespaces
    Case(
        "the names of users",
        "cat /proc/self/uid_map; id -u",
        "0     100000      65536\n0",
        {
            "linux.namespaces": [{"type": kind} for kind in ALL],
            "linux.uidMappings": IDS,
            "linux.gidMappings": IDS,
            "mounts": [{"destination": f"/{name}", "type": type, "source": type} for name, type in (("proc", "proc"), ("dev", "tmpfs"))],
        },
    ),
    Case(
        "control groups",
        "grep -v :/$ /proc/self/cgroup; echo",
        "",
        {"linux.namespaces": [{"type": kind} for kind in ("cgroup", "ipc", "mount", "network", "pid", "uts")]},
    ),
    Case("a network of its own has nothing but lo", "ls /sys/class/net; cat /sys/class/net/lo/operstate", "lo\nunknown"),
    Case(
        "clocks",
        "awk '{print ($1 > 4000000)}' /proc/uptime",
        "1",
        {"linux.namespaces[+]": {"type": "time"}, "linux.timeOffsets": {"boottime": {"secs": 5000000}}},
        labkit_only="time namespaces are of 1.1",
    ),
    Case("another personality", "uname -m", "i686", {"linux.personality": {"domain": "LINUX32"}}, labkit_only="personality is of 1.1"),
    # Scheduling
    Case(
        "a scheduling policy",
        "chrt -p $$ | head -1 | grep -o SCHED_BATCH; awk '{print $19}' /proc/$$/stat",
        "5",
        {"process.scheduler": {"policy": "SCHED_BATCH", "nice": 5}},
        labkit_only="scheduler is of 1.1",
    ),
    Case(
        "an I/O priority",
        "ionice -p $$",
        "best-effort: prio 6",
        {"process.ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 6}},
        labkit_only="ioPriority is of 1.1",
    ),
]


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.name, marks=[pytest.mark.labkit_only(case.labkit_only)] if case.labkit_only else []) for case in CASES],
)
def test_a_process_sees(case: Case, container: Callable[..., Container]) -> None:
    box = container(case.changes if "process.args" in case.changes else {"process.args": ["sh", "-c", case.script], **case.changes})
    write_files(box)
    result = box.run()
    code = case.runc_code if case.runc_code is not None and box.runtime.name == "runc" else case.code
    assert (result.out.strip(), result.code, case.says in result.err) == (case.sees, code, True), result


def write_files(box: Container) -> None:
    """What the cases find: in the root file system, and beside it on the host."""
    for directory in ("dev", "etc/secret.d", "etc/target", "home", "opt", "proc", "sys", "tmp", "../data"):
        (box.rootfs / directory).mkdir(parents=True)
    files = {"etc/secret": "secret", "etc/plain": "text", "etc/secret.d/key": "key\n", "../data/key": "key\n"}
    files["etc/passwd"] = "root:x:0:0::/:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n"
    files["opt/echo.sh"] = "#!/bin/sh\necho found\n"
    for name, text in files.items():
        (box.rootfs / name).write_text(text)
    (box.rootfs / "opt/echo.sh").chmod(0o755)
    (box.rootfs / "link").symlink_to("/etc/target")
