"""The files of an image in one directory, for a virtual machine, which knows nothing of layers.

    >>> with files.opened(images, image) as directory: machine.boot(directory)

    thread: a mount namespace of its own ─▶ overlay of the layers ─▶ a descriptor of its root ─▶ the thread ends
    caller: /proc/self/fd/7 is that root; nothing is mounted anywhere, and nothing stays if the caller is killed

A large image goes on a disk (``boot``), made once for each stack of layers. Source: ``man 7 mount_namespaces``. Notebook 08.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from labkit.errors import InvalidInput, Unsupported
from labkit.linux import mounts, namespaces
from labkit.vm import disks, hardware, kernel, machine

if TYPE_CHECKING:
    from labkit.image.container_config import ContainerConfig
    from labkit.image.image import Image
    from labkit.image.images import Images
    from labkit.vm.machine import Machine

LARGE = 32 << 20
"""Bytes of files from which on an image goes on a disk."""
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@contextmanager
def opened(images: Images, image: Image) -> Iterator[str]:
    """A path to the root of the image's file system, good for this process and those that inherit its descriptors."""
    top = images.ensure_unpacked(image)
    if top is None:
        raise InvalidInput(f"image {image.id}: it has no layer, and a virtual machine needs files")
    overlay = images.store.snapshots.overlay(top)

    def mount() -> int:
        namespaces.unshare("mnt")  # of this thread; when it has ended, nobody is in there, and the mount has only its descriptor
        mounts.make_private()
        overlay.mount("/mnt")
        return os.open("/mnt", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    with ThreadPoolExecutor(1) as thread:
        fd = thread.submit(mount).result()
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def boot(
    images: Images,
    image: Image,
    *,
    size: str = "micro",
    memory: int = 128 << 20,
    cpus: int = 1,
    ports: Mapping[int, int] | None = None,
    hostname: str = "vm",
    kvm: bool | None = None,
    verbose: bool = False,
    seconds: float = machine.TIME_LIMIT,
    listener: Callable[[bytes], None] | None = None,
    root: str = kernel.ROOT,
    disks_root: str = "",
) -> Machine:
    """A virtual machine with an image's files; the rest is as ``labkit.vm.machine.boot`` has it. Disks are kept below ``disks_root``."""
    check(image)
    is_large = image.size > LARGE
    with opened(images, image) as directory:
        disk = _disk(images, image, directory, disks_root or root) if is_large else None
        return machine.boot(
            None if disk else directory, disk=disk, size=size, memory=memory, cpus=cpus, ports=ports, hostname=hostname, kvm=kvm,
            verbose=verbose, seconds=seconds, listener=listener, root=root,
        )  # fmt: skip


def disk(images: Images, image: Image, root: str = kernel.ROOT) -> str:
    """The disk with an image's files, made if there is none yet."""
    with opened(images, image) as directory:
        return _disk(images, image, directory, root)


def check(image: Image) -> None:
    """``Unsupported`` if its programs are for another processor, or are to run as somebody else than root."""
    there, here = image.config.architecture, {"x86_64": "amd64", "aarch64": "arm64"}.get(hardware.MACHINE, hardware.MACHINE)
    if there != here:
        raise Unsupported(f"image {image.id}: its programs are for {there}, and the kernel that is booted here is for {here}")
    if image.config.config.User not in ("", "root", "0", "0:0", "root:root"):
        raise Unsupported(f"image {image.id}: it wants user {image.config.config.User}; in the lab's virtual machines all run as root")


def environment(config: ContainerConfig) -> tuple[str, ...]:
    """The environment of an image's programs, as a container has it."""
    return (*(() if any(each.startswith("PATH=") for each in config.Env) else (PATH,)), "HOME=/root", *config.Env)


def _disk(images: Images, image: Image, directory: str, root: str) -> str:
    fd = int(directory.rpartition("/")[2])
    os.set_inheritable(fd, True)  # mke2fs reads it
    return disks.disk(directory, images.ensure_unpacked(image) or "", root)
