"""A store that is used by many, killed at any moment, on a disk that is full: nothing is lost, nothing half is taken for whole."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.errors import KernelError
from labkit.linux import mounts
from labkit.storage import digests, gc
from labkit.storage.blobs import Blobs
from labkit.storage.compression import decompressed, gzipped
from labkit.storage.store import Store
from tests.archives import archive, directory, file
from tests.trees import look

PULL = """
import sys
from labkit.storage.compression import decompressed
from labkit.storage.store import Store
store, digest = Store(sys.argv[1]), sys.argv[2]
data = open(sys.argv[3], "rb").read()
with store.changing(), store.blobs.writer(digest, len(data)) as writer:
    def arriving():
        yield from writer.resumed()
        for at in range(writer.offset, len(data), 1000):
            writer.write(data[at : at + 1000])
            yield data[at : at + 1000]
        writer.commit()
    print(store.layers.commit(store.layers.unpack(decompressed(arriving())), None))
"""


def pull(root: str, digest: str, source: Path) -> subprocess.Popen[bytes]:
    """Another process that does what a pull does, with one layer."""
    return subprocess.Popen([sys.executable, "-c", PULL, root, digest, str(source)], stdout=subprocess.PIPE)


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    """A compressed layer of some hundred files."""
    members = [file(f"d{number % 7}/file{number}", random.Random(number).randbytes(2000)) for number in range(300)]
    data = b"".join(gzipped([archive(*(directory(f"d{number}") for number in range(7)), *members)]))
    (tmp_path / "layer").write_bytes(data)
    return tmp_path / "layer"


def test_a_pull_that_is_killed_at_any_moment_is_whole_the_next_time(tmp_path: Path, layer: Path) -> None:
    data = layer.read_bytes()
    digest = digests.of(data)
    (expected := tmp_path / "expected").mkdir()
    subprocess.run(["tar", "--delay-directory-restore", "-xpzf", layer, "-C", expected], check=True)
    store = Store(str(tmp_path / "store"))
    resumed = 0
    for moment in range(12):
        with pull(store.root, digest, layer) as process:
            seen = f"{store.blobs.directory}/ingest/{digest.replace(':', '-')}"
            while process.poll() is None and _size(seen) < len(data) * moment // 12 and not store.blobs.has(digest):
                pass
            process.send_signal(signal.SIGKILL)
        assert not store.blobs.has(digest) or Path(store.blobs.path(digest)).read_bytes() == data
        resumed += 0 < _size(seen) < len(data)
    assert resumed, "some of them were killed in the middle"
    with pull(store.root, digest, layer) as process:
        chain = process.stdout.read().decode().strip() if process.stdout else ""
    assert {path: facts[:6] for path, facts in look(store.layers.get(chain).upper).items() if path} == {
        path: facts[:6] for path, facts in look(expected).items() if path
    }
    gc.collect(store, [digest], [chain])
    assert [snapshot.committed for snapshot in store.snapshots.list()] == [True]
    assert os.listdir(f"{store.blobs.directory}/ingest") == []


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def test_processes_that_pull_the_same_at_the_same_time_end_with_the_same(tmp_path: Path, layer: Path) -> None:
    store = Store(str(tmp_path / "store"))
    processes = [pull(store.root, digests.of(layer.read_bytes()), layer) for _ in range(3)]
    answers = {process.communicate()[0] for process in processes}
    assert len(answers) == 1 and answers.pop().startswith(b"sha256:")
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(store.snapshots.list()) == 1


def test_who_waits_for_another_process_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    store = Store(str(tmp_path), waiting=lambda: told.append("waiting"))
    program = f"""
from labkit.storage.store import Store
with Store({str(tmp_path)!r}).changing():
    print("held", flush=True)
    input()
"""
    with store.changing(), store.changing(), Store(str(tmp_path)).changing():
        assert not told
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin and other.stdout
        assert other.stdout.readline() == b"held\n"

        def release() -> None:
            told.append("waiting")
            assert other.stdin
            other.stdin.write(b"\n")
            other.stdin.flush()

        store.waiting = release
        with store.changing():
            assert told == ["waiting"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    (small := tmp_path / "small").mkdir()
    with mounts.mounted("tmpfs", str(small), "tmpfs", ["size=2m"]):
        yield small


def test_a_full_disk_is_said_and_leaves_room_and_no_half_blob(small_disk: Path) -> None:
    blobs = Blobs(str(small_disk))
    data = random.Random(1).randbytes(3 << 20)
    with pytest.raises(KernelError, match=r"write blob sha256:.* ENOSPC \(the disk is full"), blobs.writer(digests.of(data)) as writer:
        for at in range(0, len(data), 100_000):
            writer.write(data[at : at + 100_000])
    assert blobs.list() == () and os.listdir(f"{blobs.directory}/ingest") == []
    free = os.statvfs(small_disk)
    assert free.f_bavail * free.f_bsize > (1 << 20)


def test_a_layer_that_finds_the_disk_full_is_taken_away(small_disk: Path) -> None:
    store = Store(str(small_disk))
    members = [file(f"file{number}", b"x" * 100_000) for number in range(30)]
    with pytest.raises(KernelError, match="the disk is full"):
        store.layers.unpack(decompressed(gzipped([archive(*members)])))
    assert store.snapshots.list() == ()
    assert store.layers.commit(store.layers.unpack([archive(*members[:5])]), None)
