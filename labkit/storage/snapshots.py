"""Snapshots: layers on disk that overlayfs stacks into root file systems.

A snapshot is *active* while something writes to it and *committed* when it never changes again; only a committed one can be the
parent of others, and any number of them share it.

    prepare("c1", parent="busybox")          commit("c1", "app")
    ──────────────────────────────▶ active ──────────────────────▶ committed ──▶ parent of others
                                      └───────── remove ──────────────┘

On disk, the place of a directory is its state, so that each change of state is one ``rename``:

    ROOT/active/c1/       upper/  work/  parent -> ../../committed/busybox
    ROOT/committed/app/   upper/         parent -> ../../committed/busybox
    ROOT/new  ROOT/trash  ROOT/empty  ROOT/lock

    >>> from labkit.storage.snapshots import Snapshots
    >>> layers = Snapshots("/run/labkit/lessons/layers")
    >>> layers.prepare("c1", parent="busybox")
    >>> with layers.mounted("c1", "/mnt"): open("/mnt/hello", "w").close()
    >>> layers.changes("c1")
    (Change(kind='added', path='/hello'),)

Source: the kernel's ``Documentation/filesystems/overlayfs.rst``; OCI image-spec ``layer.md``. Shown in notebook 03.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from labkit.errors import Conflict, InvalidInput, KernelError, NotFound, Unsupported
from labkit.linux import mounts, namespaces, overlays
from labkit.storage import trees, union
from labkit.storage.union import Change

__all__ = ["Change", "OverlayMount", "Snapshot", "Snapshots"]

_MOMENT_SECONDS = 1.0
# Whatever this machine's kernel defaults to: all of a layer is in its own files, so that any other kernel reads it the same.
_SELF_CONTAINED = ("index=off", "redirect_dir=off", "metacopy=off")


@dataclass(frozen=True)
class Snapshot:
    """One layer: its name, the committed one below it, and ``upper``, the directory that holds the files of this layer alone."""

    name: str
    parent: str | None
    committed: bool
    upper: str


@dataclass(frozen=True)
class OverlayMount:
    """What to mount to see a snapshot: ``lower`` from the topmost down; without ``upper`` and ``work`` it is read-only."""

    lower: tuple[str, ...]
    upper: str | None
    work: str | None

    @property
    def options(self) -> tuple[str, ...]:
        """As ``mount -t overlay -o`` takes them."""
        return (*overlays.options(self.lower, self.upper, self.work), *self._settings)

    @property
    def _settings(self) -> tuple[str, ...]:
        return _SELF_CONTAINED if self.upper else ()

    def mount(self, target: str) -> None:
        """Mount it; ``mounts.unmount`` takes it away."""
        mounts.overlay(self.lower, self.upper, self.work, target, self._settings)


class Snapshots:
    """The snapshots below one directory. Any number of processes may use it at the same time."""

    def __init__(self, root: str) -> None:
        """``Unsupported`` if ``root`` is itself on overlayfs, as in most containers: an upper directory cannot be there."""
        self.root = os.path.realpath(root)
        try:
            os.makedirs(f"{self.root}/empty", exist_ok=True)
            for directory in "active", "committed", "trash":
                # An image's setuid programs are for its containers, not for whoever has an account here (CVE-2021-41103).
                os.makedirs(f"{self.root}/{directory}", 0o700, exist_ok=True)
        except OSError as error:
            raise KernelError.of(error, "make directories in", root) from None
        if mounts.holding(self.root).fstype == "overlay":
            raise Unsupported(f"snapshots in {root}: this is on overlayfs, which cannot hold an upper directory: use a tmpfs, ext4 or xfs")

    def __repr__(self) -> str:
        return f"Snapshots({self.root!r})"

    def list(self) -> tuple[Snapshot, ...]:
        """All snapshots, by name."""
        names = [*os.listdir(f"{self.root}/active"), *os.listdir(f"{self.root}/committed")]
        return tuple(filter(None, map(self._find, sorted(names))))

    def has(self, name: str) -> bool:
        """Whether there is a committed snapshot of this name."""
        return os.path.isdir(f"{self.root}/committed/{_checked('name', name)}")

    def get(self, name: str) -> Snapshot:
        """The snapshot of this name; ``NotFound`` if there is none."""
        found = self._find(_checked("name", name))
        if found is None:
            raise NotFound(f"snapshot {name}: there is none in {self.root}")
        return found

    def prepare(self, key: str, parent: str | None = None) -> Snapshot:
        """A new active snapshot on top of a committed one, or of nothing."""
        new, place = f"{self.root}/new", f"{self.root}/active/{_checked('key', key)}"
        with self._locked():
            if self._find(key):
                raise Conflict(f"snapshot {key}: the name is taken")
            below = self._committed(parent) if parent else None
            shutil.rmtree(new, ignore_errors=True)  # of a process that died right here
            os.makedirs(f"{new}/upper")
            os.mkdir(f"{new}/work")
            if below:
                os.symlink(f"../../committed/{parent}", f"{new}/parent")
                # The root directory that a container sees is that of the topmost layer.
                shutil.copystat(below.upper, f"{new}/upper")
                owner = os.stat(below.upper)
                os.chown(f"{new}/upper", owner.st_uid, owner.st_gid)
            os.rename(new, place)
        return self.get(key)

    def commit(self, key: str, name: str, parent: str | None = None) -> Snapshot:
        """Close the active snapshot ``key`` and call it ``name`` from now on; ``Conflict`` while it is mounted.

        ``parent`` is put below one that was prepared on top of nothing: layers are unpacked in any order, and stacked in one.
        """
        place = f"{self.root}/committed/{_checked('name', name)}"
        with self._locked():
            found = self.get(key)
            if found.committed:
                raise Conflict(f"snapshot {key}: is committed already")
            if name != key and self._find(name):
                raise Conflict(f"snapshot {name}: the name is taken")
            self._refuse_if_mounted(found)
            if parent:
                if found.parent:
                    raise Conflict(f"snapshot {key}: stands on {found.parent} already, and cannot be put on {parent}")
                self._committed(parent)
                os.symlink(f"../../committed/{parent}", f"{os.path.dirname(found.upper)}/parent")
            os.rename(os.path.dirname(found.upper), place)
        shutil.rmtree(f"{place}/work", ignore_errors=True)
        return self.get(name)

    def remove(self, name: str) -> None:
        """Delete a snapshot; ``Conflict`` while it is mounted or is a parent. One that is gone is fine."""
        with self._locked():
            found = self._find(_checked("name", name))
            if found:
                children = [child.name for child in self.list() if child.parent == name]
                if children:
                    raise Conflict(f"snapshot {name}: is the parent of {', '.join(children)}; remove these first")
                self._refuse_if_mounted(found)
                os.rename(os.path.dirname(found.upper), f"{self.root}/trash/{name}.{os.getpid()}.{os.urandom(4).hex()}")
        self.empty_trash()

    def empty_trash(self) -> None:
        """Delete what is removed, but still on the disk: of a process that died meanwhile, too."""
        for rubbish in os.listdir(f"{self.root}/trash"):
            try:
                trees.remove(f"{self.root}/trash/{rubbish}")
            except OSError:
                pass  # somebody else empties the trash at the same time, or the next one will

    def stack(self, name: str) -> tuple[Snapshot, ...]:
        """The snapshot and all below it, topmost first."""
        layers = [self.get(name)]
        while parent := layers[-1].parent:
            layers.append(self.get(parent))
        return tuple(layers)

    def overlay(self, name: str) -> OverlayMount:
        """The mount that shows a snapshot: an active one can be written to, a committed one cannot."""
        top, *below = self.stack(name)
        # An overlay has at least one lower directory, a read-only one two: under the lowest layer lies an empty one.
        lower = (*(layer.upper for layer in below), f"{self.root}/empty")
        if top.committed:
            return OverlayMount((top.upper, *lower), None, None)
        return OverlayMount(lower, top.upper, os.path.join(os.path.dirname(top.upper), "work"))

    @contextmanager
    def mounted(self, name: str, target: str) -> Iterator[str]:
        """See the snapshot at ``target`` for a while: ``with layers.mounted("c1", "/mnt"): …``; yields ``target``."""
        self.overlay(name).mount(target)
        try:
            yield target
        finally:
            mounts.unmount(target)

    def changes(self, name: str) -> tuple[Change, ...]:
        """What this layer adds to, changes in and deletes from those below it, by path.

        A file counts as changed when it was copied up, be it for a single bit of its mode, since all of it is in this layer then; a
        directory only when its own mode or owner is another. A deleted directory stands for all that was in it.
        """
        top, *below = [layer.upper for layer in self.stack(name)]
        return tuple(union.changes(top, below))

    def providers(self, name: str) -> dict[str, str]:
        """Who provides each path of the union: the name of the topmost layer that has it."""
        layers = self.stack(name)
        return {path: layers[index].name for path, index in union.walk([layer.upper for layer in layers])}

    def _find(self, name: str) -> Snapshot | None:
        for state in "active", "committed":
            place = f"{self.root}/{state}/{name}"
            if os.path.isdir(place):
                try:
                    parent = os.path.basename(os.readlink(f"{place}/parent"))
                except FileNotFoundError:
                    parent = None
                return Snapshot(name, parent, state == "committed", f"{place}/upper")
        return None

    def _committed(self, parent: str) -> Snapshot:
        found = self.get(parent)
        if not found.committed:
            raise Conflict(f"parent {parent}: is still active, and would change under its children: commit it first")
        return found

    def _refuse_if_mounted(self, snapshot: Snapshot) -> None:
        """A container's root is mounted in the container's namespace alone: look at every table of mounts that there is.

        A namespace begins as a copy of another one, so that for a moment a container that has nothing to do with it has the mount, too.
        """
        deadline = time.monotonic() + _MOMENT_SECONDS
        while found := self._mounted(snapshot):
            target, pid = found
            if pid == os.getpid() or time.monotonic() > deadline:
                raise Conflict(f"snapshot {snapshot.name}: is mounted on {target} for process {pid}: unmount it first")
            time.sleep(0.01)

    def _mounted(self, snapshot: Snapshot) -> tuple[str, int] | None:
        """Where the snapshot is mounted, and for whom; if we see it ourselves, for us."""
        names = (snapshot.upper, overlays.escape(snapshot.upper))
        for pid in (os.getpid(), *(first for first, *_ in namespaces.everyone("mnt").values())):
            try:
                table = mounts.table(pid)
            except NotFound:
                continue  # ended meanwhile
            for mount in table:
                if mount.fstype == "overlay" and any(name in option for name in names for option in mount.super_options):
                    return mount.target, pid
        return None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with open(f"{self.root}/lock", "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise KernelError.of(error, "change snapshots in", self.root) from None


def _checked(field: str, name: str) -> str:
    """A name becomes a directory's name: it must not be able to lead elsewhere."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:@+-]{0,127}", name):
        raise InvalidInput(f"{field}: {name!r} must be 1 to 128 letters, digits and _.:@+- and begin with a letter or digit")
    return name
