"""Steps by which a process comes to be in its namespaces: ``man 7 namespaces``, ``man 2 clone``, ``man 2 setns``.

    this process ──Clone──▶ init: in new namespaces; joins the cgroup

    this process ──Clone──▶ stage: joins the cgroup, enters namespaces that exist ──CloneSibling──▶ init

The second form is for a container that shares namespaces, and for ``exec``: who enters a PID or a time namespace is not in it,
only its children are, and the process that asks for the container must not be moved anywhere itself.
"""

from __future__ import annotations

import os
from contextlib import suppress
from errno import EAGAIN
from shlex import quote
from typing import TYPE_CHECKING, ClassVar

from labkit.errors import KernelError, NotFound
from labkit.linux import idmaps, namespaces, syscalls
from labkit.records import record
from labkit.runtime.conduct import become_container
from labkit.runtime.handshake import Channel
from labkit.runtime.plans import Side, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labkit.linux.idmaps import IdMap
    from labkit.runtime.context import Context


@record
class Clone(Step):
    """A copy of this process becomes the container's side, born into new namespaces; from here on the two talk over a socket pair.

    ``cgroup``, a directory of version 2: the group to be born in. Moving there later takes some milliseconds, for the kernel
    waits until no process anywhere is forking.
    """

    side: ClassVar[Side] = "host"
    man: ClassVar[str] = "clone(2)"
    kinds: tuple[str, ...]
    cgroup: str = ""

    def __str__(self) -> str:
        return _cloning(self.kinds) + (f", and into {self.cgroup}" if self.cgroup else "")

    @property
    def why(self) -> str:
        held = [namespaces.kind(kind).holds for kind in self.kinds]
        return (
            "of its own now: " + "; ".join(held) if held else "the copy can move into groups and namespaces; this process stays where it is"
        )

    def apply(self, context: Context) -> None:
        ours, theirs = Channel.pair()
        group = os.open(self.cgroup, os.O_PATH | os.O_DIRECTORY) if self.cgroup else None
        flags = _flags(self.kinds) | (syscalls.CLONE_PARENT if context.adopted else 0)
        try:
            pid, pidfd = syscalls.clone(flags, group)
        except KernelError as error:
            raise _full(error, self.cgroup) if group is not None else error from None
        finally:
            if group is not None:
                os.close(group)
        if pid:
            context.channel, context.pid, context.pidfd = ours, pid, pidfd
            theirs.close()
            return
        context.channel = theirs
        _close_others(context)
        # What holds the host's files must not be open to the container through /proc/PID (CVE-2016-9962, CVE-2019-5736).
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        _take_stdio(context.stdio)
        become_container(context)

    def shell(self) -> str:
        return f"echo 0 > {quote(self.cgroup)}/cgroup.procs" if self.cgroup else ""


def _full(error: KernelError, cgroup: str) -> KernelError:
    """The same error, with the likely cause of an EAGAIN: the kernel does not tell whose limit it was."""
    hint = "the container's limit of processes is reached (pids.max)"
    return KernelError(EAGAIN, "clone in", cgroup, hint) if error.errno == EAGAIN else error


def _cloning(kinds: tuple[str, ...]) -> str:
    return f"clone into new {', '.join(kinds)} namespaces" if kinds else "fork"


def _flags(kinds: tuple[str, ...]) -> int:
    return sum(namespaces.kind(kind).flag for kind in kinds)


def _close_others(context: Context) -> None:
    """Of what the host side has open, init keeps its stdio and what its steps need; an end held here would never end."""
    kept = {context.channel.line.fileno(), *context.mounts.values(), *range(3 + context.preserve)}
    if context.start_socket:
        kept.add(context.start_socket.fileno())
    if context.stdio:
        kept.update(context.stdio)
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd not in kept:
            with suppress(OSError):
                os.close(fd)


def _take_stdio(stdio: tuple[int, int, int] | None) -> None:
    """Make the three descriptors 0, 1 and 2, which execve passes on."""
    if stdio:
        high = [os.dup(fd) for fd in stdio]
        for number, fd in enumerate(high):
            os.dup2(fd, number, inheritable=True)
            os.close(fd)


@record
class JoinNamespaces(Step):
    """Namespaces that exist, by the path of their file. All are opened before the first is entered: after, paths lead elsewhere."""

    man: ClassVar[str] = "setns(2)"
    paths: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return "enter " + ", ".join(f"{kind} {path}" for kind, path in self.paths)

    @property
    def why(self) -> str:
        return "these namespaces exist already: share them, as a pod's containers or an exec'd command do"

    def apply(self, context: Context) -> None:
        opened = []
        for kind, path in self.paths:
            try:
                opened.append((kind, path, os.open(path, os.O_RDONLY | os.O_CLOEXEC)))
            except FileNotFoundError:
                raise NotFound(f"{kind} namespace {path}: no such file") from None
            except OSError as error:
                raise KernelError.of(error, f"open {kind} namespace", path) from None
        for kind, path, fd in sorted(opened, key=lambda entry: _ORDER.index(entry[0])):
            try:
                syscalls.setns(fd, namespaces.kind(kind).flag)
            except KernelError as error:
                hint = f"is it a {kind} namespace, and may you enter it?"
                raise KernelError(error.errno, f"enter {kind} namespace", path, hint) from None
            os.close(fd)

    def shell(self) -> str:
        return "nsenter " + " ".join(f"--{_LONG[kind]}={path}" for kind, path in self.paths)


# The user namespace first, for it gives the right to enter the others; the mount namespace last, for it changes all paths.
_ORDER = ("user", "pid", "ipc", "uts", "net", "time", "cgroup", "mnt")
# The names of the options of unshare(1) and nsenter(1).
_LONG = {"mnt": "mount", "net": "net", "pid": "pid", "uts": "uts", "ipc": "ipc", "user": "user", "cgroup": "cgroup", "time": "time"}


@record
class UnshareTime(Step):
    """A time namespace for the children to come, its clocks set off before anybody is in it."""

    man: ClassVar[str] = "time_namespaces(7)"
    offsets: tuple[tuple[str, int, int], ...]

    def __str__(self) -> str:
        return "unshare time" + "".join(f", {clock} {seconds:+d} s" for clock, seconds, _ in self.offsets)

    @property
    def why(self) -> str:
        return "the container's monotonic clock and uptime can differ from the host's; once a process is inside they are fixed"

    def apply(self, context: Context) -> None:
        syscalls.unshare(syscalls.CLONE_NEWTIME)
        lines = "".join(f"{clock} {seconds} {nanoseconds}\n" for clock, seconds, nanoseconds in self.offsets)
        if lines:
            with open("/proc/self/timens_offsets", "w") as file:
                file.write(lines)

    def shell(self) -> str:
        return "unshare --time " + " ".join(f"--{clock} {seconds}" for clock, seconds, _ in self.offsets)


@record
class CloneSibling(Step):
    """Init is born from the stage, as its sibling; the stage tells its PID and is done."""

    man: ClassVar[str] = "clone(2)"
    kinds: tuple[str, ...]

    def __str__(self) -> str:
        return _cloning(self.kinds)

    @property
    def why(self) -> str:
        return "a child is born where its parent has just gone; its parent is ours, so that we hear of its end"

    def apply(self, context: Context) -> None:
        told, tell = os.pipe()
        try:
            pid, _ = syscalls.clone(_flags(self.kinds) | syscalls.CLONE_PARENT)
        except KernelError as error:
            raise _full(error, context.plan.container.cgroup) from None
        if pid:
            context.channel.send({"born": pid})
            os._exit(0)
        # Both speak to the host side, which must hear of a birth before it hears of what the newborn does: the pipe ends with the stage.
        os.close(tell)
        os.read(told, 1)
        os.close(told)

    def shell(self) -> str:
        return ""


@record
class UnshareCgroup(Step):
    """A cgroup namespace, whose root is the group that the process is in at this moment: so it comes after joining."""

    man: ClassVar[str] = "cgroup_namespaces(7)"
    kinds: ClassVar[tuple[str, ...]] = ("cgroup",)

    def __str__(self) -> str:
        return "unshare cgroup"

    @property
    def why(self) -> str:
        return "its own group looks like the root of all groups; the names of those above are not shown"

    def apply(self, context: Context) -> None:
        syscalls.unshare(syscalls.CLONE_NEWCGROUP)

    def shell(self) -> str:
        return ""


def unshare_words(kinds: Sequence[str]) -> str:
    """``unshare(1)`` for these kinds: what it executes is the first process inside."""
    return " ".join(["unshare", "--fork", "--kill-child", *(f"--{_LONG[kind]}" for kind in kinds)])


@record
class SetIdMaps(Step):
    """Who root inside is outside: written by the host, while init waits."""

    side: ClassVar[Side] = "host"
    man: ClassVar[str] = "user_namespaces(7)"
    uids: tuple[IdMap, ...]
    gids: tuple[IdMap, ...]

    def __str__(self) -> str:
        return "map " + ", ".join(f"uid {m.containerID} to {m.hostID} ({m.size})" for m in self.uids)

    @property
    def why(self) -> str:
        return "root inside is an ordinary user outside, so what breaks out has no power there"

    def apply(self, context: Context) -> None:
        idmaps.write(context.pid, self.uids, self.gids)

    def shell(self) -> str:
        maps = (("uid_map", self.uids), ("gid_map", self.gids))
        lines = [f"# {m.containerID} {m.hostID} {m.size} > /proc/PID/{file}" for file, entries in maps for m in entries]
        return "\n".join(["# a script cannot do this from inside: another root shell writes, while this one waits,", *lines])


@record
class BecomeRoot(Step):
    """The first process of a user namespace is nobody until it takes an id that the maps have given a meaning."""

    man: ClassVar[str] = "user_namespaces(7)"

    def __str__(self) -> str:
        return "setuid 0 and setgid 0 of the user namespace"

    @property
    def why(self) -> str:
        return "ids without a map are the overflow id 65534; now there is a root inside"

    def apply(self, context: Context) -> None:
        try:
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
        except OSError as error:
            raise KernelError.of(error, "become root of the user namespace", "", "do the id maps have a 0 inside?") from None
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)

    def shell(self) -> str:
        return "# unshare --map-root-user does this"
