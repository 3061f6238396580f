"""The stdio that a monitor holds: its log, its door, and who comes in there."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit import runtime
from labkit.errors import LabError
from labkit.runtime import state
from labkit.runtime.client import Job
from labkit.runtime.plans import Plan
from labkit.runtime.spawner import Request

Bundle = Callable[..., str]


class Client:
    """Somebody who is attached: hears the streams apart, and speaks."""

    def __init__(self, directory: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with state.short(directory) as name:
            self.socket.connect(f"{name}/monitor.sock")
        self.socket.settimeout(20)
        self.heard = {1: b"", 2: b""}

    def say(self, packet: bytes) -> None:
        self.socket.send(packet)

    def hear(self) -> bool:
        """One more packet; whether there was one."""
        packet = self.socket.recv(1 << 17)
        if packet:
            self.heard[packet[0]] += packet[1:]
        return bool(packet)

    def hear_until(self, text: bytes, stream: int = 1) -> bytes:
        while text not in self.heard[stream]:
            assert self.hear(), f"{text!r} never came: {self.heard}"
        return self.heard[stream]

    def hear_all(self) -> bytes:
        while self.hear():
            pass
        return self.heard[1]


class Detached:
    """A container whose monitor holds its stdio, as the daemon's will."""

    def __init__(self, plan: Plan, log: Path, rotation: tuple[int, int] = (0, 1)) -> None:
        self.plan, self.log = plan, log
        self.job = Job(Request(plan, start=False, log=str(log), rotation=rotation), capture=False)
        self.job.hear("created")
        self.box = runtime.find(plan.id, plan.root)

    def attach(self) -> Client:
        return Client(self.plan.directory)

    def entries(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
def detached(bundle: Bundle, root: str, directory: Path) -> Iterator[Callable[..., Detached]]:
    """``detached("cat")``: a container that is created and not started, with a shell script as its program."""
    made: list[Detached] = []

    def make(script: str, rotation: tuple[int, int] = (0, 1), **changes: object) -> Detached:
        plan = runtime.plan(bundle({name.replace("__", "."): value for name, value in changes.items()}, "sh", "-c", script), root=root)
        made.append(Detached(plan, directory / "log", rotation))
        return made[-1]

    yield make
    for each in made:
        each.box.delete(force=True)
        with contextlib.suppress(LabError):
            each.job.hear("ended")
        each.job.close()


def test_the_log_has_a_json_object_for_each_line_as_dockers_has(detached: Callable[..., Detached]) -> None:
    made = detached("echo one; echo two >&2; printf 'half a '; sleep 0; echo line; printf 'progress 1\\rprogress 2\\n'; printf 'no end'")
    made.box.start()
    assert made.job.hear("ended") == 0
    entries = made.entries()
    assert [entry["log"] for entry in entries if entry["stream"] == "stdout"] == [
        "one\n", "half a line\n", "progress 1\rprogress 2\n", "no end",
    ]  # fmt: skip
    assert [entry["log"] for entry in entries if entry["stream"] == "stderr"] == ["two\n"]
    assert all(set(entry) == {"log", "stream", "time"} for entry in entries)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", entry["time"]) for entry in entries)
    assert state.exit_code(made.plan.root, made.plan.id) == 0


def test_a_line_without_end_is_logged_in_pieces_and_none_is_lost(detached: Callable[..., Detached]) -> None:
    made = detached("head -c 100000 /dev/zero | tr '\\0' x; echo; echo é")
    made.box.start()
    assert made.job.hear("ended") == 0
    logged = [entry["log"] for entry in made.entries()]
    assert "".join(logged) == "x" * 100000 + "\né\n"
    assert {len(piece) for piece in logged[:-2]} == {16384} and logged[-1] == "é\n"


def test_who_is_attached_before_the_start_hears_every_byte_and_the_streams_apart(detached: Callable[..., Detached]) -> None:
    made = detached("echo out; echo err >&2; head -c 300000 /dev/zero; exit 3")
    client = made.attach()
    made.box.start()
    assert client.hear_all() == b"out\n" + bytes(300000) and client.heard[2] == b"err\n"
    assert made.job.hear("ended") == 3


def test_what_a_client_says_is_standard_input_and_it_can_end_it(detached: Callable[..., Detached]) -> None:
    made = detached("read first; echo got $first; cat; echo end of file")
    made.box.start()
    client = made.attach()
    client.say(b"ihello\nmore")
    client.hear_until(b"got hello\nmore")
    client.say(b"i and more\n")
    client.say(b"e")
    client.say(b"ithis comes too late")
    assert client.hear_all() == b"got hello\nmore and more\nend of file\n"
    assert made.job.hear("ended") == 0


def test_clients_come_and_go_and_the_container_does_not_mind(detached: Callable[..., Detached]) -> None:
    made = detached("while read word; do echo $word; done")
    made.box.start()
    first, second = made.attach(), made.attach()
    first.say(b"ione\n")
    assert (first.hear_until(b"one\n"), second.hear_until(b"one\n")) == (b"one\n", b"one\n")
    first.socket.close()
    second.say(b"itwo\n")
    assert second.hear_until(b"two\n") == b"one\ntwo\n"
    second.socket.close()
    third = made.attach()
    third.say(b"ithree\n")
    assert third.hear_until(b"three\n") == b"three\n"
    assert made.box.status == "running"


@pytest.mark.parametrize("terminal", [False, True], ids=["pipes", "terminal"])
def test_more_input_than_the_program_takes_at_once_blocks_nobody(detached: Callable[..., Detached], terminal: bool) -> None:
    """cat writes what it reads: a monitor that waited for it to read would keep it from writing, and both would stand still."""
    made = detached("stty raw -echo 2>/dev/null; echo ready; exec head -c 3000000", process__terminal=terminal)
    client = made.attach()
    made.box.start()
    if terminal:
        client.hear_until(b"ready")
    block = bytes(range(33, 83)) * 1000

    def speak() -> None:
        for _ in range(60):
            client.say(b"i" + block)

    speaker = threading.Thread(target=speak)
    speaker.start()
    said = client.hear_all().partition(b"ready")[2].lstrip()
    speaker.join()
    assert len(said) == 3_000_000 and said == block * 60


def test_a_program_that_does_not_read_holds_up_neither_output_nor_end(detached: Callable[..., Detached]) -> None:
    made = detached("read word; echo $word; while [ ! -e /stop ]; do sleep 0.01; done; echo last")
    made.box.start()
    client = made.attach()
    client.say(b"igo\n")
    for _ in range(5):
        client.say(b"i" + b"x" * 30000)
    client.hear_until(b"go\n")
    assert made.box.exec("touch", "/stop").code == 0
    assert client.hear_all() == b"go\nlast\n"


@pytest.mark.parametrize("terminal", [False, True], ids=["pipes", "terminal"])
def test_input_that_a_program_does_not_take_keeps_nobody_else_from_being_heard(detached: Callable[..., Detached], terminal: bool) -> None:
    made = detached("stty raw 2>/dev/null; trap 'stty size' WINCH; echo up; while :; do sleep 0.01; done", process__terminal=terminal)
    client = made.attach()
    made.box.start()
    client.hear_until(b"up")
    for _ in range(2):
        client.say(b"i" + b"x" * 50000)
    other = bring(made, b"12")  # which waits until it is attached
    if terminal:
        with made.attach().socket as third:
            third.send(b"r33 77")
            while b"33 77" not in other.recv(1 << 17):
                pass
    other.close()
    assert made.box.status == "running"


@pytest.mark.parametrize("nonsense", [b"r", b"rx y", b"r1 2 3", b"r-1 5", b"r99999 1", b"?", b"\0"])
def test_nonsense_from_a_client_is_ignored(detached: Callable[..., Detached], nonsense: bytes) -> None:
    for terminal in (False, True):
        made = detached("read word; echo got $word", process__terminal=terminal)
        made.box.start()
        client = made.attach()
        client.say(nonsense)
        client.say(b"ihello\n")
        assert b"got hello" in client.hear_all()
        made.box.delete(force=True)


def test_a_terminal_has_a_size_that_clients_set_and_ctrl_c_and_an_end_of_input(detached: Callable[..., Detached]) -> None:
    script = "trap 'echo INT; stty size' INT; trap 'echo WINCH; stty size' WINCH; tty; stty size; while :; do read word; done"
    made = detached(script, process__terminal=True, process__consoleSize={"height": 24, "width": 80})
    client = made.attach()
    made.box.start()
    client.hear_until(b"/dev/pts/0\r\n24 80\r\n")
    client.say(b"r50 132")
    client.hear_until(b"WINCH\r\n50 132\r\n")
    client.say(b"i\x03")
    client.hear_until(b"INT\r\n50 132\r\n")
    made.box.kill("KILL")
    assert made.job.hear("ended") == 137


def test_the_end_of_input_at_a_terminal_is_ctrl_d(detached: Callable[..., Detached]) -> None:
    made = detached("cat; echo done", process__terminal=True)
    made.box.start()
    client = made.attach()
    client.say(b"iline\n")
    client.say(b"e")
    assert client.hear_all().endswith(b"line\r\nline\r\ndone\r\n")


def test_output_of_a_grandchild_that_outlives_the_program_does_not_hold_up_its_end(bundle: Bundle, root: str, directory: Path) -> None:
    namespaces = [{"type": kind} for kind in ("mount", "uts", "ipc", "network")]  # not pid: with it, all would end with init
    plan = runtime.plan(bundle({"linux.namespaces": namespaces}, "sh", "-c", "sleep infinity & echo started"), root=root)
    job = Job(Request(plan, remove=True, log=str(directory / "log")), capture=False)
    assert job.hear("ended") == 0
    job.close()
    assert json.loads((directory / "log").read_text())["log"] == "started\n"


def test_the_door_is_open_when_the_container_is_told_to_be_created(detached: Callable[..., Detached]) -> None:
    for _ in range(10):
        made = detached("true")
        assert os.path.exists(f"{made.plan.directory}/monitor.sock")
        made.attach().socket.close()
        made.box.delete(force=True)


def bring(made: Detached, streams: bytes) -> socket.socket:
    """Attach a socket of a pair; the other end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, made.attach().socket as door:
        socket.send_fds(door, [b"a" + streams], [theirs.fileno()])
        while door.recv(1 << 17):
            pass
    ours.settimeout(20)
    return ours


def test_a_client_can_bring_a_socket_and_choose_its_streams(detached: Callable[..., Detached]) -> None:
    made = detached("read word; echo got $word; echo error >&2")
    lines = {streams: bring(made, streams) for streams in (b"1", b"2", b"12", b"")}
    made.box.start()
    lines[b""].send(b"ihello\n")
    heard = {streams: sorted(iter(lambda line=line: line.recv(1 << 17), b"")) for streams, line in lines.items()}
    out, err = b"\x01got hello\n", b"\x02error\n"
    assert heard == {b"1": [out], b"2": [err], b"12": [out, err], b"": []}
    for line in lines.values():
        line.close()


def test_what_is_brought_and_is_no_socket_is_ignored(detached: Callable[..., Detached]) -> None:
    made = detached("read word; echo got $word")
    made.box.start()
    client = made.attach()
    with open("/dev/null") as file:
        socket.send_fds(client.socket, [b"a12"], [file.fileno()])
    other = made.attach()
    other.say(b"ihello\n")
    assert other.hear_all() == b"got hello\n"


def test_a_client_that_does_not_read_holds_up_the_program_but_neither_the_others_words_nor_its_end(
    detached: Callable[..., Detached],
) -> None:
    made = detached("trap 'exit 6' TERM; yes & read word; echo $word > /heard; wait")
    stuck = made.attach()
    made.box.start()
    stuck.hear()  # it is under way; from now on nobody reads
    speaker = made.attach()
    speaker.say(b"ihello\n")
    rootfs = Path(f"/proc/{made.box.pid}/root")
    while not (rootfs / "heard").exists() or (rootfs / "heard").read_text() != "hello\n":
        assert made.box.status == "running"
    made.box.kill("TERM")
    assert made.job.hear("ended") == 6
    assert set(stuck.hear_all()) == set(b"y\n")


def test_the_last_words_wait_for_a_client_that_is_slow(detached: Callable[..., Detached]) -> None:
    made = detached("head -c 240000 /dev/zero; echo last")
    client = made.attach()
    made.box.start()
    assert made.job.hear("ended") == 0
    assert client.hear_all() == bytes(240000) + b"last\n"


def test_a_log_is_begun_anew_as_the_request_says(detached: Callable[..., Detached]) -> None:
    made = detached("seq 10000", rotation=(50_000, 3))
    made.box.start()
    assert made.job.hear("ended") == 0
    names = [made.log.with_name("log.2"), made.log.with_name("log.1"), made.log]
    assert sorted(made.log.parent.glob("log*")) == sorted(names)
    kept = [json.loads(line)["log"] for name in names for line in name.read_text().splitlines()]
    assert kept == [f"{number}\n" for number in range(10001 - len(kept), 10001)] and len(kept) > 1000


def test_a_log_that_cannot_be_written_is_told_once_and_stops_nobody(detached: Callable[..., Detached], directory: Path) -> None:
    os.symlink("/dev/full", directory / "log")
    made = detached("seq 100000; echo done >&2")
    client = made.attach()
    made.box.start()
    assert client.hear_all().endswith(b"\n100000\n") and client.heard[2] == b"done\n"
    assert made.job.hear("ended") == 0
    told = Path(f"{made.plan.directory}/trouble").read_text()
    assert told.startswith(f"write {directory}/log: ENOSPC (No space left on device: ") and told.count("\n") == 1


def test_after_its_output_is_closed_a_program_runs_on_and_the_door_still_opens(detached: Callable[..., Detached]) -> None:
    made = detached("echo last; exec >&- 2>&-; read word; exit 7")
    client = made.attach()
    made.box.start()
    assert client.hear_all() == b"last\n"
    late = made.attach()
    assert late.hear_all() == b"" and made.box.status == "running"
    made.box.kill("KILL")
    assert made.job.hear("ended") == 137


def test_a_monitor_that_has_carried_much_has_kept_little(detached: Callable[..., Detached]) -> None:
    def private(pid: int) -> int:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_"))

    made = detached("yes 0123456789 | head -c 10000000; echo done >&2; read word")
    client = made.attach()
    made.box.start()
    client.hear_until(b"done\n", stream=2)
    status = Path(f"/proc/{made.box.pid}/status").read_text()
    monitor = int(re.findall(r"^PPid:\t(\d+)", status, re.MULTILINE)[0])
    assert private(monitor) < 2500, "kB that are the monitor's alone"
