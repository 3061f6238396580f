"""Put the machine back: ``labkit reset``.

    >>> from labkit.lab import reset
    >>> reset.reset()
    ('killed 2 processes in the cgroup labkit', 'unmounted /run/labkit/lessons/03/merged', 'removed /run/labkit/lessons')
    >>> reset.reset()                                                        # a second time there is nothing
    ()

labkit marks what it makes: cgroups are below ``labkit/``, links are called ``lk…``, mounts, named network namespaces and state
are below /run/labkit and /var/lib/labkit. So no record has to be right for this to work: a crash can lose a record, but not a mark.
The order is from the inside out, since what is inside keeps the outside busy:

    containers ─▶ processes ─▶ mounts, and with them namespaces ─▶ links ─▶ cgroups ─▶ directories

Containers come first, because their journals know of things outside of the marks: a root file system mounted in a bundle of yours.

JupyterLab goes on running. A directory is only removed when nothing is mounted below it any more: it could be a bind of yours.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from labkit.errors import Conflict, LabError
from labkit.lab import jupyter
from labkit.linux import cgroups, links, mounts
from labkit.runtime import container, state


@dataclass(frozen=True)
class Marks:
    """How to know what is labkit's. A test of ``reset`` has marks of its own, and so harms no container but its own."""

    group: str = "labkit"
    link_prefix: str = "lk"
    places: tuple[str, ...] = ("/run/labkit", "/var/lib/labkit")


def reset(marks: Marks | None = None) -> tuple[str, ...]:
    """Take back all that is labkit's on this machine but a running JupyterLab; says what that was, a line each.

    Raises ``Conflict`` if it is called from inside of what it would take back.
    """
    marks = marks or Marks()
    return (
        *_containers(f"{marks.places[0]}/runtime", f"{marks.places[0]}/lessons"),
        *_processes(marks.group),
        *_mounts(marks.places),
        *_links(marks.link_prefix),
        *_cgroups(marks.group),
        *_directories(marks.places),
    )


def _containers(*roots: str) -> Iterator[str]:
    for root in roots:
        for id in state.ids(root):
            try:
                container.delete(root, id, force=True)
            except LabError:
                state.undo(root, id)  # its creation died half-way
            yield f"deleted the container {id}"


def _processes(name: str) -> Iterator[str]:
    """Every container, and every box that a lesson limits, is in a cgroup of ours: that is how none escapes."""
    group = cgroups.Cgroup(name)
    pids = group.processes()
    if os.getpid() in pids:
        raise Conflict(f"this process is itself in the cgroup {name}: run `labkit reset` in another terminal")
    if pids:
        group.kill()
        yield f"killed {len(pids)} process{'es' if len(pids) > 1 else ''} in the cgroup {name}"


def _mounts(places: tuple[str, ...]) -> Iterator[str]:
    """The last that was mounted goes first."""
    for mount in reversed(mounts.table()):
        if any(_is_below(mount.target, place) for place in places):
            mounts.unmount(mount.target, lazy=True)
            yield f"unmounted {mount.target}"


def _links(prefix: str) -> Iterator[str]:
    for name in links.names():
        # The other end of a veth pair goes with the first, and may be gone by now.
        if name.startswith(prefix) and name in links.names():
            done = subprocess.run(["ip", "link", "delete", name], capture_output=True, text=True, check=False)
            if done.returncode != 0 and name in links.names():
                raise LabError(f"ip link delete {name}: {done.stderr.strip()}")
            yield f"removed the link {name}"


def _cgroups(name: str) -> Iterator[str]:
    group = cgroups.Cgroup(name)
    if any(map(os.path.isdir, group.directories)):
        group.delete()
        yield f"removed the cgroup {name} and those below it"


def _directories(places: tuple[str, ...]) -> Iterator[str]:
    kept = {jupyter.RUN, jupyter.SETTINGS} if jupyter.running() else set()
    for place in filter(os.path.isdir, places):
        for path in sorted({entry.path for entry in os.scandir(place)} - kept):
            # All mounts were taken off above. Whatever is there now is not ours to delete through.
            if mounted := next((mount.target for mount in mounts.table() if _is_below(mount.target, path)), None):
                raise Conflict(f"{mounted} is mounted again: stop what mounts it, then `labkit reset`")
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
            yield f"removed {path}"
        if not os.listdir(place):
            os.rmdir(place)


def _is_below(path: str, place: str) -> bool:
    return path == place or path.startswith(f"{place}/")
