"""Notebook 08: a container and a virtual machine of one image, and the checks, which read the kernels of both.

    >>> both = machines.start(lesson)            # a store, an engine and an image of the lesson's own; nothing has started yet
    >>> both.container.run("uname", "-r").output, both.machine.run("uname", "-r").output
    ('6.1.0-40-amd64\\n', '6.1.0-56-cloud-amd64\\n')
    >>> machines.close()                         # both end; so they do with this process, in whatever way it ends

The image is Debian's busybox and one module of the virtual machine's kernel, ``dummy.ko``: a network card that is none. It needs neither
network nor ``labkit up``. Each side runs ``sleep`` and is started when it is first asked for. Shown in notebook 08.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress

from labkit.engine.build import builder
from labkit.errors import LabError
from labkit.image.images import Images
from labkit.lab.comparison import bench, sides
from labkit.lab.comparison.sides import Container, VirtualMachine
from labkit.lessons import stores
from labkit.lessons.stage import Lesson
from labkit.lessons.verdict import Verdict, failed, passed
from labkit.linux import cgroups
from labkit.vm import kernel
from labkit.vm.machine import Machine

IMAGE = "both:v1"
SLEEP = ("sleep", "100000")
LEASH = "labkit/08/leash"
MODULE = "dummy"

_NOBODY = "neither side of this lesson is there: the kernel was restarted, or they were closed."
_FIRST_CELL = "run the first cell again."
_open: list[Both] = []


class Both:
    """The two sides of a lesson."""

    def __init__(self, lesson: Lesson) -> None:
        self.images = _images(lesson)
        self._closing = ExitStack()
        data, run, group = f"{lesson.data}/comparison", f"{lesson.run}/comparison", f"{lesson.groups}/comparison"
        self.place = self._closing.enter_context(bench.opened(self.images, IMAGE, data=data, run=run, group=group))
        self._container: Container | None = None
        self._machine: VirtualMachine | None = None
        self.others: list[Container] = []
        """What ``more`` has started."""

    def __repr__(self) -> str:
        how = "accelerated" if self.place.kvm else "emulated"
        return f"a container and a virtual machine of {IMAGE}, which is {how}"

    @property
    def container(self) -> Container:
        """The container, started if it is not yet."""
        if self._container is None:
            self._container = self._closing.enter_context(sides.Container(self.place, SLEEP))
        return self._container

    @property
    def machine(self) -> VirtualMachine:
        """The virtual machine, started if it is not yet."""
        if self._machine is None:
            self._machine = self._closing.enter_context(sides.VirtualMachine(self.place, SLEEP))
        return self._machine

    def boot(self, size: str = "full", verbose: bool = False) -> Machine:
        """One more virtual machine, for a ``with`` block."""
        return self.place.boot(size, verbose=verbose)

    def more(self, count: int) -> list[Container]:
        """So many further containers, in place of those that were asked for before."""
        while self.others:
            self.others.pop().close()
        for _ in range(count):
            self.others.append(self._closing.enter_context(sides.Container(self.place, SLEEP)))
        return self.others

    def close(self) -> None:
        """End and remove all of it."""
        self._closing.close()


def start(lesson: Lesson) -> Both:
    """The two sides of a lesson, in place of those of an earlier call."""
    close()
    made = Both(lesson)
    _open.append(made)
    lesson.at_end(close)
    return made


def close() -> None:
    """End both sides, if there are any."""
    while _open:
        with suppress(LabError, OSError):  # the lesson, or `labkit reset`, may have taken their directories already
            _open.pop().close()


def module() -> Verdict:
    """The module is in the virtual machine's kernel."""
    if not _open:
        return failed(_NOBODY, _FIRST_CELL)
    inside, here = _open[0].machine.run("cat", "/proc/modules").output, _text("/proc/modules")
    if _is_loaded(inside) and _open[0].machine.run("test", "-e", f"/sys/module/{MODULE}").code == 0:
        where = "and this machine's kernel has not got it" if not _is_loaded(here) else "and what this machine's own has is another copy"
        return passed(f"/proc/modules of the virtual machine names {MODULE}, {where}.")
    return failed(
        f"Not yet: /proc/modules of the virtual machine does not name {MODULE}.",
        "a module becomes a part of a kernel. Which of the two has a kernel of its own? Fill the blank and run the starter cell.",
    )


def leash() -> Verdict:
    """QEMU is in the control group that limits it."""
    if not _open:
        return failed(_NOBODY, _FIRST_CELL)
    group, both = cgroups.Cgroup(LEASH), _open[0]
    held = group.processes() if group.exists() else ()
    if both.machine.pid in held:
        threads = len(os.listdir(f"/proc/{both.machine.pid}/task"))
        return passed(f"process {both.machine.pid}, QEMU with its {threads} threads, is in {LEASH}: the whole machine is.")
    if both.container.pid in held:
        return failed(
            f"What is in {LEASH} is the first process of the container.",
            "the machine's own process is called after the program that makes it: `ps -ef | grep qemu`.",
        )
    if held:
        return failed(f"Process {held[0]} is in {LEASH}, and that is not the virtual machine.", "`both.machine.pid` is its number.")
    return failed(f"Not yet: there is no process in {LEASH}.", "fill the blank and run the starter cell.")


def density() -> Verdict:
    """So many containers run that another would still fit, and together they take less memory than one virtual machine."""
    if not _open:
        return failed(_NOBODY, _FIRST_CELL)
    both = _open[0]
    running = [side for side in both.others if side.container.state.running]
    if not running:
        return failed("Not yet: no further container runs.", "fill the blank and run the starter cell.")
    taken, whole = sum(side.memory().total for side in running), both.machine.memory().total
    words = f"{len(running)} containers take {taken >> 20} MiB together, the virtual machine {whole >> 20} MiB"
    if taken > whole:
        return failed(f"{words}: that is too many.", "start fewer.")
    if len(running) < 8:
        return failed(f"{words}: there is room for more.", "divide the one by what one of the others takes.")
    return passed(f"{words}.")


def _images(lesson: Lesson) -> Images:
    """The lesson's store, with the image in it."""
    engine = stores.filled(lesson, tags=("busybox:latest",))
    lesson.fresh("context", "")
    context = f"{lesson.data}/context"
    (path,) = kernel.find().modules(MODULE)
    for name, contents in ((f"{MODULE}.ko", kernel.contents(path)), ("Dockerfile", f"FROM busybox\nCOPY {MODULE}.ko /\n".encode())):
        with open(f"{context}/{name}", "wb") as file:
            file.write(contents)
    builder.build(engine.images, context, tags=(IMAGE,), epoch=0)
    return engine.images


def _is_loaded(modules: str) -> bool:
    return any(line.startswith(f"{MODULE} ") for line in modules.splitlines())


def _text(path: str) -> str:
    with suppress(FileNotFoundError), open(path) as file:
        return file.read()
    return ""  # this machine's kernel has no modules at all


CHECKS = {"module": module, "leash": leash, "density": density}
