"""Steps that decide what the container finds below its root: device nodes, hidden and read-only paths (``man 5 proc``).

/proc and /sys are windows into the whole machine's kernel, in part in no namespace. What tells or does too much there is
covered by a mount, which the container cannot take away.
"""

from __future__ import annotations

import os
from contextlib import suppress
from shlex import quote
from typing import TYPE_CHECKING, ClassVar

from labkit.linux import devices, mounts, paths
from labkit.records import record
from labkit.runtime.plans import Step

if TYPE_CHECKING:
    from labkit.linux.devices import Device
    from labkit.runtime.context import Context

LINKS = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
)


@record
class MakeDevices(Step):
    """Device nodes in the container's /dev, and the links that programs expect beside them."""

    man: ClassVar[str] = "mknod(2)"
    rootfs: str
    nodes: tuple[Device, ...]

    def __str__(self) -> str:
        return "make " + " ".join(os.path.basename(node.path) for node in self.nodes) + " in /dev"

    @property
    def why(self) -> str:
        return "no program runs long without /dev/null; the disks of the host are not among them"

    def apply(self, context: Context) -> None:
        for node in self.nodes:
            devices.make(self.rootfs, node)
        for link, target in LINKS:
            with paths.inside(self.rootfs, os.path.dirname(link), "dir") as directory:
                try:
                    os.symlink(target, f"{directory}/{os.path.basename(link)}")
                except FileExistsError:
                    continue  # the image brings its own

    def shell(self) -> str:
        lines = [f'mkdir -p "$ROOT"{quote(place)}' for place in sorted({os.path.dirname(node.path) for node in self.nodes} - {"/dev"})]
        lines += [
            f'mknod -m {node.fileMode or 0o666:o} "$ROOT"{quote(node.path)} {node.type} {node.major} {node.minor}' for node in self.nodes
        ]
        return "\n".join(lines + [f'ln -sfn {target} "$ROOT"{link}' for link, target in LINKS])


@record
class MaskPaths(Step):
    """Kernel files that tell or do too much: hidden."""

    man: ClassVar[str] = "proc(5)"
    paths: tuple[str, ...]

    def __str__(self) -> str:
        return "hide " + ", ".join(self.paths)

    @property
    def why(self) -> str:
        return "these are the whole machine's, in no namespace: /dev/null over files, an empty tmpfs over directories"

    def apply(self, context: Context) -> None:
        for path in self.paths:
            mounts.mask(path)

    def shell(self) -> str:
        body = (
            '    if [ -d "$ROOT$path" ]; then mount -t tmpfs -o ro tmpfs "$ROOT$path"\n'
            '    elif [ -e "$ROOT$path" ]; then mount --bind "$ROOT"/dev/null "$ROOT$path"; fi'
        )
        return f"for path in {' '.join(map(quote, self.paths))}; do\n{body}\ndone"


@record
class ReadonlyPaths(Step):
    """Kernel files that may be read and not written."""

    man: ClassVar[str] = "proc(5)"
    paths: tuple[str, ...]

    def __str__(self) -> str:
        return "make " + ", ".join(self.paths) + " read-only"

    @property
    def why(self) -> str:
        return "writing here would change the whole machine, not the container"

    def apply(self, context: Context) -> None:
        for path in self.paths:
            if os.path.exists(path):
                mounts.bind(path, path)
                mounts.remount_readonly(path)

    def shell(self) -> str:
        body = '    [ -e "$ROOT$path" ] || continue\n    mount --rbind "$ROOT$path" "$ROOT$path"\n    mount -o remount,bind,ro "$ROOT$path"'
        return f"for path in {' '.join(map(quote, self.paths))}; do\n{body}\ndone"


@record
class RemountReadonly(Step):
    """A mount that was written to while it was set up, and may not be from now on."""

    man: ClassVar[str] = "mount(2)"
    target: str

    def __str__(self) -> str:
        return f"remount {self.target} read-only"

    @property
    def why(self) -> str:
        return "what is mounted and made on it is in place: now nothing there may change"

    def apply(self, context: Context) -> None:
        mounts.remount_readonly(self.target)

    def shell(self) -> str:
        target = '"$ROOT"' if self.target == "/" else f'"$ROOT"{quote(self.target)}'
        return f"mount -o remount,bind,ro {target}"


@record
class MakeWorkingDirectory(Step):
    """The directory that the program starts in, if the image lacks it; made while the root may still be written to."""

    man: ClassVar[str] = "mkdir(2)"
    path: str

    def __str__(self) -> str:
        return f"mkdir -p {self.path}"

    @property
    def why(self) -> str:
        return "an image may name a working directory that nobody has made"

    def apply(self, context: Context) -> None:
        with suppress(OSError):  # what cannot be made cannot be entered, and that is an error then
            os.makedirs(self.path, exist_ok=True)

    def shell(self) -> str:
        return f'mkdir -p "$ROOT"{quote(self.path)}'
