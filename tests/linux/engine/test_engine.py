"""The engine as a whole: it opens and closes, and tells its parts what containers do."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from labkit.engine import recovery
from labkit.engine.container import Container
from labkit.engine.engine import Engine
from labkit.errors import KernelError
from tests.containers import Make, create_in


class Follower:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def started(self, container: Container) -> None:
        self.heard.append(f"{container.name} {container.state.Status}")

    def ended(self, container: Container) -> None:
        self.heard.append(f"{container.name} {container.state.Status}")


def test_its_parts_are_told_when_a_container_has_started_and_ended(engine: Engine, make: Make) -> None:
    follower = Follower()
    engine.followers.append(follower)
    box = make("sleep", "1000", name="box")
    box.start()
    box.kill()
    assert follower.heard == ["box running", "box exited"]


def test_and_when_it_has_started_before_they_came_up(engine_root: Path, engine_run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Engine(str(engine_root), engine_run) as first:
        create_in(first, "sleep", "1000", name="box").start()
    follower, take_up = Follower(), recovery.take_up

    def with_follower(engine: Engine) -> None:
        engine.followers.append(follower)
        take_up(engine)

    monkeypatch.setattr(recovery, "take_up", with_follower)
    with Engine(str(engine_root), engine_run) as second:
        assert follower.heard == ["box running"]
        second.containers.get("box").remove(force=True)
    assert follower.heard == ["box running", "box exited"]


def test_it_is_closed_twice_without_harm_and_leaves_no_thread_and_no_descriptor(engine_root: Path, engine_run: str) -> None:
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        engine = Engine(str(engine_root), engine_run)
        create_in(engine, "true").remove()
        engine.close()
        engine.close()
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == (threads, descriptors)


def test_one_that_cannot_come_up_lets_go_of_its_root(engine_root: Path, engine_run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Engine) -> None:
        raise KernelError(5, "read", "disk")

    with monkeypatch.context() as patch:
        patch.setattr(recovery, "take_up", fail)
        with pytest.raises(KernelError, match="EIO"):
            Engine(str(engine_root), engine_run)
    Engine(str(engine_root), engine_run).close()


def test_a_root_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KernelError, match="make the directories of the engine in"):
        Engine(str(tmp_path / "file" / "root"), str(tmp_path / "run"))
