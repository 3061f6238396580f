"""The disk is full in a pull, a commit, a build, a copy, or in what a container writes: that is said, and what was there still is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from labkit.linux import mounts
from tests.daemons import DOCKER, Daemon, labkit_daemon, registry
from tests.linux.daemon.conftest import load
from tests.registries import require

pytestmark = pytest.mark.skipif(not DOCKER, reason="no docker client is installed")


@pytest.fixture
def small(archive: Path, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon whose images and containers have 32 MB."""
    place = tmp_path / "small"
    (place / "data").mkdir(parents=True)
    mounts.mount("tmpfs", str(place / "data"), "tmpfs", ("size=32m",))
    try:
        with labkit_daemon(place) as daemon:
            load(daemon, archive)
            daemon.docker.says("run", "--name=kept", "--network=none", "busybox", "sh", "-c", "echo kept; echo kept > /kept")
            yield daemon
            drain(daemon)
            check_what_was_there(daemon)
    finally:
        mounts.unmount(str(place / "data"))


def fill(daemon: Daemon) -> None:
    """Write until nothing fits any more."""
    with (daemon.place / "data/ballast").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(1 << 16)):
            pass


def drain(daemon: Daemon) -> None:
    (daemon.place / "data/ballast").unlink(missing_ok=True)


def check_what_was_there(daemon: Daemon) -> None:
    docker = daemon.docker
    assert docker.says("ps", "--all", "--filter", "name=kept", "--format", "{{.Names}} {{.State}}") == "kept exited"
    assert docker.says("logs", "kept") == "kept"
    assert docker.says("start", "--attach", "kept") == "kept"
    assert docker.says("run", "--rm", "--network=none", "busybox", "echo", "still here") == "still here"
    assert "busybox:latest" in docker.says("images", "--format", "{{.Repository}}:{{.Tag}}")


def refused(daemon: Daemon, *words: str, stdin: bytes = b"") -> None:
    """The command fails, and says why."""
    result = daemon.docker(*words, stdin=stdin)
    assert result.code != 0 and "no space left on device" in (result.err + result.out).lower().replace("enospc", "no space left on device")
    assert "Traceback" not in daemon.log.read_text()


def test_in_a_pull(small: Daemon, tmp_path: Path) -> None:
    require()
    (tmp_path / "large").write_bytes(os.urandom(8_000_000))
    (tmp_path / "Dockerfile").write_text("FROM busybox\nCOPY large /\n")
    name = "localhost:5000/large"
    with registry(small):
        small.docker.says("build", "-t", name, str(tmp_path))
        small.docker.says("push", name)
        small.docker.says("rmi", "-f", name)
        small.docker.says("builder", "prune", "-f")
        fill(small)
        refused(small, "pull", name)
        drain(small)
        small.docker.says("pull", name)
        small.docker.says("rmi", name)


def test_in_a_commit(small: Daemon) -> None:
    small.docker.says("run", "--name=large", "--network=none", "busybox", "sh", "-c", "head -c 8000000 /dev/urandom > /large")
    before = small.docker.says("images", "--all", "--quiet")
    fill(small)
    refused(small, "commit", "large", "large")
    assert small.docker.says("images", "--all", "--quiet") == before
    small.docker.says("rm", "large")


def test_in_a_load_and_in_a_build(small: Daemon, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(os.urandom(1_000_000))
    (tmp_path / "Dockerfile").write_text("FROM busybox\nCOPY large /\n")
    small.docker.says("save", "-o", str(tmp_path / "saved.tar"), "busybox")
    fill(small)
    refused(small, "build", "-t", "large", str(tmp_path))
    refused(small, "load", "-i", str(tmp_path / "saved.tar"))
    refused(small, "create", "--network=none", "busybox")


def test_in_what_containers_write(small: Daemon) -> None:
    docker = small.docker
    script = "echo first; until test -e /go; do sleep 0.05; done; seq 1000; exit 3"
    docker.says("run", "-d", "--name=writes", "--network=none", "busybox", "sh", "-c", script)
    fill(small)
    pid = docker.says("inspect", "-f", "{{.State.Pid}}", "writes")
    Path(f"/proc/{pid}/root/go").touch()
    assert docker.says("wait", "writes") == "3"
    assert docker.says("logs", "writes").startswith("first")
    drain(small)
    docker.says("rm", "writes")


def test_in_a_copy_into_a_container(small: Daemon, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(1_000_000))
    fill(small)
    refused(small, "cp", str(tmp_path / "large"), "kept:/large")
    refused(small, "volume", "create", "v1")
