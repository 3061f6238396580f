"""Docker's JSON of what a control group counts, in either version of control groups."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from labkit.engine import statistics
from labkit.engine.container import Container
from labkit.engine.container_file import Process, State
from labkit.linux.cgroups import Cgroup
from labkit.linux.cgroups.layout import Controller, Layout

V1 = {
    "cpuacct/cpuacct.usage": "53119849",
    "cpuacct/cpuacct.usage_percpu": "30699809 22420040 ",
    "cpuacct/cpuacct.stat": "user 3\nsystem 1",
    "cpu/cpu.stat": "nr_periods 10\nnr_throttled 4\nthrottled_time 5000",
    "memory/memory.usage_in_bytes": "425984",
    "memory/memory.max_usage_in_bytes": "4091904",
    "memory/memory.failcnt": "7",
    "memory/memory.limit_in_bytes": "67108864",
    "memory/memory.stat": "cache 40960\ntotal_inactive_file 4096",
    "pids/pids.current": "3",
    "pids/pids.max": "20",
    "io/blkio.throttle.io_service_bytes_recursive": "254:0 Read 4096\n254:0 Write 8192\n254:0 Total 12288\nTotal 12288",
    "io/blkio.throttle.io_serviced_recursive": "254:0 Read 1\n254:0 Write 2\n254:0 Total 3\nTotal 3",
}
V2 = {
    "cpu.stat": "usage_usec 53119\nuser_usec 30000\nsystem_usec 10000\nnr_periods 10\nnr_throttled 4\nthrottled_usec 5",
    "memory.current": "425984",
    "memory.max": "max",
    "memory.stat": "anon 4096\ninactive_file 8192",
    "pids.current": "3",
    "pids.max": "max",
    "io.stat": "254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0",
}


@dataclass
class Fake:
    """A container as far as statistics look at it."""

    cgroup: Cgroup
    state: State = field(default_factory=lambda: State(Status="running", Init=Process(1)))
    name: str = "box"
    id: str = "4cfc"
    is_removed: bool = False
    record: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(HostConfig=SimpleNamespace(NetworkMode="host")))


def container(place: Path, version: int) -> Container:
    names = ("memory", "cpu", "cpuacct", "pids", "io")
    mounted = {name: Controller(name, version, f"{place}/{name}" if version == 1 else str(place)) for name in names}
    for path, text in (V1 if version == 1 else V2).items():
        directory, _, name = path.rpartition("/")
        (place / directory / "box").mkdir(parents=True, exist_ok=True)
        (place / directory / "box" / name).write_text(text + "\n")
    return cast(Container, Fake(Cgroup("box", Layout(mounted, None if version == 1 else str(place)))))


def told(box: Container) -> dict[str, dict[str, object]]:
    found = statistics.once(box, one_shot=True)
    return cast(dict[str, dict[str, object]], json.loads(json.dumps(found)))


def test_version_1(tmp_path: Path) -> None:
    found = told(container(tmp_path, 1))
    assert found["cpu_stats"]["cpu_usage"] == {
        "total_usage": 53119849,
        "percpu_usage": [30699809, 22420040],
        "usage_in_kernelmode": 10_000_000,
        "usage_in_usermode": 30_000_000,
    }
    assert found["cpu_stats"]["throttling_data"] == {"periods": 10, "throttled_periods": 4, "throttled_time": 5000}
    assert found["memory_stats"] == {
        "usage": 425984,
        "max_usage": 4091904,
        "failcnt": 7,
        "limit": 67108864,
        "stats": {"cache": 40960, "total_inactive_file": 4096},
    }
    assert found["pids_stats"] == {"current": 3, "limit": 20}
    assert found["blkio_stats"]["io_service_bytes_recursive"] == [
        {"major": 254, "minor": 0, "op": "Read", "value": 4096},
        {"major": 254, "minor": 0, "op": "Write", "value": 8192},
        {"major": 254, "minor": 0, "op": "Total", "value": 12288},
    ]
    assert found["blkio_stats"]["io_queue_recursive"] == []


def test_version_2(tmp_path: Path) -> None:
    found = told(container(tmp_path, 2))
    usage = {"total_usage": 53_119_000, "usage_in_kernelmode": 10_000_000, "usage_in_usermode": 30_000_000}
    assert found["cpu_stats"]["cpu_usage"] == usage
    assert found["cpu_stats"]["throttling_data"] == {"periods": 10, "throttled_periods": 4, "throttled_time": 5000}
    assert found["memory_stats"] == {"usage": 425984, "limit": statistics._ram(), "stats": {"anon": 4096, "inactive_file": 8192}}
    assert found["pids_stats"] == {"current": 3}
    assert found["blkio_stats"]["io_service_bytes_recursive"] == [
        {"major": 254, "minor": 0, "op": "read", "value": 4096},
        {"major": 254, "minor": 0, "op": "write", "value": 8192},
    ]
    assert found["blkio_stats"]["io_queue_recursive"] is None


@pytest.mark.parametrize("version", [1, 2])
def test_the_sample_before_is_told_beside_the_one_of_now(tmp_path: Path, version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics.time, "sleep", lambda _seconds: None)
    box = container(tmp_path, version)
    found = cast(dict[str, dict[str, int]], statistics.once(box))
    assert found["precpu_stats"]["system_cpu_usage"] <= found["cpu_stats"]["system_cpu_usage"]
    assert found["precpu_stats"]["online_cpus"] >= 1
    first, second = (each for each, _ in zip(statistics.stream(box), range(2), strict=False))
    assert str(first["preread"]).startswith("0001-") and second["preread"] == first["read"] and second["precpu_stats"] == first["cpu_stats"]


def test_what_does_not_run_uses_nothing(tmp_path: Path) -> None:
    box = cast(Fake, container(tmp_path, 1))
    box.state = State()
    found = told(cast(Container, box))
    assert (found["read"], found["name"], found["id"]) == ("0001-01-01T00:00:00Z", "/box", "4cfc")
    none = {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0}
    assert found["cpu_stats"] == {"cpu_usage": none, "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0}}
    assert found["memory_stats"] == {} == found["pids_stats"] and set(found["blkio_stats"].values()) == {None}


def test_a_stream_ends_with_its_container(tmp_path: Path) -> None:
    box = cast(Fake, container(tmp_path, 2))
    box.is_removed = True
    assert list(statistics.stream(cast(Container, box))) == []
