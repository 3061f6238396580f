"""Steps that give a container its control group: ``man 7 cgroups``, and ``labkit.linux.cgroups`` for the two versions."""

from __future__ import annotations

import os
from contextlib import suppress
from shlex import quote
from typing import TYPE_CHECKING, ClassVar

from labkit.errors import KernelError
from labkit.linux import cgroups
from labkit.records import record
from labkit.runtime.plans import Side, Step

if TYPE_CHECKING:
    from labkit.runtime.context import Context


@record
class MakeCgroup(Step):
    """A directory in every hierarchy; making it makes the group. Undone, it takes every process in it along."""

    side: ClassVar[Side] = "host"
    man: ClassVar[str] = "cgroups(7)"
    path: str
    directories: tuple[str, ...]

    def __str__(self) -> str:
        return f"mkdir {self.path} in {len(self.directories)} cgroup {'hierarchy' if len(self.directories) == 1 else 'hierarchies'}"

    @property
    def why(self) -> str:
        return "a control group is a directory; its files count and limit what the processes in it use"

    def apply(self, context: Context) -> None:
        for directory in self.directories:
            try:
                os.makedirs(directory, exist_ok=True)
            except OSError as error:
                raise KernelError.of(error, "mkdir", directory, "control groups are made by root, where cgroupfs is writable") from None

    def undo(self) -> None:
        # In the order in which init comes in, version 2 first: if it is in any, the first one tells, and the group is still whole.
        try:
            for directory in (*self.directories[-1:], *self.directories[:-1]):
                with suppress(FileNotFoundError):
                    os.rmdir(directory)
        except OSError:  # somebody is still in it
            group = cgroups.Cgroup(self.path)
            group.kill()
            group.delete()

    def shell(self) -> str:
        return "mkdir -p " + " ".join(map(quote, self.directories))

    def shell_undo(self) -> str:
        # Who is killed is still a member for a moment.
        wait = f"while grep -qs . {quote(self.directories[-1])}/cgroup.procs; do sleep 0.1; done"
        return f"{wait}; rmdir " + " ".join(map(quote, self.directories))


@record
class SetCgroupFile(Step):
    """One limit: a value written into one of the group's files."""

    side: ClassVar[Side] = "host"
    man: ClassVar[str] = "cgroups(7)"
    setting: cgroups.Setting

    def __str__(self) -> str:
        return f"write {self.setting.value or '(as above)'} to {self.setting.file}"

    @property
    def why(self) -> str:
        return self.setting.why

    def apply(self, context: Context) -> None:
        cgroups.write(self.setting.file, self.setting.value)

    def shell(self) -> str:
        return self.setting.shell()


@record
class JoinCgroup(Step):
    """The stage moves itself, so that whoever is born from it is born in the group."""

    man: ClassVar[str] = "cgroups(7)"
    directories: tuple[str, ...]

    def __str__(self) -> str:
        return "join the control group"

    @property
    def why(self) -> str:
        return "a child is born in its parent's group, so the container is limited from its first instruction"

    def apply(self, context: Context) -> None:
        cgroups.join(self.directories)

    def shell(self) -> str:
        return "\n".join(f"echo 0 > {quote(directory)}/cgroup.procs" for directory in self.directories)


@record
class AllowDevices(Step):
    """Which devices the group may use: lines in two files of version 1, a BPF program in version 2."""

    side: ClassVar[Side] = "host"
    man: ClassVar[str] = "bpf(2)"
    lines: tuple[cgroups.Setting, ...]
    directory: str = ""
    program: bytes = b""

    def __str__(self) -> str:
        return (
            f"attach a device program of {len(self.program) // 8} instructions" if self.program else f"write {len(self.lines)} device rules"
        )

    @property
    def why(self) -> str:
        return "even root with a node of its own making cannot open the host's disks; null, zero, random and terminals stay open"

    def apply(self, context: Context) -> None:
        for line in self.lines:
            cgroups.write(line.file, line.value)
        if self.program:
            from labkit.linux.cgroups import devices

            devices.attach(self.directory, self.program)

    def shell(self) -> str:
        if self.program:
            return "# version 2 asks a BPF program about devices, which no program of util-linux attaches"
        return "\n".join(line.shell() for line in self.lines)
