"""The checks of notebook 04: they read /proc of the containers' processes, and what those have written."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from labkit.errors import NotFound
from labkit.lessons.evidence import boxes, family
from labkit.lessons.stage import DATA, RUN
from labkit.lessons.verdict import Verdict, failed, passed
from labkit.linux import capabilities, mounts, namespaces, processes
from labkit.runtime import state

_RUN_IT = "fill the blank and run the starter cell."
_PATIENCE = 5.0  # seconds, for a program to do what it was started for


def mid_birth() -> Verdict:
    """Init of "half" has a root of its own, and all capabilities still."""
    for pid in boxes("mnt"):
        with namespaces.entered(pid, "uts"):
            if os.uname().nodename != "half":
                continue
        before, after = mounts.at("/"), mounts.at("/", pid)
        if before and after and (before.device, before.root) == (after.device, after.root):
            return failed(
                f"Too early: `/` of process {pid} is the host's `/`, and its table has {len(mounts.table(pid))} mounts.",
                "read the plan again: which step takes the host's mounts out of the table?",
            )
        kept = len(capabilities.of(pid).bounding)
        if kept <= len(capabilities.DEFAULT):
            return failed(
                f"Too late: of all its capabilities process {pid} has only {kept} left in the bounding set.",
                "stop before the steps that take power away; `half.abandon()`, and run the starter with an earlier one.",
            )
        return passed(f"Process {pid} has a root of its own and not one mount of the host, but all {kept} capabilities still.")
    return failed("Not yet: no process of this notebook has a mount namespace of its own and the host name half.", _RUN_IT)


def exec_by_hand() -> Verdict:
    """A process of ours that the container "vault" did not start is in all five namespaces of it."""
    init = _init("vault")
    if not init:
        return failed("There is no running container called vault.", "run the starter cell.")
    own = [kind for kind, shared in namespaces.compare(init).items() if not shared]
    entered: list[list[str]] = []
    for pid in set(family()) - {init}:
        try:
            shared = namespaces.compare(pid, init)
            entered.append([kind for kind in own if shared[kind]])
        except NotFound:
            continue
        if entered[-1] == own:
            kept, given = (len(capabilities.of(each).bounding) for each in (pid, init))
            return passed(
                f"Process {pid} has entered all of it: {', '.join(own)}. But it can get {kept} capabilities, where the container has "
                f"{given}, and it is in your control group: nsenter enters namespaces, and nothing else."
            )
    most = max(entered, key=len, default=[])
    if not most:
        return failed("Not yet: no process of yours shares a namespace with vault.", _RUN_IT)
    missing = ", ".join(kind for kind in own if kind not in most)
    return failed(f"Your process shares {', '.join(most)} with vault, but not {missing}.", "`nsenter --help` has an option for each kind.")


def one_capability() -> Verdict:
    """The container "web" listens on port 80, with a single capability in its bounding set."""
    init = _init("web")
    if init:
        _wait(lambda: _listens(init, 80) or not processes.alive(init))
    if not init or not processes.alive(init):
        return failed(
            "The web server has ended: the kernel did not let it bind to port 80, although it is root.",
            "`web.wait()` shows its last words; `man 7 capabilities` says what ports below 1024 take.",
        )
    if not _listens(init, 80):
        return failed(f"Process {init} runs, but nobody listens on port 80 in its network namespace.", "run the starter cell again.")
    names = capabilities.of(init).bounding
    if len(names) > 1:
        return failed(f"It listens; but {len(names)} capabilities are more than it needs.", "one is enough. Which?")
    return passed(f"Port 80 is open in the namespace of process {init}, and {', '.join(names)} is all the power that its root has.")


def one_call_less() -> Verdict:
    """The container "strict" runs under a filter, could write a file, and could not make a directory."""
    init = _init("strict")
    made = f"{DATA}/04/strict/rootfs/tmp/made"
    written = f"{DATA}/04/strict/rootfs/tmp/written"
    if init:
        _wait(lambda: os.path.exists(written) or not processes.alive(init))
    if not init or not processes.alive(init):
        return failed("There is no running container called strict.", "run the starter cell; `strict.wait()` shows its last words.")
    if os.path.exists(made):
        return failed("mkdir went through: `/tmp/made` is there.", "which system call does `mkdir` make? `man 2 mkdir` knows two.")
    if not os.path.exists(written):
        return failed("There is no directory, but no file either: the filter forbids more than mkdir.", "forbid less.")
    with open(f"/proc/{init}/status") as file:
        mode = next(line.split()[1] for line in file if line.startswith("Seccomp:"))
    if mode != "2":
        return failed("No directory was made, but no filter forbade it.", "run the starter cell again.")
    return passed(f"/proc/{init}/status has `Seccomp: 2`, a filter; the file was written, and mkdir was refused at the kernel's door.")


def _init(id: str) -> int:
    """The host's number for process 1 of a container that is created or runs; 0 if there is none."""
    try:
        found = state.load(RUN, id)
    except NotFound:
        return 0
    return found.pid if processes.alive(found.pid, found.startTime) else 0


def _listens(pid: int, port: int) -> bool:
    """Whether a TCP socket in the process's network namespace is in state LISTEN (0A) at that port (``man 5 proc``)."""
    for table in ("tcp", "tcp6"):
        try:
            with open(f"/proc/{pid}/net/{table}") as file:
                rows = [line.split() for line in file][1:]
        except OSError:
            continue
        if any(int(row[1].rpartition(":")[2], 16) == port and row[3] == "0A" for row in rows):
            return True
    return False


def _wait(happened: Callable[[], bool]) -> None:
    """What a program does in a file or a socket of its own sends no message: so look until it is done, or for some seconds."""
    deadline = time.monotonic() + _PATIENCE
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.01)


CHECKS: dict[str, Callable[[], Verdict]] = {
    "mid-birth": mid_birth,
    "exec-by-hand": exec_by_hand,
    "one-capability": one_capability,
    "one-call-less": one_call_less,
}
