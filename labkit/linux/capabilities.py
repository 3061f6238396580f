"""Capabilities: root's power cut into forty-one pieces, which a process can give up one by one.

    >>> from labkit.linux import capabilities
    >>> sorted(capabilities.of(1).effective)[:2]
    ['CAP_AUDIT_CONTROL', 'CAP_AUDIT_READ']
    >>> capabilities.drop_bounding(capabilities.DEFAULT)       # for good: no program started from here gets the others back

A process has five sets of them (``man 7 capabilities``). What a container gets is settled in this order:

    1  drop_bounding(keep)      needs CAP_SETPCAP, so while still root; limits what any later execve can give
    2  prctl(PR_SET_KEEPCAPS)   or else step 3 empties the permitted set
    3  setgroups, setgid, setuid
    4  apply(caps)              effective ⊆ permitted; ambient ⊆ permitted ∩ inheritable
    5  execve                   as user 0:   permitted = effective = bounding ∪ inheritable
                                as another:  permitted = effective = ambient (for a file without capabilities)

A name that no kernel has ever had is ``InvalidInput``. One that this kernel or this process does not have cannot be given;
``apply`` goes on without it and returns its name, since the OCI runtime-spec wants a warning then and no failure.

Notebook 04-a-container-from-parts takes them away and looks at what stops working.
"""

from __future__ import annotations

from collections.abc import Iterable
from errno import EINVAL
from itertools import count

from labkit.errors import InvalidInput, KernelError, NotFound
from labkit.linux import syscalls
from labkit.records import record


def _named(words: str) -> tuple[str, ...]:
    return tuple("CAP_" + word for word in words.split())


# In the order of <linux/capability.h>: a name's place is its bit.
NAMES = _named(
    """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
    NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
    SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
    MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
    """
)

DEFAULT = frozenset(
    _named(
        """
        AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD
        NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID SYS_CHROOT
        """
    )
)
"""The fourteen that Docker gives a container."""

_NOTHING: frozenset[str] = frozenset()
_BITS = {name: 1 << number for number, name in enumerate(NAMES)}
_AMBIENT_RAISE, _AMBIENT_CLEAR_ALL = 2, 4


@record
class Capabilities:
    """The five sets of a process, under their names in the OCI runtime-spec; printed, they are in order."""

    bounding: frozenset[str] = _NOTHING
    """The most that an execve can give."""
    effective: frozenset[str] = _NOTHING
    """What the kernel asks for when the process wants to do something."""
    permitted: frozenset[str] = _NOTHING
    """What the process may make effective."""
    inheritable: frozenset[str] = _NOTHING
    """What an execve of a file that has the same inheritable ones keeps."""
    ambient: frozenset[str] = _NOTHING
    """What an execve of an ordinary file keeps, even for a user who is not root."""

    def __post_init__(self) -> None:
        for names in vars(self).values():
            mask(names)
        for name in sorted(self.effective - self.permitted):
            raise InvalidInput(f"effective: {name} must be permitted too")

    def __str__(self) -> str:
        return "\n".join(f"{name:12}{' '.join(sorted(names)) or '(none)'}" for name, names in vars(self).items())


def mask(names: Iterable[str]) -> int:
    """The set as the kernel keeps it: bit 0 is ``CAP_CHOWN``."""
    bits = 0
    for name in names:
        if name not in _BITS:
            raise InvalidInput(f"capability: there is none called {name!r} (man 7 capabilities lists them)")
        bits |= _BITS[name]
    return bits


def names(mask: int) -> frozenset[str]:
    """The names of the bits that are set; those that are newer than this list have none."""
    return frozenset(name for name, bit in _BITS.items() if mask & bit)


def last() -> int:
    """The number of the newest capability that this kernel has."""
    return next(number for number in count() if _bounded(number + 1) is None)


def of(pid: int | str = "self") -> Capabilities:
    """The five sets of a process, from ``/proc/PID/status``; ``NotFound`` if it is gone."""
    try:
        with open(f"/proc/{pid}/status", "rb") as status:
            sets = {line[:6]: names(int(line[8:], 16)) for line in status if line.startswith(b"Cap")}
    except (FileNotFoundError, ProcessLookupError):
        raise NotFound(f"no process {pid}") from None
    return Capabilities(sets[b"CapBnd"], sets[b"CapEff"], sets[b"CapPrm"], sets[b"CapInh"], sets[b"CapAmb"])


def drop_bounding(keep: Iterable[str]) -> None:
    """Drop all but these from the bounding set of the calling thread, for good. Needs ``CAP_SETPCAP``."""
    kept = mask(keep)
    # By number up to the first that the kernel does not know, so that one newer than NAMES is dropped as well.
    for number in count():
        bounded = _bounded(number)
        if bounded is None:
            return
        if bounded and not kept >> number & 1:
            try:
                syscalls.prctl(syscalls.PR_CAPBSET_DROP, number)
            except KernelError as error:
                name = NAMES[number] if number < len(NAMES) else str(number)
                raise KernelError(error.errno, "drop from the bounding set", name, "this takes CAP_SETPCAP") from None


def apply(caps: Capabilities) -> frozenset[str]:
    """Give the calling thread these sets, except the bounding one; the names of those that it could not have.

    The kernel lets the permitted set shrink and never grow, and the inheritable set take from it. Only what can be had is
    asked for, so that one capability too many does not cost all others. An ambient one that is not also permitted and
    inheritable is left out in silence, as runc does: ``runc spec`` itself writes some.
    """
    _, old_permitted, old_inheritable = syscalls.capget()
    bounding = sum(1 << number for number in range(len(NAMES)) if _bounded(number))
    permitted = mask(caps.permitted) & old_permitted
    inheritable = mask(caps.inheritable) & (old_inheritable | old_permitted & bounding)
    effective = mask(caps.effective) & permitted
    ambient = mask(caps.ambient) & permitted & inheritable
    syscalls.prctl(syscalls.PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    syscalls.capset(effective, permitted, inheritable)
    for number in range(len(NAMES)):
        if ambient >> number & 1:
            syscalls.prctl(syscalls.PR_CAP_AMBIENT, _AMBIENT_RAISE, number)
    return (caps.permitted - names(permitted)) | (caps.inheritable - names(inheritable))


def _bounded(number: int) -> bool | None:
    """Whether a capability is in the bounding set; None if the kernel has no such number. Works without /proc."""
    try:
        return bool(syscalls.prctl(syscalls.PR_CAPBSET_READ, number))
    except KernelError as error:
        if error.errno == EINVAL:
            return None
        raise
