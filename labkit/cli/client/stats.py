"""``labkit stats``: what containers use, now and every second.

    labkit stats                          a table that changes in place, until ctrl-c
    labkit stats --no-stream web          one line

    CPU %      of one CPU: 200 % is two that are busy       = Δ container / Δ machine × CPUs
    MEM USAGE  without the pages of files that could be dropped at once

Source: ``docker stats --help``; engine-api, 4; ``stats_helpers.go`` of github.com/docker/cli. Shown in notebook 06.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field

import click

from labkit import codec
from labkit.cli import exits, human
from labkit.cli.client import answers, api, complete
from labkit.cli.client.api import Api
from labkit.cli.client.grammar import ask, option, say
from labkit.cli.client.listing import FORMAT
from labkit.cli.grammar import switch
from labkit.errors import LabError
from labkit.records import record

_COLUMNS = (
    ("ID", "CONTAINER ID", True), ("Name", "NAME", True), ("CPUPerc", "CPU %", True), ("MemUsage", "MEM USAGE / LIMIT", True),
    ("MemPerc", "MEM %", True), ("NetIO", "NET I/O", True), ("BlockIO", "BLOCK I/O", True), ("PIDs", "PIDS", True),
    ("Container", "CONTAINER", False),
)  # fmt: skip


@ask("stats", "[CONTAINER...]", complete=complete.containers("running"))
@switch("-a", "--all", help="Show all containers (default shows just running)")
@option("--format", help=FORMAT)
@switch("--no-stream", help="Disable streaming stats and only pull the first result")
@switch("--no-trunc", help="Do not truncate output")
def stats(words: tuple[str, ...], all: bool, format: str, no_stream: bool, no_trunc: bool) -> int:
    """Display a live stream of container(s) resource usage statistics."""
    with api.connect() as daemon:
        names = words or tuple(each.Id for each in daemon.read_all(answers.Listed, "/containers/json", all=all or None))
        if no_stream:
            _print(_once(daemon, names, bool(words)), format, no_trunc)
            return exits.DONE
        return _live(daemon, names, format, no_trunc)


@record
class _Cpu:
    total_usage: int = 0


@record
class _CpuStats:
    cpu_usage: _Cpu = _Cpu()
    system_cpu_usage: int = 0
    online_cpus: int = 0


@record
class _Memory:
    usage: int = 0
    limit: int = 0
    stats: Mapping[str, int] = field(default_factory=dict)

    @property
    def used(self) -> int:
        """Without what could be dropped: the name of that account differs between versions 1 and 2 of control groups."""
        inactive = self.stats.get("total_inactive_file", self.stats.get("inactive_file", 0))
        return self.usage - inactive if inactive < self.usage else self.usage


@record
class _Network:
    rx_bytes: int = 0
    tx_bytes: int = 0


@record
class _Io:
    op: str = ""
    value: int = 0


@record
class _Block:
    io_service_bytes_recursive: tuple[_Io, ...] = ()


@record
class _Pids:
    current: int = 0


@record
class Sample:
    """``GET /containers/ID/stats``."""

    id: str = ""
    name: str = ""
    cpu_stats: _CpuStats = _CpuStats()
    precpu_stats: _CpuStats = _CpuStats()
    memory_stats: _Memory = _Memory()
    networks: Mapping[str, _Network] = field(default_factory=dict)
    blkio_stats: _Block = _Block()
    pids_stats: _Pids = _Pids()

    def row(self, asked: str, whole: bool) -> Mapping[str, str]:
        """What ``--format`` can name. ``asked`` is what the person called the container."""
        memory = self.memory_stats
        share = memory.used / memory.limit * 100 if memory.limit else 0.0
        reads, writes = (sum(io.value for io in self.blkio_stats.io_service_bytes_recursive if io.op[:1].lower() == op) for op in "rw")
        received, sent = (sum(getattr(each, way) for each in self.networks.values()) for way in ("rx_bytes", "tx_bytes"))
        return {
            "Container": asked,
            "ID": self.id if whole else human.short(self.id),
            "Name": self.name.removeprefix("/"),
            "CPUPerc": f"{self._cpu():.2f}%",
            "MemUsage": f"{human.binary(memory.used)} / {human.binary(memory.limit)}",
            "MemPerc": f"{share:.2f}%",
            "NetIO": f"{human.size(received)} / {human.size(sent)}",
            "BlockIO": f"{human.size(reads)} / {human.size(writes)}",
            "PIDs": str(self.pids_stats.current),
        }

    def _cpu(self) -> float:
        now, before = self.cpu_stats, self.precpu_stats
        used = now.cpu_usage.total_usage - before.cpu_usage.total_usage
        passed = now.system_cpu_usage - before.system_cpu_usage
        return used / passed * now.online_cpus * 100 if used > 0 and passed > 0 else 0.0


def _once(daemon: Api, names: Sequence[str], named: bool) -> list[tuple[str, Sample]]:
    """A sample of each; it takes the daemon a second or two, so all are asked at once. One that goes meanwhile is left out."""
    from concurrent.futures import ThreadPoolExecutor

    def sample(name: str) -> Sample | None:
        try:
            return codec.decode(Sample, daemon.get(f"/containers/{name}/stats", stream=False))
        except LabError:
            if named:
                raise
            return None

    with ThreadPoolExecutor(max(len(names), 1)) as pool:
        found = list(pool.map(sample, names))
    return [(name if named else human.short(name), each) for name, each in zip(names, found, strict=True) if each]


Told = tuple[str, "Sample | LabError | None"]
"""A container's name, and a sample; or why there is none; or None when no more come."""


def _live(daemon: Api, names: Sequence[str], form: str, whole: bool) -> int:
    """Every second a table of the newest samples; on a terminal, over the one before. Ends when all containers have."""
    told: queue.Queue[Told] = queue.Queue()
    code = exits.DONE
    for name in names:
        threading.Thread(target=_follow, args=(daemon, name, told), daemon=True).start()
    newest: dict[str, Sample] = {}
    left = len(names)
    while left:
        for name, sample in _batch(told):
            if isinstance(sample, Sample):
                newest[name] = sample
                continue
            newest.pop(name, None)
            if sample is None:
                left -= 1
            else:
                say(str(sample))
                code = exits.FAILED
        if sys.stdout.isatty():
            sys.stdout.write("\x1b[H\x1b[J")
        _print([(name, newest[name]) for name in names if name in newest], form, whole)
        sys.stdout.flush()
    return code


def _follow(daemon: Api, name: str, told: queue.Queue[Told]) -> None:
    try:
        for each in daemon.stream("GET", f"/containers/{name}/stats", stream=True):
            told.put((name, codec.decode(Sample, each)))
    except LabError as error:
        told.put((name, error))
    finally:
        told.put((name, None))


def _batch(told: queue.Queue[Told]) -> Iterator[Told]:
    """What has come, and what comes in the half second after that."""
    yield told.get()
    while True:
        try:
            yield told.get(timeout=0.5)
        except queue.Empty:
            return


def _print(samples: Sequence[tuple[str, Sample]], form: str, whole: bool) -> None:
    from labkit.cli import tables

    columns = [tables.Column(*column) for column in _COLUMNS]
    lines = tables.lines(columns, [sample.row(name, whole) for name, sample in samples], form)
    click.echo("".join(f"{line}\n" for line in lines), nl=False)
