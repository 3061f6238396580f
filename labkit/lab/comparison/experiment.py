"""The experiment: both sides in turns, so many times, and what came out.

    >>> from labkit.lab.comparison import experiment
    >>> result = experiment.compare(images, "busybox", repetitions=3, report=print)
    Step(done=1, total=14, words='container 1 of 3: first output')
    …
    >>> result.row("start").ratio
    49.2

    repetition 1   container: start, serve, …   virtual machine: start, serve, …
    repetition 2   container: …                 virtual machine: …                  in turns: what else this machine does, hits both
    …
    density        three of each at once; what the third one added is what the next ones will

Notebook 08 shows it; ``labkit vm compare`` is the same on the command line.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from labkit.lab.comparison import bench, measures, sides
from labkit.lab.comparison.results import Result, Row, Series
from labkit.records import record
from labkit.vm import disks, kernel

if TYPE_CHECKING:
    from labkit.image.images import Images
    from labkit.lab.comparison.bench import Bench

_SIDES: Mapping[str, measures.Opener] = {"container": sides.Container, "machine": sides.VirtualMachine}
_WORDS = {"container": "container", "machine": "virtual machine"}
_QUESTIONS = (
    ("kernel", ("uname", "-r")),
    ("boot ID", ("cat", "/proc/sys/kernel/random/boot_id")),
    ("processors", ("grep", "-c", "^processor", "/proc/cpuinfo")),
)
DENSITY = 3


@record
class Step:
    """How far the experiment is: ``done`` of ``total`` steps, and the one that comes now in words."""

    done: int
    total: int
    words: str


def compare(
    images: Images,
    name: str,
    *,
    repetitions: int = 3,
    kvm: bool | None = None,
    memory: int = 128 << 20,
    root: str = kernel.ROOT,
    report: Callable[[Step], None] = lambda _step: None,
    data: str = bench.DATA,
    run: str = bench.RUN,
) -> Result:
    """Measure an image of a store as a container and as a virtual machine. ``memory`` bytes is what the latter is given."""
    values: dict[tuple[str, str], list[float]] = {}
    told = _Progress(report, 2 + 4 * repetitions + 2)
    told.step("preparing the image")
    with bench.opened(images, name, kvm=kvm, memory=memory, root=root, data=data, run=run) as place:
        told.step("asking both who they are")
        facts = _facts(place)
        for repetition in range(1, repetitions + 1):
            for side, opener in _SIDES.items():
                for title, measure in (("first output", measures.started), ("serving and working", measures.served)):
                    told.step(f"{_WORDS[side]} {repetition} of {repetitions}: {title}")
                    for key, value in measure(place, opener):
                        values.setdefault((key, side), []).append(value)
        rows = [_row(measure, values) for measure in measures.MEASURES]
        rows += _disk(place)
        marginal = {}
        for side, opener in _SIDES.items():
            told.step(f"{_WORDS[side]}: {DENSITY} at once")
            marginal[side] = measures.at_rest(place, opener, DENSITY)
        rows += _density(marginal)
        return Result(name, repetitions, place.kvm, _acceleration(place), host(), facts, tuple(rows))


class _Progress:
    def __init__(self, report: Callable[[Step], None], total: int) -> None:
        self._report, self._total, self._done = report, total, 0

    def step(self, words: str) -> None:
        self._report(Step(self._done, self._total, words))
        self._done += 1


def _row(measure: measures.Measure, values: Mapping[tuple[str, str], list[float]]) -> Row:
    container, machine = (Series(tuple(values[measure.key, side])) for side in _SIDES)
    return Row(measure.key, measure.title, measure.unit, container, machine, measure.more_is_better, measure.note)


def _facts(place: Bench) -> tuple[tuple[str, str, str], ...]:
    """What both answer to the same questions, and how many processes of theirs this machine's ``ps`` shows."""
    answers: dict[str, list[str]] = {}
    for name, opener in _SIDES.items():
        with opener(place, ("sleep", "1000")) as side:
            answers[name] = [_shortened(side.run(*question).output.strip()) for _, question in _QUESTIONS]
            answers[name].append("its own" if isinstance(side, sides.Container) else "QEMU alone")
    titles = [*(title for title, _ in _QUESTIONS), "its processes on the host"]
    return tuple(zip(titles, answers["container"], answers["machine"], strict=True))


def _shortened(text: str) -> str:
    return text if len(text) < 36 else f"{text[:8]}…"


def _disk(place: Bench) -> list[Row]:
    """Bytes of files on the disk: for the first of an image, and for each more."""
    from labkit.engine import usage

    with sides.Container(place, ("sleep", "1000")) as box:
        own = usage.of_container(box.container).SizeRw
    image = place.image.size
    machine = disks.taken(place.disk)
    found = kernel.find(place.root)
    return [
        Row("disk", "files of the first", "bytes", _once(image), _once(machine + os.path.getsize(found.image)),
            note="image layers, which other images share; a disk that none shares, and a kernel"),
        Row("disk-more", "files of each more", "bytes", _once(own), _once(machine),
            note="the container's own layer; a copy of the disk, as usual (labkit's machines share one and keep changes for themselves)"),
    ]  # fmt: skip


def _density(totals: Mapping[str, list[float]]) -> list[Row]:
    """What one more takes, and how many so fit into this machine's memory."""
    marginal = {side: max((values[-1] - values[0]) / (len(values) - 1), 1.0) for side, values in totals.items()}
    fit = {side: _once(_memory()["MemTotal"] // each) for side, each in marginal.items()}
    return [
        Row("memory-more", f"memory of one more, of {DENSITY}", "bytes", _once(marginal["container"]), _once(marginal["machine"])),
        Row("density", "fit into this memory", "", fit["container"], fit["machine"], True,
            "this machine's memory by that of one more, if nothing else runs out before", extrapolated=True),
    ]  # fmt: skip


def _once(value: float) -> Series:
    return Series((float(value),))


def _acceleration(place: Bench) -> str:
    if place.kvm:
        return "with KVM"
    asked = not place.answer.kvm
    return f"emulated (TCG), {place.answer.reason}" if asked else "emulated (TCG), as was asked for"


def host() -> dict[str, str]:
    """This machine, as far as it matters for the figures."""
    system = os.uname()
    with open("/proc/cpuinfo") as file:
        virtual = "hypervisor" in file.read()
    return {
        "kernel": system.release,
        "architecture": system.machine,
        "processors": str(os.cpu_count()),
        "memory": str(_memory()["MemTotal"]),
        "is itself a virtual machine": "yes" if virtual else "not that it knows",
    }


def _memory() -> dict[str, int]:
    with open("/proc/meminfo") as file:
        return {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in file)}
