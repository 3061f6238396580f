"""Resource limits: what one process may use, as ``ulimit`` shows it; a control group limits many together.

    >>> from labkit.linux import rlimits
    >>> rlimits.of()["RLIMIT_NOFILE"]
    (1024, 1048576)
    >>> rlimits.set("RLIMIT_NOFILE", 64, 64)

Each limit is a pair. The soft one is in force, and its owner may raise it as far as the hard one; the hard one can be lowered by
anybody, but raised only with CAP_SYS_RESOURCE. Children inherit both. The unit is the limit's own (``man 2 getrlimit``: bytes,
seconds, descriptors), and -1 stands for unlimited.

Notebook 02-cgroups sets them beside the limits of a group.
"""

from __future__ import annotations

import resource
from errno import EPERM

from labkit.errors import InvalidInput, KernelError, NotFound

# In the order of <asm-generic/resource.h>: a name's place is its number.
NAMES = (
    *("RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_DATA", "RLIMIT_STACK"),
    *("RLIMIT_CORE", "RLIMIT_RSS", "RLIMIT_NPROC", "RLIMIT_NOFILE"),
    *("RLIMIT_MEMLOCK", "RLIMIT_AS", "RLIMIT_LOCKS", "RLIMIT_SIGPENDING"),
    *("RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_RTPRIO", "RLIMIT_RTTIME"),
)
_UNLIMITED = 1 << 63


def of(pid: int = 0) -> dict[str, tuple[int, int]]:
    """The soft and the hard limit of a process (0 is the caller), by name."""
    try:
        return {name: resource.prlimit(pid, number) for number, name in enumerate(NAMES)}
    except ProcessLookupError:
        raise NotFound(f"no process {pid}") from None
    except OSError as error:
        raise KernelError.of(error, "get the limits of process", str(pid)) from None


def set(name: str, soft: int, hard: int, pid: int = 0) -> None:
    """Set one limit of a process (0 is the caller). Unlimited is -1 or, as in an OCI bundle, 2⁶⁴ - 1."""
    if name not in NAMES:
        raise InvalidInput(f"rlimit: there is none called {name!r} (they are {', '.join(NAMES)})")
    soft, hard = (-1 if value >= _UNLIMITED else value for value in (soft, hard))
    if (hard != -1 and not 0 <= soft <= hard) or min(soft, hard) < -1:
        raise InvalidInput(f"rlimit: the soft limit of {name}, {soft}, must lie between 0 and the hard one, {hard}")
    try:
        resource.prlimit(pid, NAMES.index(name), (soft, hard))
    except ProcessLookupError:
        raise NotFound(f"no process {pid}") from None
    except OSError as error:
        hint = "raising a hard limit takes CAP_SYS_RESOURCE; that of open files ends at /proc/sys/fs/nr_open"
        raise KernelError.of(error, f"set {name} to", f"{soft}:{hard}", hint if error.errno == EPERM else "") from None
