"""Garbage collection: what nobody needs goes, what anybody uses stays."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from labkit.storage import digests, gc
from labkit.storage.layers import snapshot_name
from labkit.storage.store import Store
from tests.archives import archive, file
from tests.linux.storage.conftest import See

DIGEST = digests.of(b"hello")


def chains(store: Store, *names: str) -> list[str]:
    """A stack of layers, each with a file of its own; the chain IDs, the lowest first."""
    found: list[str] = []
    for name in names:
        pending = store.layers.unpack([archive(file(name, b"x" * 10_000))])
        found.append(store.layers.commit(pending, found[-1] if found else None))
    return found


def there(store: Store) -> set[str]:
    return {snapshot.name for snapshot in store.snapshots.list()}


def test_blobs_that_are_not_kept_go_and_their_room_is_told(store: Store) -> None:
    kept, gone = store.blobs.put(b"kept"), store.blobs.put(b"x" * 5000)
    assert gc.collect(store, [kept], []) == gc.Collected((gone,), (), 8192)
    assert store.blobs.list() == (kept,)
    assert gc.collect(store, [kept], []) == gc.Collected((), (), 0)


def test_layers_that_are_not_kept_go_with_all_that_stood_on_them(store: Store) -> None:
    a, b, c = chains(store, "a", "b", "c")
    collected = gc.collect(store, [], [a])
    assert collected.snapshots == (snapshot_name(c), snapshot_name(b))
    assert collected.bytes >= 2 * 10_000
    assert there(store) == {snapshot_name(a)}


def test_layers_below_one_that_is_kept_stay(store: Store) -> None:
    chain = chains(store, "a", "b", "c")
    assert gc.collect(store, [], [chain[-1]]).snapshots == ()
    assert len(there(store)) == 3


def test_layers_below_a_container_stay(store: Store) -> None:
    a, b, c = chains(store, "a", "b", "c")
    store.snapshots.prepare("c1", snapshot_name(b))
    assert gc.collect(store, [], []).snapshots == (snapshot_name(c),)
    assert there(store) == {"c1", snapshot_name(a), snapshot_name(b)}
    store.snapshots.remove("c1")
    assert len(gc.collect(store, [], []).snapshots) == 2


def test_a_layer_that_is_mounted_stays(store: Store, see: See) -> None:
    (chain,) = chains(store, "a")
    with see(chain):
        assert gc.collect(store, [], []).snapshots == ()
    assert gc.collect(store, [], []).snapshots == (snapshot_name(chain),)


def test_snapshots_that_somebody_has_named_stay(store: Store) -> None:
    store.snapshots.prepare("mine")
    store.snapshots.commit("mine", "busybox")
    assert gc.collect(store, [], []).snapshots == ()


def test_a_layer_half_unpacked_stays_while_its_process_lives_and_goes_after_it(store: Store) -> None:
    program = f"""
import os, sys
from labkit.storage.store import Store
def chunks():
    yield sys.stdin.buffer.read({len(archive(file("a")))})
    print("unpacking", flush=True)
    sys.stdin.read()
Store({store.root!r}).layers.unpack(chunks())
os._exit(0)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        process.stdin.write(archive(file("a")))
        process.stdin.flush()
        assert process.stdout.readline() == b"unpacking\n"
        assert gc.collect(store, [], []).snapshots == ()
        (name,) = there(store)
        process.kill()
        process.wait()
    assert gc.collect(store, [], []).snapshots == (name,)
    assert there(store) == set()


def test_an_interrupted_download_stays_for_a_while_and_one_under_way_however_long(store: Store) -> None:
    with store.blobs.writer(DIGEST) as writer:
        writer.write(b"hel")
    partial = Path(store.blobs.directory, "ingest", DIGEST.replace(":", "-"))
    gc.collect(store, [], [], age=60)
    assert partial.exists()
    os.utime(partial, (time.time() - 61,) * 2)
    with store.blobs.writer(DIGEST):
        gc.collect(store, [], [], age=60)
        assert partial.exists()
    assert gc.collect(store, [], [], age=60).bytes == 4096
    assert not partial.exists()


def test_a_download_of_unknown_digest_goes_as_soon_as_nobody_writes_it(store: Store) -> None:
    ingest = Path(store.blobs.directory, "ingest")
    (ingest / "new-of-a-process-that-was-killed").touch()
    with store.blobs.writer() as writer:
        gc.collect(store, [], [])
        assert len(list(ingest.iterdir())) == 1
        writer.write(b"hello")
        writer.commit()
    assert store.blobs.has(DIGEST)


def test_a_store_of_blobs_alone_gets_no_snapshots(store: Store) -> None:
    store.blobs.put(b"x")
    gc.collect(store, [], [])
    assert not os.path.exists(f"{store.root}/snapshots")
