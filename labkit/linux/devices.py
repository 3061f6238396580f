"""Device nodes: files that are a door to a driver, with a type and two numbers in place of contents.

    >>> from labkit.linux import devices
    >>> for device in devices.DEFAULT:
    ...     devices.make("/run/labkit/c1/rootfs", device)

The node is only the door's handle. Whoever makes a node with the numbers of the host's disk holds the disk, which is why a
container makes none itself: it lacks the right (``CAP_MKNOD``, or a user namespace takes it away), or its control group lets
it make nodes but not open them (``labkit.linux.cgroups.devices``).

``man 2 mknod``, ``man 4 null``; shown in notebook 04-a-container-from-parts.
"""

from __future__ import annotations

import os
import stat
from errno import EEXIST, EPERM

from labkit.errors import InvalidInput, KernelError
from labkit.linux import mounts
from labkit.records import record

_TYPES = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


@record
class Device:
    """A node to be made, with the field names of the OCI runtime specification.

    ``type`` is "c" (character; also "u"), "b" (block) or "p" (a pipe with a name, which has no numbers).
    """

    path: str
    type: str
    major: int = 0
    minor: int = 0
    fileMode: int | None = None
    uid: int | None = None
    gid: int | None = None


DEFAULT = (
    Device("/dev/null", "c", 1, 3, 0o666),
    Device("/dev/zero", "c", 1, 5, 0o666),
    Device("/dev/full", "c", 1, 7, 0o666),
    Device("/dev/random", "c", 1, 8, 0o666),
    Device("/dev/urandom", "c", 1, 9, 0o666),
    Device("/dev/tty", "c", 5, 0, 0o666),
)
"""What the OCI runtime specification gives to every container; it adds /dev/console and /dev/ptmx, which go with a terminal."""


def make(root: str, device: Device) -> None:
    """Make the node ``device.path`` inside the root file system ``root``; no symbolic link there leads out of it.

    In a user namespace, where nobody may make nodes, the host's node of the same path is bound there instead. A node with
    the same type and numbers that is there already stays as it is, for it may be the host's own.
    """
    if device.type not in _TYPES:
        raise InvalidInput(f"device {device.path}: type {device.type!r} is not one of {', '.join(_TYPES)}")
    directory, name = os.path.split(device.path)
    with mounts.inside(root, directory, "dir") as spot:
        node = f"{spot}/{name}"
        try:
            os.mknod(node, _TYPES[device.type] | 0o600, os.makedev(device.major, device.minor))
            # The owner first, since a change of owner clears bits of the mode; and the mode apart, since the umask cuts mknod's.
            os.chown(node, device.uid or 0, device.gid or 0)
            os.chmod(node, 0o666 if device.fileMode is None else device.fileMode & 0o7777)
        except OSError as error:
            if error.errno == EEXIST and _is(node, device):
                return
            if error.errno == EPERM:
                mounts.bind(device.path, device.path, root=root)
                return
            hint = "something else has that name" if error.errno == EEXIST else ""
            raise KernelError.of(error, "mknod", f"{root.rstrip('/')}{device.path}", hint) from None


def _is(node: str, device: Device) -> bool:
    found = os.lstat(node)
    same_numbers = device.type == "p" or found.st_rdev == os.makedev(device.major, device.minor)
    return stat.S_IFMT(found.st_mode) == _TYPES[device.type] and same_numbers
