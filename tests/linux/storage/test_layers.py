"""Layers stacked: the union that the kernel shows is what the archives say one after the other."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest

from labkit.errors import Conflict, InvalidInput, NotFound
from labkit.linux import mounts
from labkit.storage import digests
from labkit.storage.layers import chain_id, snapshot_name
from labkit.storage.store import Store
from tests.archives import Member, archive, directory, file, hard_link, opaque, symlink, whiteout
from tests.linux.storage.conftest import See
from tests.trees import look

BASE = [
    directory("etc", mode=0o750, uid=3, gid=4, mtime=7, pax_headers={"SCHILY.xattr.user.x": "1"}),
    file("etc/hosts", b"below", mode=0o4755, uid=5),
    file("etc/motd", b"below"),
    directory("srv"),
    file("srv/www/index", b"below"),
    file("bin/sh", b"shell"),
    symlink("lib", "bin"),
]


def stack(store: Store, *layers: list[Member]) -> str:
    """Unpack and commit layers, the lowest first; the chain ID."""
    chain = None
    for members in layers:
        chain = store.layers.commit(store.layers.unpack([archive(*members)]), chain)
    assert chain
    return chain


def test_a_chain_is_named_as_the_specification_says() -> None:
    one, two, three = (digests.of(text) for text in (b"1", b"2", b"3"))
    assert chain_id([one]) == one
    assert chain_id([one, two]) == digests.of(f"{one} {two}".encode())
    assert chain_id([one, two, three]) == digests.of(f"{chain_id([one, two])} {three}".encode())
    with pytest.raises(InvalidInput):
        chain_id([])
    with pytest.raises(InvalidInput):
        chain_id([one, "sha256:../.."])


def test_a_layer_shows_what_it_adds_and_hides_what_it_deletes(store: Store, see: See) -> None:
    chain = stack(store, BASE, [file("etc/new"), whiteout("etc/motd"), opaque("srv"), file("srv/mine"), file("bin/sh", b"other")])
    with see(chain) as root:
        assert [path for path in sorted(look(root)) if path] == ["bin", "bin/sh", "etc", "etc/hosts", "etc/new", "lib", "srv", "srv/mine"]
        assert (root / "bin/sh").read_bytes() == b"other"


def test_a_directory_without_an_entry_is_as_the_layers_below_have_it(store: Store, see: See) -> None:
    chain = stack(store, [directory(".", mode=0o711, uid=9), *BASE], [file("unrelated")], [file("etc/sub/new"), whiteout("srv/www/index")])
    with see(chain) as root:
        found = look(root)
        assert found["etc"] == ("0o40750", 3, 4, 7, 0, b"", (("user.x", b"1"),))
        assert found["etc/sub"][:4] == ("0o40755", 0, 0, 0)
        assert found[""][:2] == ("0o40711", 9)


def test_a_hard_link_to_a_file_below_is_the_same_file(store: Store, see: See) -> None:
    chain = stack(store, BASE, [hard_link("etc/link", "etc/hosts"), hard_link("also", "lib"), hard_link("d", "later"), file("later")])
    with see(chain) as root:
        assert (root / "etc/link").samefile(root / "etc/hosts")
        found = look(root)
        assert found["etc/link"] == found["etc/hosts"]
        assert found["etc/hosts"][:3] == ("0o104755", 5, 0)
        assert os.readlink(root / "also") == "bin"
        assert (root / "d").samefile(root / "later")
        assert found["etc"][:4] == ("0o40750", 3, 4, 7)


@pytest.mark.parametrize("target", ["nothing", "etc/motd", "etc", "srv/www/index", "lib/sh"])
def test_a_hard_link_to_what_no_layer_shows_or_no_file_is_refused_and_leaves_nothing(store: Store, target: str) -> None:
    base = stack(store, BASE, [whiteout("etc/motd"), opaque("srv")])
    pending = store.layers.unpack([archive(hard_link("link", target))])
    with pytest.raises(InvalidInput, match=f"'link' is a hard link to '{target}', which"):
        store.layers.commit(pending, base)
    store.layers.discard(pending)
    assert [snapshot for snapshot in store.snapshots.list() if not snapshot.committed] == []


def test_no_broken_name_is_listed_where_a_deletion_deletes_nothing(store: Store, see: See) -> None:
    chain = stack(store, [whiteout("a"), file("d/x"), whiteout("d/y")], [directory("new"), whiteout("new/z"), opaque("d"), whiteout("d/x")])
    with see(chain) as root:
        assert sorted(os.listdir(root)) == ["d", "new"]
        assert os.listdir(root / "d") == os.listdir(root / "new") == []


def test_an_opaque_root_hides_all_that_is_below(store: Store, see: See) -> None:
    with see(stack(store, BASE, [opaque(""), file("etc/mine"), file("new")])) as root:
        assert [path for path in sorted(look(root)) if path] == ["etc", "etc/mine", "new"]


def test_layers_are_unpacked_in_any_order_at_the_same_time_and_shared(store: Store) -> None:
    archives = [archive(file(f"layer {number}", bytes(100_000))) for number in range(8)]
    pending = {}

    def work(number: int) -> None:
        pending[number] = store.layers.unpack([archives[number]])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    chain = None
    for number in range(8):
        chain = store.layers.commit(pending[number], chain)
    assert chain == chain_id([digests.of(data) for data in archives])
    assert len(store.snapshots.stack(snapshot_name(chain))) == 8
    again = stack(store, [file("layer 0", bytes(100_000))])
    assert store.layers.has(again) and store.layers.get(again).name == snapshot_name(again)
    assert len(store.snapshots.list()) == 8


def test_what_is_not_unpacked_is_not_there(store: Store) -> None:
    assert not store.layers.has(digests.of(b""))
    with pytest.raises(NotFound):
        store.layers.get(digests.of(b""))
    pending = store.layers.unpack([archive(file("a"))])
    with pytest.raises(NotFound):
        store.layers.commit(pending, digests.of(b"no such parent"))
    store.layers.discard(pending)
    store.layers.discard(pending)
    assert store.snapshots.list() == ()


def test_a_layer_that_fails_leaves_nothing(store: Store) -> None:
    def broken() -> list[bytes]:
        raise ConnectionError

    with pytest.raises(InvalidInput):
        store.layers.unpack([archive(file("a"), file("../b"))])
    with pytest.raises(InvalidInput, match="larger than 2000 bytes"):
        store.layers.unpack([archive(file("a"))], limit=2000)
    with pytest.raises(ConnectionError):
        store.layers.unpack(chunk for _ in [0] for chunk in [archive(file("a"))[:700], *broken()])
    assert store.snapshots.list() == ()


def test_a_layer_does_not_stand_on_two(store: Store) -> None:
    stack(store, BASE)
    store.snapshots.prepare("c1", store.snapshots.list()[0].name)
    with pytest.raises(Conflict, match="stands on"):
        store.snapshots.commit("c1", "c2", parent=store.snapshots.list()[0].name)


def test_an_image_of_127_layers_can_be_mounted_written_to_and_is_known_to_be_in_use(store: Store, see: See, tmp_path: Path) -> None:
    chain = stack(store, *([file(f"file{number}", b"x"), file("top", b"%d" % number)] for number in range(127)))
    with see(chain) as root:
        assert len(os.listdir(root)) == 128
        assert (root / "top").read_bytes() == b"126"
        with pytest.raises(Conflict, match="is mounted on"):
            store.snapshots.remove(snapshot_name(chain))
    store.snapshots.prepare("c1", snapshot_name(chain))
    (target := tmp_path / "c1").mkdir()
    with store.snapshots.mounted("c1", str(target)):
        (target / "file0").write_bytes(b"changed")
        with pytest.raises(Conflict, match="is mounted on"):
            store.snapshots.remove("c1")
    assert [str(change) for change in store.snapshots.changes("c1")] == ["changed /file0"]


def test_the_same_archive_gives_the_same_tree_whatever_the_umask_is(store: Store, see: See) -> None:
    old = os.umask(0o777)
    try:
        chain = stack(store, [file("a/b/c")])
    finally:
        os.umask(old)
    with see(chain) as root:
        assert {path: facts[0] for path, facts in look(root).items()} == {
            "": "0o40755",
            "a": "0o40755",
            "a/b": "0o40755",
            "a/b/c": "0o100644",
        }
        assert [look(root)[path][3] for path in ("", "a", "a/b")] == [0, 0, 0]


def test_a_snapshot_deeper_than_a_path_can_be_long_is_removed(store: Store) -> None:
    store.snapshots.prepare("c1")
    here = os.getcwd()
    try:
        os.chdir(store.snapshots.get("c1").upper)
        for _ in range(3000):  # and deeper than Python calls itself
            os.mkdir("directory")
            os.chdir("directory")
        os.chdir(here)
        store.snapshots.remove("c1")
        assert os.listdir(f"{store.snapshots.root}/trash") == []
    finally:
        os.chdir(here)
        subprocess.run(["rm", "-rf", store.root], check=True)  # pytest could not


def test_a_store_of_blobs_may_be_where_no_snapshots_can_be(tmp_path: Path) -> None:
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    mounts.overlay([str(tmp_path / "lower")], str(tmp_path / "upper"), str(tmp_path / "work"), str(tmp_path / "merged"))
    try:
        store = Store(str(tmp_path / "merged"))
        assert store.blobs.read(store.blobs.put(b"x")) == b"x"
    finally:
        mounts.unmount(str(tmp_path / "merged"))


def test_nobody_but_root_gets_at_the_setuid_programs_of_an_image(store: Store) -> None:
    old = os.umask(0)
    try:
        chain = stack(store, [file("su", b"#!/bin/sh", mode=0o4755)])
        store.snapshots.prepare("c1", snapshot_name(chain))
    finally:
        os.umask(old)
    for snapshot in store.snapshots.list():
        above = os.path.dirname(os.path.dirname(snapshot.upper))
        assert os.stat(above).st_mode & 0o077 == 0, above
