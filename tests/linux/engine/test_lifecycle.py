"""The life of a container of the engine's: created, running, paused, exited, removed; and what each step tells."""

from __future__ import annotations

import json
import os
import signal
import threading
from concurrent.futures import wait
from pathlib import Path

import pytest

from labkit.engine.container import Container, Exit
from labkit.engine.engine import Engine
from labkit.engine.events import Subscription
from labkit.errors import Conflict, InvalidInput, LabError, NotFound
from labkit.linux import processes
from tests.containers import SECONDS, UNTIL_TERM, Make, ran, said


def told(subscription: Subscription, last: str) -> list[str]:
    """The events so far, as "type action", up to the first that ends in ``last``."""
    found = []
    while not found or not found[-1].endswith(last):
        event = subscription.take(SECONDS)
        assert event, f"no {last} after {found}"
        found.append(f"{event.Type} {event.Action}")
    return found


def test_a_container_is_created_started_and_ends_with_the_exit_code_of_its_program(engine: Engine, make: Make) -> None:
    box = make("sh", "-c", "echo hello; exit 3", name="box")
    assert (box.state.Status, box.status_text) == ("created", "Created")
    assert ran(box) == 3
    assert (box.state.Status, box.state.ExitCode, box.state.Init.Pid) == ("exited", 3, 0)
    assert box.status_text == "Exited (3) Less than a second ago"
    assert said(box) == "hello\n"
    assert box.state.StartedAt < box.state.FinishedAt
    box.remove()
    with pytest.raises(NotFound, match=r"^No such container: box$"):
        engine.containers.get("box")


def test_what_clients_are_told_is_in_the_file_first(start: Make) -> None:
    box = start()
    record = json.loads(Path(box.directory, "container.json").read_text())
    assert (record["State"]["Status"], record["State"]["Init"]["Pid"]) == ("running", box.state.Init.Pid)
    box.kill()
    record = json.loads(Path(box.directory, "container.json").read_text())
    assert (record["State"]["Status"], record["State"]["ExitCode"]) == ("exited", 137)


def test_the_events_of_run_rm_come_in_dockers_order(engine: Engine, make: Make) -> None:
    with engine.events.subscribe() as events:
        box = make("sh", "-c", "exit 4", AutoRemove=True, Labels={"course": "os"})
        gone = box.wait("removed")
        box.start()
        assert gone.result(SECONDS) == Exit(4)
        expected = ["container create", "network connect", "container start", "container die", "network disconnect", "container destroy"]
        assert told(events, "destroy") == expected
    with engine.events.subscribe(since=0, until=1 << 62, filters={"event": ("die",), "container": (box.id,)}) as past:
        event = next(past)
    assert (event.ID, event.Attributes["exitCode"], event.Attributes["image"]) == (box.id, "4", "busybox")
    assert (event.Attributes["name"], event.Attributes["course"]) == (box.name, "os")


def test_it_can_be_started_again_on_the_files_that_it_has_left(make: Make) -> None:
    box = make("sh", "-c", "cat /seen 2>/dev/null; echo once > /seen")
    assert (ran(box), said(box)) == (0, "")
    assert (ran(box), said(box)) == (0, "once\n")


def test_starting_what_runs_and_stopping_what_does_not_is_said_and_does_nothing(start: Make) -> None:
    box = start()
    pid = box.state.Init.Pid
    assert not box.start() and box.state.Init.Pid == pid
    box.kill()
    assert not box.stop()


def test_stop_asks_with_its_own_signal_and_waits_for_the_end(engine: Engine, start: Make) -> None:
    box = start(*UNTIL_TERM)
    until_says(box, "up")
    with engine.events.subscribe(filters={"type": ("container",)}) as events:
        assert box.stop(SECONDS)
        assert told(events, "stop") == ["container kill", "container die", "container stop"]
    assert (box.state.ExitCode, said(box)) == (5, "up\nbye\n")

    hup = start("sh", "-c", "trap 'exit 6' HUP; echo up; while :; do sleep 0.05; done", StopSignal="SIGHUP")
    until_says(hup, "up")
    assert hup.stop(SECONDS) and hup.state.ExitCode == 6


def test_stop_kills_what_does_not_end_by_itself(start: Make) -> None:
    """sleep as process 1 ignores TERM: without a handler, process 1 hears nothing but KILL and STOP from outside."""
    box = start()
    assert box.stop(0.1)
    assert box.state.ExitCode == 137
    quick = start(StopTimeout=0)
    assert quick.stop() and quick.state.ExitCode == 137


def test_kill_waits_for_the_end_and_other_signals_do_not(start: Make) -> None:
    box = start("sh", "-c", "trap 'echo usr' USR1; echo up; while :; do sleep 0.05; done")
    until_says(box, "up")
    box.kill("USR1")
    until_says(box, "usr")
    box.kill("9")
    assert (box.state.Status, box.state.ExitCode) == ("exited", 137)


def test_a_signal_that_is_none_or_that_nobody_can_hear_is_refused_in_dockers_words(start: Make, make: Make) -> None:
    with pytest.raises(InvalidInput, match=r"^Invalid signal: BOGUS$"):
        start().kill("BOGUS")
    box = make("true", name="d1")
    with pytest.raises(Conflict, match=rf"^Cannot kill container: d1: Container {box.id} is not running$"):
        box.kill()


def test_restart_stops_and_starts(engine: Engine, start: Make) -> None:
    box = start(AutoRemove=True)
    pid = box.state.Init.Pid
    with engine.events.subscribe(filters={"type": ("container",)}) as events:
        box.restart(timeout=0)
        assert told(events, "restart") == [f"container {word}" for word in ("kill", "kill", "die", "stop", "start", "restart")]
    assert box.state.alive and box.state.Init.Pid != pid


def test_a_paused_container_stands_still_and_goes_on(start: Make) -> None:
    box = start()
    box.pause()
    assert box.cgroup.frozen and box.state.Status == "paused" and box.status_text.endswith("(Paused)")
    with pytest.raises(Conflict, match=rf"^Container {box.id} is already paused$"):
        box.pause()
    with pytest.raises(Conflict, match=r"^cannot start a paused container, try unpause instead$"):
        box.start()
    box.unpause()
    assert not box.cgroup.frozen
    with pytest.raises(LabError, match=rf"^Container {box.id} is not paused$"):
        box.unpause()
    box.pause()
    assert box.stop(0.1) and box.state.ExitCode == 137


def test_one_that_runs_is_removed_only_by_force(engine: Engine, start: Make) -> None:
    box = start()
    message = f"^You cannot remove a running container {box.id}. Stop the container before attempting removal or force remove$"
    with pytest.raises(Conflict, match=message):
        box.remove()
    box.pause()
    with pytest.raises(Conflict, match=rf"^You cannot remove a paused container {box.id}. Unpause and then stop"):
        box.remove()
    gone, ended = box.wait("removed"), box.wait()
    box.remove(force=True)
    assert gone.result(SECONDS) == ended.result(SECONDS) == Exit(137)
    assert not os.path.exists(box.directory) and engine.containers.list(all=True) == []


def test_of_a_removed_container_nothing_is_left(engine: Engine, make: Make) -> None:
    box = make("sh", "-c", "echo x > /file")
    ran(box)
    box.remove()
    assert not [each for each in os.listdir(engine.containers.directory) if box.id in each]
    with pytest.raises(NotFound):
        engine.store.snapshots.get(box.record.Snapshot)
    assert not box.cgroup.exists()
    assert not os.path.exists(box.run_directory)


def test_waiting_is_answered_by_the_conditions_docker_has(make: Make) -> None:
    box = make("sh", "-c", "exit 7")
    never, removed = box.wait("next-exit"), box.wait("removed")
    assert box.wait().result(0) == Exit(0)
    assert ran(box) == 7
    assert never.result(SECONDS) == box.wait().result(0) == Exit(7)
    assert not removed.done()
    with pytest.raises(InvalidInput, match=r'^invalid condition: "bogus"$'):
        box.wait("bogus")
    box.remove()
    assert removed.result(SECONDS) == Exit(7)


def test_one_that_was_never_started_ends_with_0_when_it_is_removed(make: Make) -> None:
    box = make("true")
    waiting = box.wait("next-exit")
    box.remove()
    assert waiting.result(SECONDS) == Exit(0)


def test_who_loses_interest_in_an_end_is_forgotten(start: Make) -> None:
    box = start()
    futures = [box.wait() for _ in range(3)]
    assert futures[1].cancel()
    assert box.waiting["not-running"] == [futures[0], futures[2]]
    box.kill()
    assert futures[0].result(SECONDS) == futures[2].result(SECONDS) == Exit(137)


@pytest.mark.parametrize(
    ("command", "code", "why"),
    [
        ("nosuchcmd", 127, 'exec: "nosuchcmd": executable file not found in $PATH: unknown'),
        ("/bin/nothing", 127, 'exec: "/bin/nothing": stat /bin/nothing: no such file or directory: unknown'),
        ("/etc", 126, 'exec: "/etc": permission denied: unknown'),
        ("/etc/passwd", 126, 'exec: "/etc/passwd": permission denied: unknown'),
    ],
)
def test_a_program_that_cannot_be_executed_is_told_in_dockers_words(make: Make, command: str, code: int, why: str) -> None:
    box = make(command)
    waiting = box.wait("next-exit")
    with pytest.raises(InvalidInput) as raised:
        box.start()
    assert str(raised.value).startswith("failed to create shim task: OCI runtime create failed: ") and str(raised.value).endswith(why)
    assert (box.state.Status, box.state.ExitCode, box.state.Error) == ("created", code, str(raised.value))
    assert waiting.result(0) == Exit(code)
    assert not box.cgroup.exists() and not os.path.exists(box.run_directory)


def test_with_rm_one_that_cannot_be_started_is_removed(engine: Engine, make: Make) -> None:
    box = make("nothing", AutoRemove=True)
    gone = box.wait("removed")
    with pytest.raises(InvalidInput):
        box.start()
    assert gone.result(SECONDS) == Exit(127)
    assert engine.containers.list(all=True) == []


def test_a_network_that_is_none_is_found_out_at_the_start(make: Make) -> None:
    box = make("true", NetworkMode="nosuch")
    waiting = box.wait("next-exit")
    with pytest.raises(NotFound, match=r"^network nosuch not found$"):
        box.start()
    assert waiting.result(0) == Exit(128)


def test_one_whose_monitor_is_killed_is_killed(start: Make) -> None:
    box = start()
    init, monitor = box.state.Init, box.state.Monitor
    ended = box.wait()
    processes.send(monitor.Pid, signal.SIGKILL, monitor.StartTime)
    assert ended.result(SECONDS) == Exit(137)
    assert not processes.alive(init.Pid, init.StartTime) and not box.cgroup.exists()


def test_the_oom_killers_work_is_told(engine: Engine, make: Make) -> None:
    hog = "x=x; while :; do x=$x$x; done"
    box = make("sh", "-c", hog, Memory=16 << 20, MemorySwap=16 << 20)
    with engine.events.subscribe(filters={"type": ("container",)}) as events:
        assert ran(box) == 137
        assert told(events, "die") == ["container start", "container oom", "container die"]
    assert box.state.OOMKilled


def test_who_reads_without_having_an_input_finds_its_end(make: Make) -> None:
    assert ran(make("cat")) == 0
    held = make("cat", OpenStdin=True)
    held.start()
    assert held.state.alive
    held.kill()


def test_attachers_are_connected_before_the_program_begins_or_told_that_it_does_not(make: Make) -> None:
    class Attacher:
        def __init__(self) -> None:
            self.heard: list[str] = []

        def connect(self, directory: str) -> None:
            self.heard.append("start.sock" if os.path.exists(f"{directory}/start.sock") else "runs")

        def give_up(self) -> None:
            self.heard.append("gave up")

    box, failing, removed = make("sleep", "1000"), make("nothing"), make("true")
    early, late, *vain = attachers = [Attacher() for _ in range(4)]
    box.attend(early)
    failing.attend(vain[0])
    removed.attend(vain[1])
    box.start()
    box.attend(late)
    with pytest.raises(InvalidInput):
        failing.start()
    removed.remove()
    assert [each.heard for each in attachers] == [["start.sock"], ["runs"], ["gave up"], ["gave up"]]
    with pytest.raises(Conflict):
        removed.attend(Attacher())


def test_the_size_of_a_terminal_is_set_through_its_monitor(engine: Engine, start: Make) -> None:
    script = "trap 'stty size' WINCH; stty size; while :; do sleep 0.05; done"
    box = start("sh", "-c", script, Tty=True, ConsoleSize=(24, 80))
    until_says(box, "24 80")
    box.resize(33, 44)
    until_says(box, "33 44")
    box.kill()
    with pytest.raises(Conflict, match=f"Container {box.id} is not running"):
        box.resize(1, 1)


def test_of_many_who_start_stop_and_remove_one_container_at_once_each_gets_an_answer(engine: Engine, make: Make) -> None:
    box = make("sleep", "1000")
    begin = threading.Barrier(12)
    answers: list[object] = []

    def act(number: int) -> None:
        begin.wait()
        for _ in range(3):
            try:
                answers.append((box.start, lambda: box.stop(0.01), box.kill)[number % 3]())
            except Conflict as error:
                answers.append(str(error))

    threads = [threading.Thread(target=act, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert len(answers) == 36
    box.remove(force=True)
    assert engine.containers.list(all=True) == []


def test_many_run_at_once_and_each_ends_as_it_should(engine: Engine, make: Make) -> None:
    boxes = [make("sh", "-c", f"exit {number}") for number in range(16)]
    ends = [box.wait("next-exit") for box in boxes]
    threads = [threading.Thread(target=box.start) for box in boxes]
    for thread in threads:
        thread.start()
    wait(ends, SECONDS)
    for thread in threads:
        thread.join(SECONDS)
    assert [end.result(0).StatusCode for end in ends] == list(range(16))


def until_says(box: Container, text: str) -> None:
    """Wait until a container has said something: its log grows, and its end would end it."""
    for _ in range(int(SECONDS * 100)):
        if text in said(box):
            return
        assert not box.exited.wait(0.01), f"it has ended, and said {said(box)!r}"
    raise AssertionError(f"it says {said(box)!r}, not {text!r}")
