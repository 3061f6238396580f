"""What a container has written, read from its log: all or the last of it, by time, by stream, and as it is written."""

from __future__ import annotations

import json
import os
import select
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit.engine import logs, times
from labkit.engine.config import LogConfig
from labkit.engine.container import Container
from labkit.engine.logs import Log
from labkit.errors import InvalidInput, Unsupported
from tests.containers import SECONDS, Make, ran

BOTH = "for i in 1 2 3; do echo out $i; echo err $i >&2; done"


def read(container: Container, **how: object) -> list[tuple[int, bytes]]:
    """Streams and lines, in order."""
    with Log(container, **how) as log:  # type: ignore[arg-type]
        return [(stream, line) for stream, lines in log for line in lines]


def text(container: Container, **how: object) -> str:
    return b"".join(line for _, line in read(container, **how)).decode()


@pytest.fixture
def finished(make: Make) -> Callable[..., Container]:
    """``finished("echo hello")``: a container in which that script has run."""

    def do(script: str, **fields: object) -> Container:
        container = make("sh", "-c", script, **fields)
        assert ran(container) == 0
        return container

    return do


def test_streams_are_told_apart_and_each_can_be_had_alone(finished: Callable[..., Container]) -> None:
    container = finished(BOTH)
    assert sorted(read(container)) == [(1, b"out 1\n"), (1, b"out 2\n"), (1, b"out 3\n"), (2, b"err 1\n"), (2, b"err 2\n"), (2, b"err 3\n")]
    assert text(container, stderr=False) == "out 1\nout 2\nout 3\n"
    assert text(container, stdout=False) == "err 1\nerr 2\nerr 3\n"
    with pytest.raises(InvalidInput, match=r"^you must choose at least one stream$"):
        Log(container, stdout=False, stderr=False)


@pytest.mark.parametrize(
    ("tail", "expected"), [(0, ""), (1, "5\n"), (3, "3\n4\n5\n"), (5, "1\n2\n3\n4\n5\n"), (100, "1\n2\n3\n4\n5\n"), (-1, "1\n2\n3\n4\n5\n")]
)
def test_the_last_lines(finished: Callable[..., Container], tail: int, expected: str) -> None:
    assert text(finished("seq 5"), tail=tail) == expected


def test_every_byte_comes_back_as_it_was_written(finished: Callable[..., Container]) -> None:
    container = finished(
        r"printf 'tab\t quote\42 back\\slash \\n \033[1mbold\033[0m é € 😀\r\n\0\n'; head -c 100000 /dev/zero | tr '\0' x; echo; printf end"
    )
    expected = 'tab\t quote" back\\slash \\n \033[1mbold\033[0m é € 😀\r\n\0\n' + "x" * 100000 + "\nend"
    assert text(container) == expected


def test_times_are_those_of_the_log_and_bound_what_is_read(finished: Callable[..., Container]) -> None:
    container = finished("for i in 1 2 3 4; do echo $i; sleep 0.02; done")
    with open(container.log_path) as file:
        stamps = [json.loads(line)["time"] for line in file]
    assert text(container, timestamps=True) == "".join(f"{stamp} {number}\n" for number, stamp in enumerate(stamps, 1))
    moments = [times.parse(stamp) for stamp in stamps]
    assert text(container, since=moments[1]) == "2\n3\n4\n"
    assert text(container, since=moments[1] + 1) == "3\n4\n"
    assert text(container, until=moments[1]) == "1\n2\n"
    assert text(container, until=moments[1] - 1) == "1\n"
    assert text(container, since=moments[1], until=moments[2]) == "2\n3\n"
    assert text(container, since=moments[3] + 1) == text(container, until=moments[0] - 1) == ""
    assert text(container, tail=2, since=moments[0]) == "3\n4\n"


def test_without_a_log_there_is_nothing_to_read(make: Make) -> None:
    container = make("echo", "hello", LogConfig=LogConfig("none"))
    assert ran(container) == 0
    assert not container.log_path and not [name for name in os.listdir(container.directory) if "json.log" in name]
    with pytest.raises(Unsupported, match=r"^configured logging driver does not support reading$"):
        Log(container)


def test_a_container_that_never_ran_has_written_nothing_and_following_it_ends(make: Make) -> None:
    assert read(make("true")) == read(make("true"), follow=True) == []


def test_following_ends_with_the_container(make: Make) -> None:
    container = make("sh", "-c", "echo one; read word; echo two; exit 3", OpenStdin=True, StdinOnce=True)
    line = container.attach(stdin=True)
    container.start()
    with Log(container, follow=True) as log:
        assert next(log) == (1, [b"one\n"])
        assert log.take(timeout=0) is None and not log.ended
        line.send(b"go\n")
        assert next(log) == (1, [b"two\n"])
        assert log.take() is None and log.ended
    line.close()
    assert text(container, follow=True) == "one\ntwo\n"


def test_following_from_the_last_lines_on(make: Make) -> None:
    container = make("sh", "-c", "seq 100; read word; echo new", OpenStdin=True, StdinOnce=True)
    line = container.attach(stdin=True)
    container.start()
    found = b""
    while not found.endswith(b"100\n"):
        packet = line.receive()
        assert packet
        found += packet[1]
    with Log(container, follow=True, tail=2) as from_two, Log(container, follow=True, tail=0) as from_now:
        assert next(from_two) == (1, [b"99\n", b"100\n"])
        line.send(b"go\n")
        assert next(from_two) == next(from_now) == (1, [b"new\n"])
        assert from_now.take() is None
    line.close()


def test_an_event_loop_can_wait_for_what_is_new(make: Make) -> None:
    container = make("sh", "-c", "read word; echo said; read word", OpenStdin=True, StdinOnce=True)
    line = container.attach(stdin=True)
    container.start()
    with Log(container, follow=True) as log:
        assert log.take(0) is None
        assert not select.select([log], [], [], 0)[0]
        line.send(b"go\n")
        assert select.select([log], [], [], SECONDS)[0]
        assert log.take(SECONDS) == (1, [b"said\n"])
        line.close()
        while not log.ended:
            assert select.select([log], [], [], SECONDS)[0]
            assert log.take(0) is None


def test_following_stops_at_a_moment(make: Make) -> None:
    container = make("sh", "-c", "while :; do echo tick; sleep 0.01; done")
    container.start()
    end = times.now() + times.SECOND // 5
    with open(container.log_path):
        found = read(container, follow=True, until=end, timestamps=True)
    assert found and times.now() >= end
    assert all(line[:30] <= times.text(end).encode() for _, line in found)
    assert container.state.running
    silent = make("sleep", "1000")
    silent.start()
    assert read(silent, follow=True, until=times.now() + times.SECOND // 10) == []


def test_close_lets_go_who_follows(make: Make) -> None:
    container = make("sleep", "1000")
    container.start()
    log = Log(container, follow=True)
    found: list[object] = []
    follower = threading.Thread(target=lambda: found.extend(log))
    follower.start()
    log.close()
    log.close()
    follower.join(SECONDS)
    assert not follower.is_alive() and found == [] and log.ended


def test_many_can_follow_and_each_hears_all(make: Make) -> None:
    container = make("sh", "-c", "read word; seq 20000", OpenStdin=True, StdinOnce=True)
    line = container.attach(stdin=True, stdout=False)
    container.start()
    found: list[str] = []
    followers = [threading.Thread(target=lambda: found.append(text(container, follow=True))) for _ in range(8)]
    for each in followers:
        each.start()
    line.send(b"go\n")
    for each in followers:
        each.join(SECONDS)
    line.close()
    assert found == ["".join(f"{number}\n" for number in range(1, 20001))] * 8


def test_following_goes_on_when_the_log_is_begun_anew(make: Make) -> None:
    limits = LogConfig("json-file", {"max-size": "20k", "max-file": "3"})
    # Between the blocks the reader may catch up: who is slower than three files are long misses what is gone.
    container = make(
        "sh", "-c", "for i in $(seq 100); do seq $i 100 10000; read word; done", LogConfig=limits, OpenStdin=True, StdinOnce=True
    )
    line = container.attach(stdin=True, stdout=False)
    container.start()
    expected = [str(number) for i in range(1, 101) for number in range(i, 10001, 100)]
    found: list[bytes] = []
    with Log(container, follow=True) as log:
        for _, lines in log:
            found += lines
            if len(found) % 100 == 0:
                line.send(b"go\n")
    line.close()
    assert [each.decode().strip() for each in found] == expected
    files = [name for name in os.listdir(container.directory) if "json.log" in name]
    assert len(files) == 3 and max(os.path.getsize(f"{container.directory}/{name}") for name in files) < 21000
    kept = text(container).split()
    assert kept == expected[-len(kept) :]
    assert text(container, tail=500).split() == expected[-500:]


def test_a_restarted_container_goes_on_with_its_log(finished: Callable[..., Container]) -> None:
    container = finished("echo once more")
    assert ran(container) == 0
    assert text(container) == "once more\n" * 2


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, (0, 1)), ({"max-size": "10m"}, (10_000_000, 1)), ({"max-size": "1.5k", "max-file": "3"}, (1500, 3)),
     ({"max-size": "100"}, (100, 1)), ({"max-size": "2 GiB"}, (2_000_000_000, 1)),
     ({"max-size": "-1"}, (0, 1)), ({"max-size": "5MB", "max-file": "2"}, (5_000_000, 2))],
)  # fmt: skip
def test_sizes_are_dockers(options: dict[str, str], expected: tuple[int, int]) -> None:
    assert logs.rotation(LogConfig("json-file", options)) == expected


def test_a_full_disk_stops_neither_program_nor_monitor_and_the_log_goes_on_when_there_is_room(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    container = make("sh", "-c", "seq 10000; read word; echo after", OpenStdin=True, StdinOnce=True)
    line = container.attach(stdin=True)
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=True)
    try:
        os.symlink(disk / "log", container.log_path)
        container.start()
        heard = b""
        while not heard.endswith(b"\n10000\n"):
            packet = line.receive()
            assert packet
            heard += packet[1]
        assert "No space left on device" in logs.trouble(container)
        whole = (disk / "log").read_bytes()
        assert 200_000 < len(whole) <= 262_144 and whole.endswith(b"}\n")
        subprocess.run(["mount", "-o", "remount,size=16m", disk], check=True)
        line.send(b"go\n")
        deadline = time.monotonic() + SECONDS
        while line.receive():
            assert time.monotonic() < deadline
        line.close()
        assert container.wait().result(SECONDS).StatusCode == 0
        assert [record.message for record in caplog.records if "No space left on device" in record.message]
        entries = [json.loads(entry)["log"] for entry in (disk / "log").read_text().splitlines()]
        assert entries == [f"{number}\n" for number in range(1, 10001)] + ["after\n"]
        os.unlink(container.log_path)
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_ten_million_lines(make: Make) -> None:
    container = make("sh", "-c", "yes | head -n 10000000", LogConfig=LogConfig("json-file", {"max-size": "100m", "max-file": "2"}))
    begin = time.monotonic()
    assert ran(container) == 0
    assert time.monotonic() - begin < SECONDS
    with Log(container, tail=1_000_000) as log:
        count = sum(len(lines) for _, lines in log if set(lines) == {b"y\n"})
    assert count == 1_000_000
