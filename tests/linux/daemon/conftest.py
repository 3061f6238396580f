"""What the tests of the daemon share: one with a busybox image, and words for what goes over its socket."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.daemons import Daemon, busybox_archive, labkit_daemon
from tests.linux.daemon.speaking import Client


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return busybox_archive(tmp_path_factory.mktemp("daemon-image"))


@pytest.fixture(scope="module")
def daemon(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with labkit_daemon(tmp_path_factory.mktemp("daemon")) as found:
        load(found, archive)
        yield found


@pytest.fixture
def own_daemon(archive: Path, tmp_path: Path) -> Iterator[Daemon]:
    """One that a test may end and start again."""
    with labkit_daemon(tmp_path / "daemon") as found:
        load(found, archive)
        yield found


def load(daemon: Daemon, archive: Path) -> None:
    """Give it the image, and have it do once what it does once: make the control group above all."""
    client = Client(daemon.socket)
    assert client.ask("POST", "/images/load?quiet=1", archive.read_bytes(), "application/x-tar").status == 200
    id = client.started("true")
    client.ask("DELETE", f"/containers/{id}?force=1")


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    """A client of it; what it has made is gone at the end, and the daemon has said nothing of mistakes of its own."""
    before = daemon.log.stat().st_size
    made = Client(daemon.socket)
    yield made
    for container in made.get("/containers/json?all=1"):
        made.ask("DELETE", f"/containers/{container['Id']}?force=1&v=1")
    said = daemon.log.read_bytes()[before:].decode()
    assert "Traceback" not in said, said


@pytest.fixture
def daemon_threads(daemon: Daemon) -> Callable[[], int]:
    """How many threads the daemon has now."""
    pid = int((daemon.place / "run/daemon/pid").read_text())
    return lambda: len(os.listdir(f"/proc/{pid}/task"))
