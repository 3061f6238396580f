"""Steps that make init the process that was asked for, and at last turn it into the program: ``man 2 execve``.

Their order matters: what takes privilege comes before what gives it up. ``DropBounding`` needs CAP_SETPCAP, ``SetUser`` needs
CAP_SETUID and clears the permitted set, ``SetCapabilities`` needs the set that ``SetUser`` was told to keep, and a seccomp filter
may forbid all of these: it comes as late as it can.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from errno import EACCES, EISDIR, ENOENT, ENOEXEC, ENOTDIR
from shlex import quote
from stat import S_ISREG
from typing import TYPE_CHECKING, ClassVar

from labkit.errors import KernelError, LabError
from labkit.linux import capabilities, mounts, pty, rlimits, seccomp, syscalls
from labkit.runtime.plan import Step

if TYPE_CHECKING:
    from labkit.linux.capabilities import Capabilities
    from labkit.runtime.context import Context


@dataclass(frozen=True)
class NewSession(Step):
    """A session and a session keyring of its own."""

    man: ClassVar[str] = "setsid(2)"

    def __str__(self) -> str:
        return "setsid, new session keyring"

    @property
    def why(self) -> str:
        return "ctrl-c in the terminal of whoever started it must not reach it, nor must the keys in their keyring"

    def apply(self, context: Context) -> None:
        os.setsid()
        try:
            syscalls.join_session_keyring()
        except KernelError as error:
            context.warnings.append(str(error))  # the quota of keys is small; what was shared before stays shared

    def shell(self) -> str:
        return "# setsid(1) and keyctl(1) would do this; the script stays in your terminal's session"


@dataclass(frozen=True)
class OpenTerminal(Step):
    """A pseudo-terminal of the container's own /dev/pts: the slave becomes standard input and output, the master goes to the host."""

    man: ClassVar[str] = "pty(7)"
    size: tuple[int, int] | None = None
    console: bool = True

    def __str__(self) -> str:
        return "open a terminal" + (f" of {self.size[0]} rows and {self.size[1]} columns" if self.size else "")

    @property
    def why(self) -> str:
        return "a shell asks for a terminal before it shows a prompt; this one is numbered in the container's own /dev/pts"

    def apply(self, context: Context) -> None:
        terminal = pty.new()
        if self.size:
            pty.set_size(terminal.slave, *self.size)
        pty.make_controlling(terminal.slave)
        if self.console:
            if not os.path.exists("/dev/console"):
                os.close(os.open("/dev/console", os.O_CREAT | os.O_WRONLY, 0o600))
            mounts.bind(f"/proc/self/fd/{terminal.slave}", "/dev/console", recursive=False)
        for number in range(3):
            os.dup2(terminal.slave, number, inheritable=True)
        context.channel.send({"terminal": terminal.name}, terminal.master)
        os.close(terminal.master)
        os.close(terminal.slave)

    def shell(self) -> str:
        return "# the script keeps the terminal that it was started from"


@dataclass(frozen=True)
class SetRlimits(Step):
    """What this one process may use; a control group limits the container as a whole."""

    man: ClassVar[str] = "setrlimit(2)"
    values: tuple[tuple[str, int, int], ...]

    def __str__(self) -> str:
        return "setrlimit " + ", ".join(f"{name.removeprefix('RLIMIT_').lower()} {soft}:{hard}" for name, soft, hard in self.values)

    @property
    def why(self) -> str:
        return "limits that a process hands down to its children: open files, core size, stack"

    def apply(self, context: Context) -> None:
        for name, soft, hard in self.values:
            rlimits.set(name, soft, hard)

    def shell(self) -> str:
        words = (f"--{name.removeprefix('RLIMIT_').lower()}={soft}:{hard}" for name, soft, hard in self.values)
        return "prlimit --pid $$ " + " ".join(words)


@dataclass(frozen=True)
class SetOomScore(Step):
    """How readily the kernel picks this process when memory runs out: -1000 never, 1000 first."""

    man: ClassVar[str] = "proc(5)"
    adjustment: int

    def __str__(self) -> str:
        return f"oom_score_adj {self.adjustment}"

    @property
    def why(self) -> str:
        return "who is killed first when the whole machine runs out of memory"

    def apply(self, context: Context) -> None:
        try:
            with open("/proc/self/oom_score_adj", "w") as file:
                file.write(str(self.adjustment))
        except OSError as error:
            hint = "going below the value that you have takes CAP_SYS_RESOURCE"
            raise KernelError.of(error, "write oom_score_adj", str(self.adjustment), hint) from None

    def shell(self) -> str:
        return f"echo {self.adjustment} > /proc/self/oom_score_adj"


@dataclass(frozen=True)
class SetScheduling(Step):
    """CPU policy (``sched_setattr``), I/O priority (``ioprio_set``) and execution domain (``personality``), where asked for."""

    man: ClassVar[str] = "sched(7)"
    scheduler: tuple[int, int, int, int, int, int, int] | None = None
    io: tuple[int, int] | None = None
    personality: int | None = None

    def __str__(self) -> str:
        names = {"sched_setattr": self.scheduler, "ioprio_set": self.io, "personality": self.personality}
        return ", ".join(name for name, value in names.items() if value is not None)

    @property
    def why(self) -> str:
        return "as asked for: how the kernel schedules this process, its I/O, and which kernel it pretends to be"

    def apply(self, context: Context) -> None:
        if self.personality is not None:
            syscalls.personality(self.personality)
        if self.io is not None:
            syscalls.ioprio_set(*self.io)
        if self.scheduler is not None:
            syscalls.sched_setattr(*self.scheduler)

    def shell(self) -> str:
        return "# chrt(1), ionice(1) and setarch(1) do this"


@dataclass(frozen=True)
class DropBounding(Step):
    """Capabilities that no execve can ever give back, not even that of a setuid-root file."""

    man: ClassVar[str] = "capabilities(7)"
    keep: frozenset[str]

    def __str__(self) -> str:
        return f"keep {len(self.keep)} of {capabilities.last() + 1} capabilities in the bounding set"

    @property
    def why(self) -> str:
        return "root inside keeps its name and loses most of its power: no mounting, no module loading, no clock setting"

    def apply(self, context: Context) -> None:
        capabilities.drop_bounding(self.keep)

    def shell(self) -> str:
        # chroot(1) is the last to run before the program, and needs the right to: in the script that one stays.
        return f"setpriv --bounding-set={_setpriv(self.keep | {'CAP_SYS_CHROOT'})}"


def _setpriv(names: frozenset[str]) -> str:
    """A set of capabilities as setpriv(1) takes it."""
    return ",".join(["-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in sorted(names))])


@dataclass(frozen=True)
class SetUser(Step):
    """Who the process is. ``keep``: capabilities are set by hand right after, so the change of user must not clear them."""

    man: ClassVar[str] = "setresuid(2)"
    uid: int
    gid: int
    groups: tuple[int, ...]
    umask: int | None
    keep: bool

    def __str__(self) -> str:
        more = f", groups {' '.join(map(str, self.groups))}" if self.groups else ""
        return f"become uid {self.uid}, gid {self.gid}{more}" + (f", umask {self.umask:03o}" if self.umask is not None else "")

    @property
    def why(self) -> str:
        return "groups before user: afterwards there is no right to change them"

    def apply(self, context: Context) -> None:
        if self.umask is not None:
            os.umask(self.umask)
        if self.keep:
            syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 1)
        try:
            if self.groups or not _setgroups_denied():
                os.setgroups(self.groups)
            os.setresgid(self.gid, self.gid, self.gid)
            os.setresuid(self.uid, self.uid, self.uid)
        except OSError as error:
            hint = "is the id in the user namespace's map?"
            raise KernelError.of(error, "become", f"uid {self.uid}, gid {self.gid}", hint) from None
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)  # a change of user sets it back

    def shell(self) -> str:
        if not (self.uid or self.gid or self.groups):
            return "chroot ."
        return f"chroot --userspec={self.uid}:{self.gid} --groups={','.join(map(str, self.groups)) or self.gid} ."


def _setgroups_denied() -> bool:
    """In a user namespace that an ordinary user made, nobody may drop a group (CVE-2014-8989)."""
    try:
        with open("/proc/self/setgroups") as file:
            return file.read().startswith("deny")
    except OSError:
        return False


@dataclass(frozen=True)
class SetCapabilities(Step):
    """The four sets of the process itself."""

    man: ClassVar[str] = "capabilities(7)"
    sets: Capabilities

    def __str__(self) -> str:
        return f"capset: {len(self.sets.effective)} effective, {len(self.sets.inheritable)} inheritable, {len(self.sets.ambient)} ambient"

    @property
    def why(self) -> str:
        return "what the process may do right now, and what it can hand to programs that it executes"

    def apply(self, context: Context) -> None:
        lost = capabilities.apply(self.sets)
        if lost:
            context.warnings.append(f"capabilities that labkit itself does not have: {', '.join(sorted(lost))}")

    def shell(self) -> str:
        return f"setpriv --inh-caps={_setpriv(self.sets.inheritable)} --ambient-caps={_setpriv(self.sets.ambient)}"


@dataclass(frozen=True)
class NoNewPrivileges(Step):
    """No execve from here on gives more than the process has."""

    man: ClassVar[str] = "PR_SET_NO_NEW_PRIVS(2const)"

    def __str__(self) -> str:
        return "prctl no_new_privs"

    @property
    def why(self) -> str:
        return "setuid programs in the image run, but without becoming root"

    def apply(self, context: Context) -> None:
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)

    def shell(self) -> str:
        return "setpriv --no-new-privs"


@dataclass(frozen=True)
class LoadSeccomp(Step):
    """A filter of system calls, compiled to BPF when the plan was made."""

    man: ClassVar[str] = "seccomp(2)"
    program: bytes
    flags: tuple[str, ...]
    listener: str = ""
    metadata: str = ""

    def __str__(self) -> str:
        return f"load a seccomp filter of {len(self.program) // 8} BPF instructions"

    @property
    def why(self) -> str:
        return "system calls that the program never needs are refused at the door, whatever bug the kernel has behind it"

    def apply(self, context: Context) -> None:
        if not self.listener:
            seccomp.load(self.program, self.flags)
            return
        # Some calls are for an agent to judge; the host side hands it the descriptor on which they arrive.
        descriptor = seccomp.listen(self.program, self.flags)
        context.channel.send({"listener": self.listener, "metadata": self.metadata}, descriptor)
        os.close(descriptor)

    def shell(self) -> str:
        return "# no program of util-linux loads a seccomp filter: the script runs without one"


@dataclass(frozen=True)
class ChangeDirectory(Step):
    """The working directory, entered while root may still enter any."""

    man: ClassVar[str] = "chdir(2)"
    cwd: str

    def __str__(self) -> str:
        return f"chdir {self.cwd}"

    @property
    def why(self) -> str:
        return "where the program starts, as the container's own root directory has it"

    def apply(self, context: Context) -> None:
        try:
            os.chdir(self.cwd)
        except OSError as error:
            raise KernelError.of(
                error, "chdir to", self.cwd, "no such directory in the container" if error.errno == ENOENT else ""
            ) from None
        if not os.getcwd().startswith("/"):
            raise LabError(f"chdir to {self.cwd}: it is outside of the container's root")  # CVE-2024-21626

    def shell(self) -> str:
        return "" if self.cwd == "/" else f"# chroot(1) starts in /, so the script does not enter {self.cwd}"


@dataclass(frozen=True)
class CheckCommand(Step):
    """See that the program is there and may be run before anybody is told that the container is created."""

    man: ClassVar[str] = "execve(2)"
    command: str
    search: str

    def __str__(self) -> str:
        return f"look for {self.command}"

    @property
    def why(self) -> str:
        return "in the container's own root and as its own user; a missing program is told now, not after the start"

    def apply(self, context: Context) -> None:
        find(self.command, self.search)

    def shell(self) -> str:
        return ""


def find(command: str, search: str) -> str:
    """The path that executing ``command`` means, by the directories of ``search``. Raises ``KernelError`` with ENOENT or EACCES."""
    if "/" in command:
        _check(command)
        return command
    denied = False
    for directory in search.split(":"):
        path = f"{directory or '.'}/{command}"
        try:
            _check(path)
            return path
        except KernelError as error:
            denied = denied or error.errno == EACCES
    if denied:
        raise KernelError(EACCES, "exec", command, "permission denied")
    raise KernelError(ENOENT, "exec", command, "executable file not found in $PATH")


def _check(path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        if error.errno in (ENOENT, ENOTDIR):
            raise KernelError(ENOENT, "exec", path, "no such file or directory") from None
        raise KernelError(EACCES, "exec", path, "permission denied") from None
    if not S_ISREG(mode):
        raise KernelError(EACCES, "exec", path, "permission denied: it is not a regular file")
    if not os.access(path, os.X_OK, effective_ids=True):
        raise KernelError(EACCES, "exec", path, "permission denied: it is not executable")


def home(uid: int) -> str:
    """The home directory of a user by the container's own /etc/passwd; ``/`` if it does not say."""
    try:
        with open("/etc/passwd", errors="replace") as file:
            entries = (line.rstrip("\n").split(":") for line in file)
            return next((entry[5] for entry in entries if len(entry) > 5 and entry[2] == str(uid)), "/")
    except OSError:
        return "/"


@dataclass(frozen=True)
class AwaitStart(Step):
    """The container is created: everything is in place but the program. ``start`` connects to the socket that init listens on."""

    man: ClassVar[str] = "accept(2)"
    waits: ClassVar[bool] = True

    def __str__(self) -> str:
        return "wait for start"

    @property
    def why(self) -> str:
        return "between created and running, whoever asked for the container can look at it, or set up its network"

    def apply(self, context: Context) -> None:
        if context.start_socket is None:
            raise LabError("nobody listens for the start of this container")
        context.starter, _ = context.start_socket.accept()
        context.start_socket.close()
        context.starter.recv(16)

    def shell(self) -> str:
        return ""


@dataclass(frozen=True)
class Exec(Step):
    """This process stops being labkit and becomes the program; its namespaces, groups and limits stay."""

    man: ClassVar[str] = "execve(2)"
    args: tuple[str, ...]
    env: tuple[str, ...]

    def __str__(self) -> str:
        return "execve " + " ".join(map(quote, self.args))

    @property
    def why(self) -> str:
        return "the process keeps its PID, which is 1 in its namespace, and becomes the container's program"

    def apply(self, context: Context) -> None:
        environment = dict(entry.split("=", 1) for entry in self.env if "=" in entry)
        environment.setdefault("HOME", home(os.getuid()))
        path = find(self.args[0], environment.get("PATH", ""))
        # Python ignores these two; the program shall find them as every program does.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        syscalls.close_range(3 + context.preserve, cloexec=True)
        try:
            os.execve(path, self.args, environment)
        except OSError as error:
            # ENOENT for a file that is there: the interpreter or loader that it names is not.
            hint = {ENOENT: "no such file or directory: its interpreter or dynamic loader is missing", ENOEXEC: "exec format error",
                    EACCES: "permission denied", EISDIR: "is a directory"}.get(error.errno or 0, "")  # fmt: skip
            raise KernelError.of(error, "exec", self.args[0], hint) from None

    def shell(self) -> str:
        return " ".join(map(quote, self.args))
