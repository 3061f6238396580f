"""The place where a comparison is made: an engine and an image of its own, gone afterwards in whatever way it ends.

    >>> with bench.opened(images, "nginx") as place:
    ...     place.server, place.port
    (('nginx', '-g', 'daemon off;'), 80)

It keeps apart from the containers of others, and from a daemon that runs: the image is carried over, for a store can have one engine only.
All that it makes is below /var/lib/labkit/comparison, /run/labkit/comparison and the control group labkit/comparison. Notebook 08.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from labkit.lab.comparison import files, guard
from labkit.linux import processes
from labkit.vm import kernel, machine

if TYPE_CHECKING:
    from labkit.engine.engine import Engine
    from labkit.image.image import Image
    from labkit.image.images import Images
    from labkit.vm.machine import Machine

DATA = "/var/lib/labkit/comparison"
RUN = "/run/labkit/comparison"
GROUP = "labkit/comparison"
# What an image without a server of its own serves: busybox has one for small things.
_SMALL_SERVER = ("sh", "-c", "mkdir -p /srv && echo hello > /srv/index.html && exec httpd -f -p 80 -h /srv")


class Bench:
    """Where both sides are started."""

    def __init__(self, engine: Engine, name: str, kvm: bool | None, root: str, memory: int) -> None:
        self.engine = engine
        self.name = name
        self.image: Image = engine.image(name)
        self.root = root
        self.answer = machine.accelerated(root)
        self.kvm = self.answer.kvm if kvm is None else kvm
        self.memory = memory
        self.disk = files.disk(engine.images.images, self.image, engine.root)  # made now, so that it is there when the clock runs
        config = self.image.config.config
        exposed = next((int(port.partition("/")[0]) for port in config.ExposedPorts), 0)
        self.port = exposed or 80
        self.server = (*config.Entrypoint, *config.Cmd) if exposed else _SMALL_SERVER
        """What both sides run to answer on ``port``."""

    def boot(self, size: str = "micro", ports: Mapping[int, int] | None = None, verbose: bool = False) -> Machine:
        """A virtual machine with the image's files."""
        images = self.engine.images.images
        return files.boot(
            images, self.image, size=size, memory=self.memory, ports=ports, kvm=self.kvm, verbose=verbose, root=self.root,
            disks_root=self.engine.root,
        )  # fmt: skip


@contextmanager
def opened(
    images: Images,
    name: str,
    *,
    kvm: bool | None = None,
    memory: int = 128 << 20,
    root: str = kernel.ROOT,
    data: str = DATA,
    run: str = RUN,
    group: str = GROUP,
) -> Iterator[Bench]:
    """A bench with an image of a store. ``kvm``, ``memory`` (bytes) and ``root`` are for the virtual machines."""
    from labkit.engine.engine import Engine
    from labkit.image import archives

    mark = f"{os.getpid()}-{os.urandom(3).hex()}"
    places, group = (f"{data}/{mark}", f"{run}/{mark}"), f"{group}/{mark}"
    with ExitStack() as undo:
        undo.callback(guard.clear, group, *places)
        undo.callback(_dismiss, _guarded(group, places))
        os.makedirs(places[0])
        engine = undo.enter_context(Engine(*places, cgroup_parent=group))
        with tempfile.TemporaryFile(dir=places[0]) as archive:
            archives.save(images, [name], archive)
            archive.seek(0)
            archives.load(engine.images.images, archive)
        yield Bench(engine, name, kvm, root, memory)
        for container in engine.containers.list(all=True):
            container.remove(force=True)


def _guarded(group: str, places: tuple[str, str]) -> subprocess.Popen[bytes]:
    """Have a process watch over this one: see ``guard``."""
    us = processes.stat(os.getpid())
    assert us is not None, "we are alive"
    command = [sys.executable, "-m", guard.__name__, str(us.pid), str(us.start_time), group, *places]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)


def _dismiss(watcher: subprocess.Popen[bytes]) -> None:
    watcher.kill()
    watcher.wait()
