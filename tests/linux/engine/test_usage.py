"""What containers use, which processes they have, and what takes how much of the disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labkit.engine import commits, files, statistics, top, usage
from labkit.engine.config import Config
from labkit.engine.engine import Engine
from labkit.engine.usage import Size
from labkit.errors import Conflict, InvalidInput
from tests.container_files import archive, until_said
from tests.containers import Make, ran

# stats


def test_what_a_container_uses_is_told(start: Make) -> None:
    box = start("sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo ready; sleep 1000", Memory=32 << 20, PidsLimit=20)
    until_said(box, "ready")
    found = statistics.sample(box)
    assert found.cpu["cpu_usage"]["total_usage"] > 1_000_000  # type: ignore[index]
    assert found.memory["limit"] == 32 << 20 and 0 < found.memory["usage"] < 32 << 20  # type: ignore[operator]
    assert found.pids["limit"] == 20 and found.pids["current"] in (1, 2) and found.networks == {}
    assert statistics.told(box, found, found)["name"] == f"/{box.name}"


def test_one_that_ended_uses_nothing(start: Make) -> None:
    box = start()
    box.stop(0)
    assert statistics.sample(box) == statistics.Sample()
    assert statistics.once(box)["read"] == "0001-01-01T00:00:00Z"


def test_a_stream_goes_on_over_stops_and_ends_with_the_container(start: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics.time, "sleep", lambda _seconds: None)
    box = start()
    told = statistics.stream(box)
    assert next(told)["pids_stats"] == {"current": 1}
    box.stop(0)
    assert next(told)["pids_stats"] == {}
    box.start()
    assert next(told)["pids_stats"] == {"current": 1}
    box.remove(force=True)
    assert list(told) == []


# top


def test_the_processes_of_a_container_are_those_of_the_host_that_are_in_it(start: Make) -> None:
    box, other = start("sh", "-c", "echo ready; sleep 1001 & sleep 1002"), start("sh", "-c", "echo ready; exec sleep 1003")
    for each in (box, other):
        until_said(each, "ready")
    found = top.top(box, "-o pid,args")
    assert found.Titles == ("PID", "COMMAND") and str(box.state.Init.Pid) == found.Processes[0][0]
    assert {row[1] for row in found.Processes} <= {"sh -c echo ready; sleep 1001 & sleep 1002", "sleep 1001", "sleep 1002"}
    assert top.top(box).Titles == ("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")
    assert [row[1] for row in top.top(other, "aux f").Processes] == [str(other.state.Init.Pid)]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("-o comm", "Couldn't find PID field in ps output"),
        ("--nosuch", "ps: error: unknown gnu long option"),
        ("-o pid=x,comm=PID", 'specifying "pid=x,comm=PID" is not allowed'),
        ("-o \0", "ps: an argument holds a zero byte"),
    ],
)
def test_what_ps_does_not_do_is_told(start: Make, arguments: str, why: str) -> None:
    with pytest.raises(InvalidInput) as failure:
        top.top(start(), arguments)
    assert str(failure.value) == why


def test_no_shell_has_a_part_in_it(start: Make, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        top.top(start(), f"-ef; touch {tmp_path}/x")
    assert os.listdir(tmp_path) == ["run"]


def test_a_container_that_does_not_run_has_none(make: Make) -> None:
    box = make("true")
    with pytest.raises(Conflict, match=f"^Container {box.id} is not running$"):
        top.top(box)


# system df


def test_sizes_are_those_of_what_was_written_and_of_all_below(engine: Engine, make: Make) -> None:
    box, image = make("true"), engine.images.get("busybox")
    assert usage.of_container(box) == Size(0, image.size)
    files.put_archive(box, "/", archive(("a", b"x" * 5000), ("b", "=>a"), ("etc/motd", "")))
    assert usage.of_container(box) == Size(5000, image.size + 5000)


def test_layers_are_counted_once_and_shared_ones_told(engine: Engine, make: Make) -> None:
    base, box = engine.images.get("busybox"), make("true", Binds=("site:/data",))
    files.put_archive(box, "/", archive(("a", b"x" * 5000)))
    commits.commit(box, "me/more:1")
    child = engine.containers.get(engine.containers.create("", Config(Image="me/more:1", Cmd=("true",))).Id)
    engine.volumes.create("unused")
    found = usage.disk(engine)
    assert found.LayersSize == base.size + 5000
    assert {str(each.image.names[0]): (each.Size, each.SharedSize, each.Containers) for each in found.Images} == {
        "docker.io/library/busybox:latest": (base.size, base.size, 1),
        "docker.io/me/more:1": (base.size + 5000, base.size, 1),
    }
    assert {each.container.id: each.size.SizeRw for each in found.Containers} == {box.id: 5000, child.id: 0}
    assert [(each.volume.Name, each.Size, each.RefCount) for each in found.Volumes] == [("site", 15, 1), ("unused", 0, 0)]
    assert found.BuildCache == ()


def test_a_prune_of_containers_tells_what_it_freed(engine: Engine, make: Make, start: Make) -> None:
    box, running = make("true"), start()
    assert ran(box) == 0
    files.put_archive(box, "/", archive(("a", b"x" * 5000)))
    pruned = engine.containers.prune()
    assert (pruned.ContainersDeleted, pruned.SpaceReclaimed) == ((box.id,), 5000)
    assert engine.containers.list(all=True) == [running]
