"""What the next engine finds when one was closed, or killed, at a bad moment."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from labkit.engine import birth, container_file, removal
from labkit.engine.config import RestartPolicy
from labkit.engine.container import Container, Exit
from labkit.engine.engine import Engine
from labkit.errors import Conflict
from labkit.linux import processes
from labkit.runtime import container as runtime
from labkit.runtime import state as runtime_state
from labkit.runtime.client import Job
from labkit.runtime.spawner import Request
from tests.containers import SECONDS, create_in, said

Open = Callable[[], Engine]


@pytest.fixture
def again(engine_root: Path, engine_run: str) -> Iterator[Open]:
    """Opens the engine, after closing the one before."""
    opened: list[Engine] = []

    def another() -> Engine:
        if opened:
            opened.pop().close()
        opened.append(Engine(str(engine_root), engine_run))
        return opened[0]

    yield another
    for container in another().containers.list(all=True):
        container.remove(force=True)
    opened[0].close()


def test_one_engine_at_a_time_has_a_root(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(Conflict, match=r"engine.lock: another engine has this root \(is a daemon running"):
        Engine(engine.root, str(tmp_path / "other"))


def test_containers_run_on_without_an_engine_and_are_taken_up_by_the_next(again: Open) -> None:
    first = create_in(again(), "sh", "-c", "trap 'exit 4' TERM; echo up; while :; do sleep 0.05; done", name="box")
    first.start()
    box = again().containers.get("box")
    assert box is not first
    assert (box.id, box.state) == (first.id, first.state) and processes.alive(box.state.Init.Pid, box.state.Init.StartTime)
    waiting = box.wait()
    box.kill("TERM")
    assert waiting.result(SECONDS) == Exit(4) and said(box) == "up\n"


def test_the_end_that_came_meanwhile_is_found_with_its_code_and_time(again: Open) -> None:
    first = create_in(again(), "sh", "-c", "read line; exit 6", name="box", OpenStdin=True)
    first.start()
    init, monitor = first.state.Init, first.state.Monitor
    first.engine.close()
    end(init.Pid)
    await_end(monitor)
    box = again_without_closing(again)
    assert (box.state.Status, box.state.ExitCode) == ("exited", 137)
    assert first.state.StartedAt < box.state.FinishedAt < container_time()
    assert not os.path.exists(box.run_directory) and not box.cgroup.exists()


def test_with_rm_one_that_ended_meanwhile_is_removed(again: Open) -> None:
    first = create_in(again(), "sleep", "1000", AutoRemove=True)
    first.start()
    first.engine.close()
    end(first.state.Init.Pid)
    await_end(first.state.Monitor)
    assert again().containers.list(all=True) == []
    assert not os.path.exists(first.directory)


def test_with_rm_one_whose_removal_did_not_come_to_pass_is_removed(again: Open) -> None:
    box = create_in(again(), "true", name="box")
    ended = box.wait("next-exit")
    box.start()
    ended.result(SECONDS)
    box.save(HostConfig=replace(box.record.HostConfig, AutoRemove=True))
    assert again().containers.list(all=True) == []


def test_who_waits_for_a_container_of_an_engine_that_closes_is_let_go(again: Open) -> None:
    class Attacher:
        gave_up = False

        def connect(self, directory: str) -> None:
            raise AssertionError(directory)

        def give_up(self) -> None:
            self.gave_up = True

    box = create_in(again(), "sleep", "1000")
    waiting, attacher = box.wait("next-exit"), Attacher()
    box.attend(attacher)
    again()
    assert waiting.cancelled() and attacher.gave_up


def test_one_whose_monitor_was_killed_meanwhile_is_killed(again: Open) -> None:
    first = create_in(again(), "sleep", "1000", name="box")
    first.start()
    first.engine.close()
    end(first.state.Monitor.Pid)
    await_end(first.state.Monitor)
    box = again().containers.get("box")
    assert (box.state.Status, box.state.ExitCode) == ("exited", 137)
    assert not processes.alive(first.state.Init.Pid, first.state.Init.StartTime)


def test_paused_ones_are_paused_still(again: Open) -> None:
    first = create_in(again(), "sleep", "1000", name="box")
    first.start()
    first.pause()
    box = again().containers.get("box")
    assert box.state.paused and box.cgroup.frozen
    box.unpause()


@pytest.mark.parametrize(
    ("policy", "stopped", "restarted"),
    [
        ("always", False, True),
        ("always", True, True),
        ("unless-stopped", False, True),
        ("unless-stopped", True, False),
        ("no", False, False),
    ],
)
def test_policies_are_applied_when_the_engine_comes_up(again: Open, policy: str, stopped: bool, restarted: bool) -> None:
    first = create_in(again(), "sleep", "1000", name="box", RestartPolicy=RestartPolicy(policy))
    first.start()
    if stopped:
        first.stop(0)
    first.engine.close()
    if not stopped:
        end(first.state.Init.Pid)
        await_end(first.state.Monitor)
    engine = again()
    box = engine.containers.get("box")
    if restarted:
        with engine.events.subscribe(since=0, filters={"event": ("start",)}) as events:
            assert events.take(SECONDS)
    with box.lock:
        assert box.state.alive is restarted


def test_what_was_interrupted_while_it_was_made_is_gone(again: Open) -> None:
    engine = again()
    engine.store.snapshots.prepare("0123456789ab")
    half = Path(engine.containers.directory, "0123456789ab" + "0" * 52)
    half.mkdir()
    engine.close()
    engine = again()
    assert engine.containers.list(all=True) == [] and not half.exists()
    assert "0123456789ab" not in [snapshot.name for snapshot in engine.store.snapshots.list()]


def test_what_was_interrupted_while_it_was_removed_is_gone(again: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    box = create_in(again(), "true", name="box")
    with monkeypatch.context() as patch:
        patch.setattr(removal, "_take_away", lambda *_: None)
        box.remove()
    left = Path(box.engine.containers.directory, f".{box.id}.removing")
    assert left.exists()
    engine = again()
    assert not left.exists() and engine.containers.list(all=True) == []
    assert box.record.Snapshot not in [snapshot.name for snapshot in engine.store.snapshots.list()]
    create_in(engine, "true", name="box").remove()


def test_what_the_runtime_was_about_to_forget_is_forgotten(again: Open) -> None:
    engine = again()
    half = Path(engine.runtime_root, f".{'a' * 64}.gone")
    half.mkdir(parents=True)
    (half / "exit.json").write_text("{}")
    again()
    assert not half.exists()


def test_a_start_that_was_interrupted_before_the_program_began_is_undone(again: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    box = create_in(again(), "sleep", "1000", name="box")
    with monkeypatch.context() as patch:
        patch.setattr(runtime, "knock", killed)
        patch.setattr(birth.runtime, "delete", lambda *_, **__: None)
        with pytest.raises(Killed):
            box.start()
    record = container_file.load(box.directory)
    assert record.State.Status == "running" and processes.alive(record.State.Init.Pid, record.State.Init.StartTime)
    found = again().containers.get("box")
    assert found.state.Status == "created" and not found.cgroup.exists()
    assert not processes.alive(record.State.Init.Pid, record.State.Init.StartTime)
    assert found.start()


def test_a_container_whose_birth_was_ordered_by_an_engine_that_is_gone_is_not_born(again: Open) -> None:
    """Else it would wait for ever for the word to begin."""
    box = create_in(again(), "sleep", "1000", name="box")
    Job(Request(birth.plan(box), start=False), capture=False).close()
    other = create_in(box.engine, "true")
    ended = other.wait("next-exit")
    other.start()
    assert ended.result(SECONDS) == Exit(0)
    deadline = time.monotonic() + SECONDS
    while os.path.exists(box.run_directory) and time.monotonic() < deadline:
        pass  # its builder began before the other's
    assert not os.path.exists(box.run_directory) and not box.cgroup.exists()


def test_a_machine_that_was_rebooted_has_no_container_running(again: Open) -> None:
    """After a reboot /run is empty, and the PIDs that were are others'."""
    box = create_in(again(), "sleep", "1000", name="box")
    box.start()
    box.kill()
    others = container_file.Process(os.getpid(), 1)
    box.become(Status="running", Init=others, Monitor=others)
    found = again().containers.get("box")
    assert (found.state.Status, found.state.ExitCode) == ("exited", 137)


def test_a_damaged_record_is_left_alone_and_hides_no_other(again: Open) -> None:
    box = create_in(again(), "true", name="box")
    damaged = Path(box.engine.containers.directory, "f" * 64)
    damaged.mkdir()
    (damaged / "container.json").write_text("{")
    engine = again()
    assert [container.name for container in engine.containers.list(all=True)] == ["box"]
    assert damaged.exists()
    shutil.rmtree(damaged)


KILLED = """
import os, signal, sys, threading
sys.path.insert(0, os.getcwd())
from labkit.engine.engine import Engine
from tests.containers import create_in

engine = Engine(sys.argv[1], sys.argv[2])
print("open", flush=True)
threading.Timer(float(sys.argv[3]), lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
number = 0
while True:
    number += 1
    name = f"{sys.argv[4]}-{number}"
    box = create_in(engine, "sleep", "1000", name=name)
    print("created", name, box.id, flush=True)
    box.start()
    print("started", name, flush=True)
    if number % 2:
        box.stop(0)
        print("stopped", name, flush=True)
        if number % 4 == 1:
            box.remove()
            print("removed", name, flush=True)
"""


@pytest.mark.timeout(240)
def test_an_engine_that_is_killed_at_random_moments_has_told_nobody_anything_untrue(
    engine_root: Path, engine_run: str, again: Open, tmp_path: Path
) -> None:
    told = tmp_path / "told"  # a file, for what outlives the engine holds on to it
    for turn in range(12):
        arguments = [str(engine_root), engine_run, str(0.05 + turn * 0.037), f"turn{turn}"]
        with told.open("w") as file:
            command = [sys.executable, "-c", KILLED, *arguments]
            killed = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, timeout=SECONDS, check=False)
        assert killed.returncode == -signal.SIGKILL, told.read_text()
        engine = again()
        expected = what_was_told(told.read_text())
        found = {container.name: container for container in engine.containers.list(all=True)}
        for name, (id, state) in expected.items():
            if state == "removed":
                assert name not in found
            elif name in found:
                assert found[name].id == id
            else:
                assert state == "stopped" and is_last(expected, name), f"{name} is lost"  # its removal was under way
            if state == "started" and not is_last(expected, name):
                assert found[name].state.Status == "running"
            if state == "stopped" and name in found:
                assert found[name].state.Status == "exited"
        for container in found.values():
            assert container.state.alive == processes.alive(container.state.Init.Pid, container.state.Init.StartTime)
            container.remove(force=True)
        assert os.listdir(engine.containers.directory) == runtime_state.ids(engine.runtime_root) == []
        assert all(snapshot.committed for snapshot in engine.store.snapshots.list())
        engine.close()


def what_was_told(text: str) -> dict[str, tuple[str, str]]:
    """The last thing that was told of each container: its ID and its state."""
    told: dict[str, tuple[str, str]] = {}
    for line in text.splitlines():
        state, *rest = line.split()
        if rest:
            name = rest[0]
            told[name] = (rest[1] if rest[1:] else told[name][0], state)
    return told


def is_last(told: dict[str, tuple[str, str]], name: str) -> bool:
    return name == list(told)[-1]


def again_without_closing(again: Open) -> Container:
    return again().containers.get("box")


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def await_end(process: container_file.Process) -> None:
    pidfd = os.pidfd_open(process.Pid) if processes.alive(process.Pid, process.StartTime) else -1
    if pidfd >= 0:
        assert processes.wait(pidfd, SECONDS)
        os.close(pidfd)


def container_time() -> str:
    from labkit.engine import times

    return times.text(times.now())
