"""The checks of notebook 01: whose host name, whose processes, whose mounts, whose loopback, whose root."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from labkit.errors import NotFound
from labkit.lessons.evidence import boxes
from labkit.lessons.stage import HOST_NAME, RUN
from labkit.lessons.verdict import Verdict, failed, passed
from labkit.linux import idmaps, links, mounts, namespaces, syscalls

STUDENT = "student-7"
STASH = f"{RUN}/01/stash"


def own_hostname() -> Verdict:
    """A process of ours lives on a machine called student-7, and we do not. A slip that renamed the machine is put right."""
    here = os.uname().nodename
    if here == STUDENT:
        syscalls.sethostname(_true_host_name())
        return failed(
            f"The whole machine was called {STUDENT}: the box shares your UTS namespace (I have put the old name back).",
            "which kind of namespace holds the host name? `man 7 uts_namespaces` begins with the answer.",
        )
    for pid in boxes("uts"):
        with namespaces.entered(pid, "uts"):
            there = os.uname().nodename
        if there == STUDENT:
            return passed(f"/proc/{pid}/ns/uts differs from yours: that process is on {STUDENT}, and your host is still called {here}.")
    return failed(
        f"Not yet: no process of this notebook lives on a machine called {STUDENT}.",
        "put the kind into the blank and run the cell; `ls /proc/self/ns` lists the kinds.",
    )


def own_processes() -> Verdict:
    """A process of ours has a PID namespace and a /proc that shows it."""
    inside = boxes("pid")
    if not inside:
        return failed(
            "Not yet: no process of this notebook has a PID namespace of its own.",
            "`ls /proc/self/ns` lists the kinds; one of them holds the numbers of processes.",
        )
    for pid in inside:
        listed = [name for name in os.listdir(f"/proc/{pid}/root/proc") if name.isdecimal()]
        members = len(namespaces.everyone("pid")[namespaces.of(pid)["pid"]])
        if len(listed) <= members:
            return passed(f"`/proc` in there lists {len(listed)} process{'es' * (len(listed) > 1)}, and the first of them is PID 1.")
    return failed(
        "The box numbers its processes anew, but its `ps` still lists all of the machine's.",
        "`strace ps` or hint 2: ps asks no system call, it reads a file system. Whose?",
    )


def own_mounts() -> Verdict:
    """The stash is mounted for a process of ours, and not for us. A slip that mounted it for all is put right."""
    if mounts.at(STASH):
        mounts.unmount(STASH)
        return failed(
            f"{STASH} was mounted for the whole machine: the box shares your mount namespace (I have unmounted it).",
            "which kind of namespace holds the table that `findmnt` prints?",
        )
    for pid in boxes("mnt"):
        if any(mount.target == STASH for mount in mounts.table(pid)):
            return passed(f"/proc/{pid}/mountinfo has a line for the stash and yours has none: the treasure is there for the box alone.")
    return failed(
        "Not yet: no process of this notebook sees a file system at the stash.",
        "put the kind into the blank and run the cell; `findmnt` shows your own table of mounts.",
    )


def own_loopback() -> Verdict:
    """A process of ours has a network namespace in which lo is up."""
    inside = boxes("net")
    for pid in inside:
        with namespaces.entered(pid, "net"):
            up = links.is_up("lo")
        if up:
            return passed(f"`lo` is up in the network namespace of process {pid}, and you are back in your own.")
    if not inside:
        return failed("No process of this notebook has a network namespace of its own.", "run the starter cell once more.")
    return failed(
        "Not yet: in the box `lo` is still down, so even 127.0.0.1 cannot be reached.",
        "enter the namespace that holds links and addresses; `quiet.run('ip link show lo')` says DOWN or UP.",
    )


def nobody_outside() -> Verdict:
    """A process of ours is user 0 in a user namespace, and an unprivileged user for everybody else."""
    inside = boxes("user")
    for pid in inside:
        try:
            uids, _ = idmaps.read(pid)
        except NotFound:
            continue
        roots = [each.hostID for each in uids if each.containerID == 0]
        if roots and roots[0] != 0:
            return passed(f"/proc/{pid}/uid_map says it: root in there is user {roots[0]} out here, whom nothing of the host belongs to.")
    if not inside:
        return failed("No process of this notebook has a user namespace of its own.", "run the starter cell once more.")
    return failed(
        "Root in the box is root on the host: its `uid_map` says 0 0.",
        "map root to a user who owns nothing; `fake.run('cat /proc/self/uid_map')` shows: inside, outside, how many.",
    )


def _true_host_name() -> str:
    """What ``lessons.begin`` has seen, or else what the machine is called at boot."""
    for place in (HOST_NAME, "/etc/hostname"):
        with suppress(FileNotFoundError), open(place) as file:
            return file.read().strip()
    return "localhost"


CHECKS: dict[str, Callable[[], Verdict]] = {
    "own-hostname": own_hostname,
    "own-processes": own_processes,
    "own-mounts": own_mounts,
    "own-loopback": own_loopback,
    "nobody-outside": nobody_outside,
}
