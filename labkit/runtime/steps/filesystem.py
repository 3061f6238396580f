"""Steps that build what the container sees as ``/``: ``man 2 mount``, ``man 2 pivot_root``, ``man 7 mount_namespaces``.

    host's /                                     container's /
      └─ …/rootfs          ── PivotRoot ──▶        ├─ proc  sys  dev      mounts of its own
           ├─ proc (Mount)                         ├─ proc/kcore          masked: /dev/null over it
           ├─ dev  (Mount, MakeDevices)            └─ proc/sys            read-only
           └─ …                                  and the host's mounts are gone from the table

All of it happens in the container's own mount namespace: when its last process ends, the kernel takes it away.
In the shell form, ``$ROOT`` is the directory that becomes ``/``.
"""

from __future__ import annotations

import os
from shlex import quote
from typing import TYPE_CHECKING, ClassVar

from labkit.errors import LabError
from labkit.linux import idmaps, mountoptions, mounts, overlays, paths, syscalls
from labkit.records import record
from labkit.runtime.plans import Side, Step

if TYPE_CHECKING:
    from labkit.linux.idmaps import IdMap
    from labkit.runtime.context import Context


@record
class SetPropagation(Step):
    """How mounts spread between this namespace and the one that it was copied from."""

    man: ClassVar[str] = "mount_namespaces(7)"
    target: str
    propagation: str

    def __str__(self) -> str:
        return f"make {self.target} {self.propagation}"

    @property
    def why(self) -> str:
        if "shared" in self.propagation:
            return "as asked for, mounts made here may appear elsewhere too"
        return "no mount made here may appear on the host; systemd shares / with every new mount namespace"

    def apply(self, context: Context) -> None:
        mounts.set_propagation(self.target, self.propagation)

    def shell(self) -> str:
        return f"mount --make-{self.propagation} {quote(self.target)}"


@record
class BindRoot(Step):
    """The root directory becomes a mount point, as pivot_root wants it, and one that belongs to nobody else."""

    man: ClassVar[str] = "pivot_root(2)"
    rootfs: str

    def __str__(self) -> str:
        return f"bind {self.rootfs} on itself"

    @property
    def why(self) -> str:
        return "pivot_root takes a mount point, and a bind mount makes one of any directory"

    def apply(self, context: Context) -> None:
        mounts.bind(self.rootfs, self.rootfs)
        mounts.set_propagation(self.rootfs, "rprivate")

    def shell(self) -> str:
        return 'mount --rbind "$ROOT" "$ROOT"\nmount --make-rprivate "$ROOT"'


@record
class MountRoot(Step):
    """A file system, usually the union of an image's layers, mounted where the container's root shall be."""

    man: ClassVar[str] = "mount(8)"
    fstype: str
    source: str
    rootfs: str
    options: tuple[str, ...]

    def __str__(self) -> str:
        return f"mount {self.fstype} on {self.rootfs}"

    @property
    def why(self) -> str:
        return "the layers of the image below, shared and read-only; what the container changes goes to the upper directory"

    def apply(self, context: Context) -> None:
        if self.fstype == "overlay":
            lower, upper, work, others = overlays.parse(self.options)
            mounts.overlay(lower, upper, work, self.rootfs, others)
        else:
            mounts.mount(self.source, self.rootfs, self.fstype, self.options)
        mounts.set_propagation(self.rootfs, "private")

    def shell(self) -> str:
        how = f"-t {self.fstype} -o {quote(','.join(self.options))}"
        return f'mount {how} {quote(self.source)} "$ROOT"\nmount --make-private "$ROOT"'


@record
class Mount(Step):
    """One entry of ``mounts`` in ``config.json``; no symbolic link in the image can lead it out of the root."""

    man: ClassVar[str] = "mount(2)"
    rootfs: str
    destination: str
    fstype: str
    source: str
    options: tuple[str, ...]

    def __str__(self) -> str:
        what = f"bind {self.source}" if self.is_bind else f"mount {self.fstype}"
        words = [word for word in self.options if word not in ("bind", "rbind")]
        return f"{what} on {self.destination}" + (f" ({','.join(words)})" if words else "")

    @property
    def is_bind(self) -> bool:
        """Whether a directory or file of the host appears here, not a file system of the container's own."""
        return self.fstype == "bind" or "bind" in self.options or "rbind" in self.options

    @property
    def why(self) -> str:
        if self.is_bind:
            return "a piece of the host's tree, seen by the container as its own"
        return _WHY.get(self.fstype, f"the container's own {self.fstype}")

    def apply(self, context: Context) -> None:
        if self.fstype in ("proc", "sysfs") and os.path.islink(f"{self.rootfs}{self.destination}"):
            # Or what is masked there could be another file than the one that a process finds (CVE-2019-19921).
            raise LabError(f"mount {self.fstype} on {self.destination}: it is a symbolic link in the image, and must be a directory")
        mounts.mount(self.source, self.destination, None if self.is_bind else self.fstype, self.options, self.rootfs)

    def shell(self) -> str:
        target = f'"$ROOT"{quote(self.destination)}'
        spreading = [word for word in self.options if mountoptions.parse_options([word]).propagation]
        words = ",".join(word for word in self.options if word != "tmpcopyup" and word not in spreading)
        how = f"-o {quote(words)} " if words else ""
        make = f"mkdir -p {target}"
        if self.is_bind:
            parent = f'"$ROOT"{quote(os.path.dirname(self.destination))}'
            make = f"[ -d {quote(self.source)} ] && {make} || {{ mkdir -p {parent}; touch {target}; }}"
        kind = "" if self.is_bind else f"-t {self.fstype} "
        lines = [make, f"mount {kind}{how}{quote(self.source or self.fstype)} {target}"]
        lines += [f"mount --make-{word} {target}" for word in spreading]
        return "\n".join(lines)


_WHY = {
    "proc": "ps and friends read /proc: mounted anew, it shows the processes of this PID namespace alone",
    "sysfs": "hardware and network as this network namespace sees them; read-only, for it is the host's hardware",
    "tmpfs": "an empty file system in memory, gone with the container",
    "devpts": "pseudo-terminals of the container's own, numbered from 0",
    "mqueue": "POSIX message queues of this IPC namespace",
    "cgroup": "the container's own control group, and nothing above it",
    "cgroup2": "the container's own control group, and nothing above it",
}


@record
class CloneMount(Step):
    """A detached copy of a mount of the host's, with the owners of its files mapped; ``AttachMount`` puts it in place."""

    side: ClassVar[Side] = "host"
    man: ClassVar[str] = "mount_setattr(2)"
    source: str
    destination: str
    recursive: bool
    uids: tuple[IdMap, ...]
    gids: tuple[IdMap, ...]

    def __str__(self) -> str:
        return f"copy the mount {self.source} with mapped ids"

    @property
    def why(self) -> str:
        return "files that belong to one user on the disk appear as another's in the container, and back"

    def apply(self, context: Context) -> None:
        recursive = syscalls.AT_RECURSIVE if self.recursive else 0
        fd = syscalls.open_tree(self.source, syscalls.OPEN_TREE_CLONE | recursive)
        with idmaps.namespace(self.uids, self.gids) as userns:
            syscalls.mount_setattr(fd, syscalls.MOUNT_ATTR_IDMAP, recursive=self.recursive, userns=userns)
        context.mounts[self.destination] = fd

    def shell(self) -> str:
        return f"# mount(8) of util-linux 2.39 can: mount --bind -o X-mount.idmap=… {quote(self.source)} $ROOT{quote(self.destination)}"


@record
class AttachMount(Step):
    """Put the mount that ``CloneMount`` copied where the container shall see it."""

    man: ClassVar[str] = "move_mount(2)"
    rootfs: str
    destination: str
    options: tuple[str, ...]

    def __str__(self) -> str:
        return f"attach the copied mount at {self.destination}"

    @property
    def why(self) -> str:
        return "a mount made by the host, handed over as an open descriptor"

    def apply(self, context: Context) -> None:
        fd = context.mounts.pop(self.destination)
        with paths.inside(self.rootfs, self.destination, "dir") as spot:
            syscalls.move_mount(fd, spot)
        os.close(fd)
        changes = ("remount", "bind", *(word for word in self.options if word not in ("bind", "rbind")))
        if len(changes) > 2:
            mounts.mount(None, self.destination, None, changes, self.rootfs)

    def shell(self) -> str:
        return "# see the copied mount above"


@record
class PivotRoot(Step):
    """The rootfs becomes ``/``, and the host's tree leaves this mount namespace."""

    man: ClassVar[str] = "pivot_root(2)"
    rootfs: str

    def __str__(self) -> str:
        return f"pivot_root to {self.rootfs}"

    @property
    def why(self) -> str:
        return "chroot only moves where / points; this takes the host's mounts out of the table, so nothing leads back"

    def apply(self, context: Context) -> None:
        mounts.pivot_root(self.rootfs)

    def shell(self) -> str:
        # A shell that has pivoted finds none of its own tools any more; this is how an initramfs goes (switch_root(8)).
        return 'cd "$ROOT"\nmount --move . /'
