"""An engine on a disk that is full: what cannot be done is told, what was there still is, and can be stopped and removed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from labkit.engine import commits, files
from labkit.engine.engine import Engine
from labkit.errors import KernelError
from labkit.linux import mounts
from tests.container_files import archive
from tests.containers import SECONDS, create_in, ran


@pytest.fixture
def small(engine_root: Path, tmp_path: Path) -> Iterator[Engine]:
    """An engine whose root is 16 MB large."""
    place = tmp_path / "small"
    place.mkdir()
    mounts.mount("tmpfs", str(place), "tmpfs", ("size=16m",))
    try:
        shutil.copytree(engine_root, place / "lib", symlinks=True)
        with Engine(str(place / "lib"), str(tmp_path / "run")) as engine:
            yield engine
            for container in engine.containers.list(all=True):
                container.remove(force=True)
    finally:
        mounts.unmount(str(place))


def fill(engine: Engine) -> Path:
    """Write until nothing fits any more."""
    ballast = Path(engine.root, "ballast")
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(1 << 16)):
            pass
    with suppress(OSError):
        for number in range(10_000):
            Path(engine.root, f"ballast-{number}").write_bytes(b"x" * 4096)
    return ballast


def drain(engine: Engine) -> None:
    for ballast in Path(engine.root).glob("ballast*"):
        ballast.unlink()


def test_no_container_is_made_or_started_and_nothing_is_left(small: Engine) -> None:
    idle = create_in(small, "true", name="idle")
    before = idle.record
    fill(small)
    with pytest.raises(KernelError, match="ENOSPC"):
        create_in(small, "true", name="new")
    with pytest.raises(KernelError, match="ENOSPC"):
        idle.start()
    assert small.containers.list(all=True) == [idle] and os.listdir(small.containers.directory) == [idle.id]
    assert not os.path.exists(idle.run_directory) and not idle.cgroup.exists()
    assert idle.record.Config == before.Config and not idle.state.alive
    drain(small)
    assert ran(create_in(small, "true", name="new")) == ran(idle) == 0


def test_what_runs_is_stopped_paused_and_removed_all_the_same(small: Engine) -> None:
    stopped, killed, paused, going = (create_in(small, "sleep", "1000") for _ in range(4))
    for box in (stopped, killed, paused, going):
        box.start()
    fill(small)
    assert stopped.stop(0) and stopped.state.ExitCode == 137
    killed.kill()
    paused.pause()
    paused.unpause()
    gone = going.wait("removed")
    going.remove(force=True)
    assert gone.result(SECONDS).StatusCode == 137
    assert [box.state.Status for box in (stopped, killed, paused)] == ["exited", "exited", "running"]


def test_an_end_that_could_not_be_written_is_found_by_the_next_engine(small: Engine, tmp_path: Path) -> None:
    box = create_in(small, "sleep", "1000", name="box")
    box.start()
    fill(small)
    box.kill("TERM")
    box.kill()
    small.close()
    drain(small)
    with Engine(small.root, str(tmp_path / "run")) as engine:
        found = engine.containers.get("box")
        assert (found.state.Status, found.state.ExitCode) == ("exited", 137)
        assert not os.path.exists(found.run_directory) and not found.cgroup.exists()
        found.remove()


def test_a_commit_and_a_copy_fail_and_leave_what_was_there(small: Engine) -> None:
    box = create_in(small, "true", name="box")
    files.put_archive(box, "/", archive(("big", os.urandom(2 << 20))))
    blobs, images = set(small.store.blobs.list()), [image.id for image in small.images.images.list()]
    snapshots = {snapshot.name for snapshot in small.store.snapshots.list()}
    ballast = Path(small.root, "ballast")
    free = os.statvfs(small.root)
    ballast.write_bytes(bytes(free.f_bavail * free.f_bsize - (1 << 20)))
    with pytest.raises(KernelError, match="ENOSPC"):
        commits.commit(box, "me/big:1")
    with pytest.raises(KernelError, match="ENOSPC"):
        files.put_archive(box, "/", archive(("more", os.urandom(2 << 20))))
    ballast.unlink()
    assert set(small.store.blobs.list()) == blobs and [image.id for image in small.images.images.list()] == images
    assert {snapshot.name for snapshot in small.store.snapshots.list()} == snapshots
    assert commits.commit(box, "me/big:1").size > 2 << 20 and ran(box) == 0
