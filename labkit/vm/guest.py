"""What runs first in a virtual machine: a few lines of shell that make it usable, and then do what they are told.

    kernel ──▶ /init ──▶ modules ──▶ /proc, /sys, /dev ──▶ root file system ──▶ network ──▶ "ready" on the line to the host
                                                          (in the archive, or a disk)             ▲ │ a command each line
                                                                                                  └─┘ its output, its exit code

The image is below /image and sees nothing else: its programs run there (``man 8 chroot``), as a container's run in its root. Our own
shell and modules are in /lab. For a virtual machine this is no protection, and none is needed: everything in here is the guest's own.

Shown in notebook 08, next to ``labkit.runtime.steps``, which do for a container what the kernel and this file do for a machine.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from labkit.errors import NotFound
from labkit.vm import cpio, kernel
from labkit.vm.kernel import Kernel

BUSYBOX = "/bin/busybox"
INIT = r"""#!/lab/busybox sh
# The first process of a virtual machine of labkit's. Its settings are in /lab/settings.
PATH=/lab/bin
busybox=/lab/busybox
$busybox mkdir -p /lab/bin /proc /sys /dev /image
$busybox --install -s /lab/bin

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null || :
. /lab/settings
inside="/lab/bin/chroot /image"
shut_down() { kill -TERM -1; sync; sleep 0.1; umount /image 2>/dev/null; reboot -f; }
for module in $modules; do
    insmod /lab/modules/$module || echo "labkit: $module could not be loaded"
done

if [ -n "$disk" ]; then
    until [ -b /dev/vda ]; do usleep 5000; done
    mount -t ext4 /dev/vda /image || echo "labkit: the disk could not be mounted"
fi
for place in proc sys dev; do
    mkdir -p /image/$place
    mount -o bind /$place /image/$place
done
mkdir -p /dev/pts /dev/shm /image/run /image/tmp
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
ln -sf /proc/self/fd /dev/fd
ln -sf /proc/self/fd/0 /dev/stdin
ln -sf /proc/self/fd/1 /dev/stdout
ln -sf /proc/self/fd/2 /dev/stderr
hostname "$hostname"

ip link set lo up
if [ -n "$address" ]; then
    ip link set eth0 up
    ip address add "$address" dev eth0
    ip route add default via "$gateway"
fi

until [ -c "$line" ]; do       # the line to the host; the driver makes it when the host has said what is behind the port
    for port in /sys/class/virtio-ports/*; do line=/dev/${port##*/}; done
    [ -c "$line" ] || usleep 2000
done
"""
LISTEN = r"""
exec 3<>"$line"
echo "$mark ready" >&3
while read -r command <&3; do
    eval "$command"
done
"""
"""How a shell takes commands from the ``line`` to the host. It has been told what puts a program into its place (``inside``), and how to
``shut_down``."""


def archive(
    found: Kernel,
    drivers: Sequence[str],
    settings: Mapping[str, str],
    directory: str | None,
    busybox: str = BUSYBOX,
) -> cpio.Archive:
    """What the machine starts from: ``/init``, a shell, modules, and the image's files if they are a ``directory``."""
    files = found.modules(*drivers)
    names = [_plain(path) for path in files]
    made = cpio.Archive()
    made.file("init", f"{INIT}{LISTEN}reboot -f\n".encode(), 0o755)
    for name in ("lab", "lab/modules", "dev", "proc", "sys"):
        made.directory(name)
    for path, name in zip(files, names, strict=True):
        made.file(f"lab/modules/{name}", kernel.contents(path))
    said = {**settings, "modules": " ".join(names)}
    made.file("lab/settings", "".join(f"{name}={quoted(value)}\n" for name, value in said.items()).encode())
    try:
        with open(busybox, "rb") as file:
            made.file("lab/busybox", file.read(), 0o755)
    except FileNotFoundError:
        raise NotFound(f"{busybox}: the first program in a virtual machine is Debian's busybox-static: `make setup` installs it") from None
    if directory:
        made.tree(directory, below="image")
    else:
        made.directory("image")
    return made


def within(arguments: Sequence[str], env: Sequence[str] = (), workdir: str = "/") -> str:
    """The command, for a shell that does ``LISTEN``, that runs a program of the image with this environment and no other."""
    if workdir not in ("", "/"):  # chroot goes to the root; from there a shell of the image's goes on
        arguments = ("sh", "-c", 'cd "$0" && exec "$@"', workdir, *arguments)
    return " ".join(["env -i", *map(quoted, env), "$inside", *map(quoted, arguments)])


def quoted(word: str) -> str:
    """A word for busybox's shell or bash, reading a line at a time: what ``shlex.quote`` gives, without line breaks."""
    return re.sub(r"\n", r"'$'\\n''", shlex.quote(word))


def _plain(path: str) -> str:
    return path.rpartition("/")[2].partition(".ko")[0] + ".ko"
