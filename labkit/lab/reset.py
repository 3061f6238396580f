"""Put the machine back: ``labkit reset``.

    >>> from labkit.lab import reset
    >>> reset.reset()
    ('killed 2 processes in the cgroup labkit', 'unmounted /run/labkit/lessons/03/merged', 'removed /run/labkit/lessons')
    >>> reset.reset()                                                        # a second time there is nothing
    ()

labkit marks what it makes: cgroups are below ``labkit/``, links are called ``lk…`` and ``labkit0``, tables of the firewall ``labkit``,
mounts, named network namespaces and state are below /run/labkit and /var/lib/labkit. So no record has to be right for this to work: a
crash can lose a record, but not a mark.
The order is from the inside out, since what is inside keeps the outside busy:

    containers ─▶ processes ─▶ mounts, and with them namespaces ─▶ links ─▶ firewall ─▶ cgroups ─▶ directories

Containers come first, because their journals know of things outside of the marks: a root file system mounted in a bundle of yours.

JupyterLab, the lab's registry and its daemon go on running, and images stay, in the registry and in the store: they are no mess, and
what fills them may need a network that is not there. ``all`` takes those back, too: then nothing of the lab is left but its program. A
directory is only removed when nothing is mounted below it any more: it could be a bind of yours.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from labkit.errors import Conflict, LabError
from labkit.image.registry import settings
from labkit.lab import daemon, jupyter, mirrors, registry
from labkit.linux import cgroups, links, mounts, nftables
from labkit.network import beside, nat
from labkit.runtime import container, state

_PATIENCE = 10.0  # seconds


@dataclass(frozen=True)
class Marks:
    """How to know what is labkit's. A test of ``reset`` has marks of its own, and so harms no container but its own."""

    group: str = "labkit"
    link_prefix: str = "lk"
    bridge: str = "labkit0"
    table: str = "labkit"
    places: tuple[str, str] = ("/run/labkit", "/var/lib/labkit")
    settings: str = settings.PATH


def reset(marks: Marks | None = None, all: bool = False) -> tuple[str, ...]:
    """Take back what is labkit's on this machine, but for images and the servers that run, or with ``all`` those, too.

    Says what that was, a line each. Raises ``Conflict`` if it is called from inside of what it would take back, or if somebody
    who is changing images does not end.
    """
    marks = marks or Marks()
    run, data = marks.places
    # It would make anew what we take away. Its containers are ours to end, as it is ours to start again.
    stopped = daemon.down(run)
    try:
        return _taken_back(marks, all, has_daemon=bool(stopped))
    finally:
        if stopped and not all:
            daemon.up(run, data, marks.settings)


def _taken_back(marks: Marks, all: bool, has_daemon: bool) -> tuple[str, ...]:
    run, _ = marks.places
    return (
        *(_servers(run) if all else ()),
        *_containers(*(f"{run}/{each}" for each in ("containers", "build", "runtime", "lessons"))),
        *_processes(marks.group),
        *_alone(f"{marks.places[1]}/lock", f"{marks.places[0]}/seed/lock"),
        *_mounts(marks.places),
        *_links(marks.link_prefix, marks.bridge),
        *_tables(marks.table),
        *_cgroups(marks.group),
        *_directories(marks, all, has_daemon),
    )


def _servers(run: str) -> Iterator[str]:
    if jupyter.down(f"{run}/jupyter"):
        yield "stopped JupyterLab"
    if registry.down(f"{run}/registry"):
        yield "stopped the registry"


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


def _alone(*locks: str) -> tuple[str, ...]:
    """Wait for whoever pulls, builds or seeds: their half-made layers are about to go. If a container kept them busy, they end now."""
    deadline = time.monotonic() + _PATIENCE
    for lock in filter(os.path.exists, locks):
        with open(lock) as file:
            while not _try(file):
                if time.monotonic() > deadline:
                    raise Conflict(f"another labkit is busy with images (`fuser {lock}` names it): wait or end it, then `labkit reset`")
                time.sleep(0.1)
    return ()


def _try(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def _mounts(places: tuple[str, ...]) -> Iterator[str]:
    """The last that was mounted goes first. What is mounted on a place itself is somebody's disk for it, and stays."""
    for mount in reversed(mounts.table()):
        if any(_is_below(mount.target, place) for place in places) and mount.target not in places:
            mounts.unmount(mount.target, lazy=True)
            yield f"unmounted {mount.target}"


def _links(prefix: str, bridge: str) -> Iterator[str]:
    for name in links.names():
        # The other end of a veth pair goes with the first, and may be gone by now.
        if (name.startswith(prefix) or name == bridge) and links.exists(name):
            if links.find(name).kind == "bridge":
                beside.forget(name)
            links.delete(name)
            yield f"removed the link {name}"


def _tables(name: str) -> Iterator[str]:
    """The firewall's; that of a second engine has the name and a mark after it."""
    if nftables.available():
        for table in nat.tables():
            if table == name or table.startswith(f"{name}_"):
                nat.remove(table)
                yield f"removed the table {table} of the firewall"


def _cgroups(name: str) -> Iterator[str]:
    group = cgroups.Cgroup(name)
    if any(map(os.path.isdir, group.directories)):
        group.delete()
        yield f"removed the cgroup {name} and those below it"


def _directories(marks: Marks, all: bool, has_daemon: bool) -> Iterator[str]:
    kept = set() if all else _kept(*marks.places, has_daemon)
    for place in filter(os.path.isdir, marks.places):
        for path in _removable(place, kept):
            # All mounts were taken off above. Whatever is there now is not ours to delete through.
            if mounted := next((mount.target for mount in mounts.table() if _is_below(mount.target, path)), None):
                raise Conflict(f"{mounted} is mounted again: stop what mounts it, then `labkit reset`")
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
            yield f"removed {path}"
        if not os.listdir(place) and not os.path.ismount(place):
            os.rmdir(place)
    if all and mirrors.forget(f"http://127.0.0.1:{registry.PORT}", marks.settings):
        yield f"removed {marks.settings}"


def _kept(run: str, lib: str, has_daemon: bool) -> set[str]:
    """Images, wherever they are, the kernel of virtual machines, and what belongs to a server that runs. Locks go with what they guard."""
    names = ("images", "build", "registry", "vm", "lock", "snapshots/committed", "snapshots/empty", "snapshots/lock")
    emptied = ("snapshots/active/.", "snapshots/trash/.")  # the directories themselves, for who has them open; not what is in them
    kept = {f"{lib}/{name}" for name in (*names, *emptied)}
    if jupyter.running(f"{run}/jupyter"):
        kept |= {f"{run}/jupyter", f"{lib}/jupyter"}
    if registry.running(f"{run}/registry"):
        kept.add(f"{run}/registry")
    if has_daemon:  # it would make these anew
        kept |= {f"{run}/daemon", f"{run}/containers/.", f"{lib}/engine.lock"}
        kept |= {f"{lib}/{name}/." for name in ("containers", "networks", "volumes")}
    return kept


def _removable(place: str, kept: set[str]) -> Iterator[str]:
    """What is below a directory, and neither kept nor on the way to what is."""
    for path in sorted(entry.path for entry in os.scandir(place)):
        if path not in kept:
            yield from _removable(path, kept) if any(_is_below(each, path) for each in kept) else [path]


def _is_below(path: str, place: str) -> bool:
    return path == place or path.startswith(f"{place}/")
