"""The kernel that a virtual machine boots: Debian's for clouds, unpacked below a directory of the lab's and never installed.

    >>> from labkit.vm import kernel
    >>> found = kernel.find()
    >>> found.release
    '6.1.0-56-cloud-amd64'
    >>> [os.path.basename(path) for path in found.modules("virtio_console")]      # what it needs comes first
    ['virtio_ring.ko', 'virtio.ko', 'virtio_console.ko']

Drivers are modules: files of machine code that are linked into a running kernel (``man 8 insmod``). Each says in its section
``.modinfo`` which others must be there before it; ``depmod`` would write that to a list, and here it is read from the modules
themselves. Only a kernel of its own can be given modules; a container has none. Notebook 08.
"""

from __future__ import annotations

import lzma
import os
import re
from collections.abc import Iterator
from functools import cached_property
from glob import glob

from labkit.errors import InvalidInput, NotFound

ROOT = "/var/lib/labkit/vm"


class Kernel:
    """A kernel package, unpacked: ``image`` is what is booted."""

    def __init__(self, image: str, release: str, directory: str) -> None:
        self.image = image
        self.release = release
        """As ``uname -r`` prints it in the machine."""
        self._directory = directory

    def __repr__(self) -> str:
        return f"<kernel {self.release}>"

    def modules(self, *names: str) -> tuple[str, ...]:
        """The files of these modules and of all that they need, in an order in which they can be loaded; built-in ones have none."""
        ordered: dict[str, None] = {}
        for name in names:
            self._add(name, ordered)
        return tuple(ordered)

    def _add(self, name: str, ordered: dict[str, None]) -> None:
        if name not in self._files:
            if name in self._built_in:
                return
            raise NotFound(f"kernel {self.release}: no module {name} below {self._directory}")
        for needed in depends(contents(self._files[name])):
            self._add(needed, ordered)
        ordered[self._files[name]] = None

    @cached_property
    def _files(self) -> dict[str, str]:
        found = {}
        for place, _, files in os.walk(f"{self._directory}/kernel"):
            for file in files:
                if match := re.fullmatch(r"(.+)\.ko(\.xz|\.zst)?", file):
                    found[_canonical(match[1])] = f"{place}/{file}"
        return found

    @cached_property
    def _built_in(self) -> set[str]:
        try:
            with open(f"{self._directory}/modules.builtin") as file:
                return {_canonical(os.path.basename(line.strip()).removesuffix(".ko")) for line in file}
        except FileNotFoundError:
            return set()


def find(root: str = ROOT) -> Kernel:
    """The newest kernel below ``root``; ``NotFound`` says how it gets there."""
    images = glob(f"{root}/kernel/boot/vmlinuz-*")
    if not images:
        raise NotFound(f"no kernel for virtual machines in {root}/kernel: `make setup` fetches Debian's")
    image = max(images, key=_age)
    release = os.path.basename(image).partition("-")[2]
    # Debian's packages have lib/modules, or usr/lib/modules from 13 on.
    places = [path for path in (f"{root}/kernel/lib/modules/{release}", f"{root}/kernel/usr/lib/modules/{release}") if os.path.isdir(path)]
    if not places:
        raise NotFound(f"kernel {release} in {root}/kernel has no modules: `make setup` fetches Debian's anew if you remove that directory")
    return Kernel(image, release, places[0])


def contents(path: str) -> bytes:
    """A module as ``insmod`` takes it, whatever it was compressed with."""
    with open(path, "rb") as file:
        data = file.read()
    if path.endswith(".xz"):
        return lzma.decompress(data)
    if path.endswith(".zst"):
        import zstandard  # only Ubuntu's need it

        return zstandard.ZstdDecompressor().stream_reader(data).read()
    return data


def depends(module: bytes) -> Iterator[str]:
    """The names of the modules that a module needs, as it says itself."""
    said = re.search(rb"(?:^|\0)depends=([^\0]*)\0", module)
    if said is None:
        raise InvalidInput("this is no kernel module: it does not say what it depends on")
    yield from (_canonical(name) for name in said[1].decode().split(",") if name)


def _canonical(name: str) -> str:
    return name.replace("-", "_")  # a file may be called with the one and asked for with the other


def _age(image: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", os.path.basename(image)))
