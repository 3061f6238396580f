"""Steps from root to the user that was asked for, with the power that was asked for: ``man 7 capabilities``, ``man 7 credentials``.

Their order matters: what takes privilege comes before what gives it up. ``DropBounding`` needs CAP_SETPCAP, ``SetUser`` needs
CAP_SETUID and clears the permitted set, ``SetCapabilities`` needs the set that ``SetUser`` was told to keep, and a seccomp filter
may forbid all of these: it comes as late as it can.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

from labkit.errors import KernelError
from labkit.linux import capabilities, syscalls
from labkit.records import record
from labkit.runtime.plans import Step

if TYPE_CHECKING:
    from labkit.linux.capabilities import Capabilities
    from labkit.runtime.context import Context


@record
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
        return f"setpriv --bounding-set={_setpriv(self.keep)}"


def _setpriv(names: frozenset[str]) -> str:
    """A set of capabilities as setpriv(1) takes it."""
    return ",".join(["-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in sorted(names))])


@record
class SetUser(Step):
    """Who the process is. ``keep``: capabilities are set by hand right after, so the change of user must not clear them."""

    man: ClassVar[str] = "setresuid(2)"
    uid: int
    gid: int
    groups: tuple[int, ...]
    umask: int | None
    keep: bool

    @property
    def is_root(self) -> bool:
        """Whether it stays root, in root's group."""
        return not (self.uid or self.gid)

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
        if self.is_root:
            return '"$(command -v chroot)" .'
        return f'"$(command -v chroot)" --userspec={self.uid}:{self.gid} --groups={",".join(map(str, self.groups))} .'


def _setgroups_denied() -> bool:
    """In a user namespace that an ordinary user made, nobody may drop a group (CVE-2014-8989)."""
    try:
        with open("/proc/self/setgroups") as file:
            return file.read().startswith("deny")
    except OSError:
        return False


@record
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
            context.warn(f"capabilities that labkit itself does not have: {', '.join(sorted(lost))}")

    def shell(self) -> str:
        return f"setpriv --inh-caps={_setpriv(self.sets.inheritable)} --ambient-caps={_setpriv(self.sets.ambient)}"


@record
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
