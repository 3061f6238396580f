"""The last steps: init finds the program, waits to be started, and becomes it: ``man 2 execve``."""

from __future__ import annotations

import os
import signal
from errno import EACCES, EISDIR, ENOENT, ENOEXEC, ENOTDIR
from shlex import quote
from stat import S_ISREG
from typing import TYPE_CHECKING, ClassVar

from labkit.errors import KernelError, LabError
from labkit.linux import syscalls
from labkit.records import record
from labkit.runtime.plans import Step

if TYPE_CHECKING:
    from labkit.runtime.context import Context


@record
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


@record
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


@record
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


@record
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
