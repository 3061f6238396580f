"""A container's file system for somebody outside: what its processes see, or would see if it ran.

    >>> from labkit.engine import view
    >>> with view.readable(web) as seen:
    ...     os.listdir(seen.root)
    ['bin', 'etc', …]

A view is a mount namespace in which nobody lives. A thread makes it and ends; a descriptor keeps it, and when that is closed, or this
process is killed, the kernel takes all its mounts away.

                      the container runs                        it does not
    ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
    root              a copy of its root mount                  its layers once more: to write, with its lock held, as it is
                                                                when it runs; to read, below a layer of memory
    volumes, binds,   copies of the mounts that it has          mounted anew
    files of /etc
    tmpfs             likewise                                  nothing is left of it

The new namespace's root is the view, and nothing else is mounted there: no link, whoever made it and when, leads anywhere else. /proc,
/sys and /dev are not in a view, as in Docker: what is in them is the kernel's. Source: ``man 7 mount_namespaces``, ``man 2 open_tree``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from labkit.engine.container_file import MountPoint
from labkit.engine.oci_mounts import FILES
from labkit.errors import KernelError, LabError, NotFound
from labkit.linux import mounts, paths, processes, syscalls

if TYPE_CHECKING:
    from labkit.engine.container import Container

T = TypeVar("T")

_Mounts = list[tuple[MountPoint, int]]  # descriptors of mounts that are nowhere attached yet


class View:
    """``root`` is its root directory: the name of a descriptor. Closed at the end of a ``with`` block, or when nobody has it any more."""

    def __init__(self, namespace: int, directory: int) -> None:
        self._descriptors = [namespace, directory]
        self.root = f"/proc/self/fd/{directory}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it."""
        while self._descriptors:
            os.close(self._descriptors.pop())


def readable(container: Container, *, whole: bool = True) -> View:
    """A view to read from; without what is mounted in the container unless it is ``whole``."""
    with container.lock:
        _refuse_removed(container)
        if (view := _of_running(container, whole, readonly=True)) is not None:
            return view
        overlay = container.engine.store.snapshots.overlay(container.record.Snapshot)
        layers = [path for path in (overlay.upper, *overlay.lower) if path]
        return of_layers(layers, container.engine.run, _points(container) if whole else ())


def of_layers(layers: Sequence[str], place: str, points: Sequence[MountPoint] = ()) -> View:
    """A view to read from, of layers alone, the topmost first. ``place`` is any directory; nothing is seen in it later."""

    def attach(root: str) -> None:
        _mount_points(points, root)
        _make_readonly(root, recursive=True)

    return _in_thread(lambda: _made(place, lambda place: _mount_to_read(layers, place), attach))


@contextmanager
def writable(container: Container) -> Iterator[View]:
    """A view to write to. A container that does not run cannot be started meanwhile."""
    with container.lock:
        _refuse_removed(container)
        view = _of_running(container, whole=True, readonly=False)
        if view is None:
            with _of_stopped(container) as view:
                yield view
            return
    with view:
        yield view


def _refuse_removed(container: Container) -> None:
    if container.is_removed:
        raise NotFound(f"No such container: {container.id}")


def _of_running(container: Container, whole: bool, readonly: bool) -> View | None:
    """A view of a container that runs, with its lock held; None if it does not, or ends right now."""
    if not container.state.alive:
        return None
    points = _points(container) if whole else ()
    init = container.state.Init
    try:
        return _in_thread(lambda: _copied(init.Pid, init.StartTime, points, readonly, container.engine.run))
    except NotFound:
        return None


def _of_stopped(container: Container) -> View:
    """A view to write to of a container that does not run."""
    overlay, points = container.engine.store.snapshots.overlay(container.record.Snapshot), _points(container)

    def attach(root: str) -> None:
        _mount_points(points, root)
        if container.record.HostConfig.ReadonlyRootfs:
            _make_readonly(root, recursive=False)

    return _in_thread(lambda: _made(container.engine.run, lambda place: _mount_at(overlay.mount, place), attach))


def _points(container: Container) -> tuple[MountPoint, ...]:
    """What is mounted in it, and can be seen from outside, what lies deeper behind what it lies in."""
    record = container.record
    taken = {point.Destination for point in record.Mounts}
    files = [MountPoint("bind", path, f"{container.directory}/{name}") for path, name in FILES.items() if path not in taken]
    return tuple(sorted((*record.Mounts, *files), key=lambda point: point.Destination.count("/")))


def _in_thread(make: Callable[[], T]) -> T:
    """What a thread of its own returns or raises: one that may change its root directory and its mount namespace."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with _at_home_again():
                results.append(make())
        except BaseException as error:  # whatever it is: the one who waits shall have it
            errors.append(error)

    thread = threading.Thread(target=run, name="view")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


# From here on in that thread, which imports nothing and opens nothing by name while its root is a container's.


@contextmanager
def _at_home_again() -> Iterator[None]:
    """At the end in the namespace where it began: a thread that ends holds on to the one that it is in for a moment longer."""
    home = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.unshare(syscalls.CLONE_FS)
        try:
            yield
        finally:
            syscalls.setns(home, syscalls.CLONE_NEWNS)
    finally:
        os.close(home)


def _made(place: str, mount_root: Callable[[str], str], attached: Callable[[str], None]) -> View:
    """A new mount namespace that has nothing but the root that is mounted at ``place``, and what is attached in it."""
    syscalls.unshare(syscalls.CLONE_NEWNS)
    namespace = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        mounts.make_private("/")
        root = mount_root(place)
        attached(root)
        mounts.pivot_root(root)
        return View(namespace, os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    except BaseException:
        os.close(namespace)
        raise


def _mount_at(mount: Callable[[str], None], place: str) -> str:
    mount(place)
    return place


def _mount_to_read(layers: Sequence[str], place: str) -> str:
    """The layers, and over them one in memory: mount points that no layer has can be made in it."""
    mounts.mount("view", place, "tmpfs", ("mode=700",))
    for name in "upper", "work", "root":
        os.mkdir(f"{place}/{name}", 0o755)
    found = os.stat(layers[0])
    os.chown(f"{place}/upper", found.st_uid, found.st_gid)
    os.chmod(f"{place}/upper", found.st_mode & 0o7777)
    os.utime(f"{place}/upper", ns=(found.st_atime_ns, found.st_mtime_ns))
    settings = ("index=off", "redirect_dir=off", "metacopy=off")
    mounts.overlay(layers, f"{place}/upper", f"{place}/work", f"{place}/root", settings)
    return f"{place}/root"


def _mount_points(points: Sequence[MountPoint], root: str) -> None:
    """Volumes and binds of a container that does not run, mounted anew. One whose source is gone is left out."""
    for point in points:
        if point.Type != "tmpfs" and os.path.exists(point.Source):
            words = ["rbind", "rprivate", *(() if point.RW else ("ro",))]
            mounts.mount(point.Source, point.Destination, None, words, root)


def _make_readonly(path: str, recursive: bool) -> None:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        syscalls.mount_setattr(fd, syscalls.MOUNT_ATTR_RDONLY, recursive=recursive)
    finally:
        os.close(fd)


def _copied(pid: int, start_time: int, points: Sequence[MountPoint], readonly: bool, place: str) -> View:
    """``NotFound`` if the process is gone."""
    home = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    process = processes.pidfd(pid, start_time)
    clones: _Mounts = []
    try:
        try:
            syscalls.setns(process, syscalls.CLONE_NEWNS)
        except KernelError:
            raise NotFound(f"process {pid} has ended") from None
        try:
            root = _clones(points, clones)
        finally:
            syscalls.setns(home, syscalls.CLONE_NEWNS)
        for _, fd in clones if readonly else ():
            syscalls.mount_setattr(fd, syscalls.MOUNT_ATTR_RDONLY, recursive=True)

        def mount_root(place: str) -> str:
            syscalls.move_mount(root, place)
            return place

        def attach(root: str) -> None:
            for point, fd in clones[1:]:
                with suppress(LabError), paths.inside(root, point.Destination) as spot:  # the container may have taken it away
                    syscalls.move_mount(fd, spot)

        return _made(place, mount_root, attach)
    finally:
        for fd in (home, process, *(fd for _, fd in clones)):
            os.close(fd)


def _clones(points: Sequence[MountPoint], clones: _Mounts) -> int:
    """Copies of the root mount, alone, and of the mounts at ``points`` with all below them; added to ``clones``."""
    top = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        root = syscalls.open_tree("", syscalls.OPEN_TREE_CLONE | syscalls.AT_EMPTY_PATH, top)
        clones.append((MountPoint("root", "/"), root))
        for point in points:
            with suppress(KernelError):  # it is not there any more
                spot = syscalls.openat2(top, point.Destination, os.O_PATH, syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS)
                try:
                    flags = syscalls.OPEN_TREE_CLONE | syscalls.AT_RECURSIVE | syscalls.AT_EMPTY_PATH
                    clones.append((point, syscalls.open_tree("", flags, spot)))
                finally:
                    os.close(spot)
        return root
    finally:
        os.close(top)
