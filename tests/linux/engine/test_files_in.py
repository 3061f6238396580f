"""docker cp into a container: what goes in, what is refused, and what is tried in vain."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from labkit.engine import files, view
from labkit.engine.container import Container
from labkit.errors import Conflict, Denied, InvalidInput, LabError, NotFound
from labkit.linux import mounts
from tests.container_files import archive, got, members, until_said
from tests.containers import Make

# What goes in


def test_what_goes_in_keeps_owner_mode_and_time(box: Container) -> None:
    files.put_archive(box, "/d", archive(("sub/file", "new"), mode=0o4711, owner=(1234, 5678)))
    found = members(files.get_archive(box, "/d/sub/file")[1])["file"]
    assert (found.mode, found.uid, found.gid, found.mtime) == (0o4711, 1234, 5678, 1_000_000_000)
    parent = members(files.get_archive(box, "/d/sub")[1])["sub"]
    assert (parent.mode, parent.uid, parent.gid) == (0o755, 0, 0)


def test_it_can_belong_to_the_containers_user(start: Make) -> None:
    box = start(User="www")
    files.put_archive(box, "/tmp", archive(("file", "x"), ("d", None), owner=(7, 7)), copy_uid_gid=True)
    assert {(member.uid, member.gid) for name, member in members(files.get_archive(box, "/tmp")[1]).items() if name != "tmp"} == {(33, 34)}


def test_the_containers_processes_see_it_and_it_stays(box: Container) -> None:
    files.put_archive(box, "/", archive(("etc/motd", "hello"), ("data/more", "of a volume"), ("run.sh", "#!/bin/sh\n"), mode=0o755))
    assert got(box, "/etc/motd") == {"motd": b"hello"}
    assert Path(box.engine.volumes.get("vol").Mountpoint, "more").read_text() == "of a volume"
    if box.state.alive:
        with open(f"/proc/{box.state.Init.Pid}/root/etc/motd") as seen:
            assert seen.read() == "hello"
    else:
        assert Path(box.engine.store.snapshots.get(box.record.Snapshot).upper, "etc/motd").read_text() == "hello"


def test_directories_become_one_and_other_things_are_replaced(box: Container) -> None:
    files.put_archive(box, "/", archive(("d", None), ("d/a", "1"), ("d/a", "2"), ("link/b", "through"), ("made", "->/etc/motd")))
    assert got(box, "/d") == {"d/a": b"2", "d/b": b"through"}
    assert members(files.get_archive(box, "/made")[1])["made"].linkname == "/etc/motd"
    files.put_archive(box, "/", archive(("made", "a file again"), ("hard", "=>made"), ("d", "no directory any more")))
    assert got(box, "/made") == {"made": b"a file again"} == {"made": got(box, "/hard")["hard"]}
    assert got(box, "/d") == {"d": b"no directory any more"}
    assert got(box, "/etc/motd")["motd"] != b"a file again"


def test_no_directory_for_a_file_and_no_file_for_a_directory_if_so_asked(box: Container) -> None:
    with pytest.raises(InvalidInput, match=r'^cannot overwrite directory "/d" with non-directory "/"$'):
        files.put_archive(box, "/", archive(("d", "a file")), no_overwrite=True)
    with pytest.raises(InvalidInput, match=r'^cannot overwrite non-directory "/made" with directory "/"$'):
        files.put_archive(box, "/", archive(("made", None)), no_overwrite=True)
    files.put_archive(box, "/", archive(("made", "file for file"), ("d", None)), no_overwrite=True)
    assert got(box, "/made") == {"made": b"file for file"}


def test_where_it_goes_must_be_a_directory(box: Container) -> None:
    with pytest.raises(InvalidInput, match=r"^extraction point is not a directory$"):
        files.put_archive(box, "/made", archive(("x", "y")))
    with pytest.raises(NotFound, match=r"^Could not find the file /nosuch in container box$"):
        files.put_archive(box, "/nosuch", archive(("x", "y")))
    files.put_archive(box, "/link", archive(("x", "y")))
    assert got(box, "/d")["d/x"] == b"y"


def test_what_is_mounted_stays_mounted(box: Container) -> None:
    for name in ("etc/hosts", "data", "etc", "proc", "sys", "dev"):
        with pytest.raises(Conflict, match=f"^unlinkat /{name}: device or resource busy"):
            files.put_archive(box, "/", archive((name, "in its place")))
    if box.state.alive:
        targets = {mount.target for mount in mounts.table(box.state.Init.Pid)}
        assert {"/etc/hosts", "/data", "/proc", "/sys", "/dev"} <= targets


def test_nothing_is_written_where_the_container_may_not_write(start: Make, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    mounted = {"Binds": ("vol:/data", f"{tmp_path}/in:/in:ro"), "ReadonlyRootfs": True}
    box = start("sh", "-c", "ln -s /bin /data/bin; ln -s /in /data/in; echo ready; sleep 1000", **mounted)
    until_said(box, "ready")
    for _ in ("running", "stopped"):
        with pytest.raises(Denied, match=r"^container rootfs is marked read-only$"):
            files.put_archive(box, "/", archive(("x", "y")))
        with pytest.raises(Denied, match=r"^mounted volume is marked read-only$"):
            files.put_archive(box, "/in", archive(("x", "y")))
        for path in ("bin/x", "in/x"):
            with pytest.raises(Denied, match="mounted read-only in the container"):
                files.put_archive(box, "/data", archive((path, "y")))
        files.put_archive(box, "/data", archive(("fine", "y")))
        assert got(box, "/data/fine") == {"fine": b"y"}
        box.stop(0)
    assert os.listdir(tmp_path / "in") == []
    assert not os.path.exists(f"{box.engine.store.snapshots.get(box.record.Snapshot).upper}/bin/x")


# What is tried


@pytest.mark.parametrize("name", ["../out", "d/../../out", "/../out", "d/./../../../out"])
def test_no_entry_leads_out_of_where_it_is_to_go(box: Container, name: str) -> None:
    with pytest.raises(InvalidInput, match=r'^"\S+out" is outside of "/d"$'):
        files.put_archive(box, "/d", archive((name, "x")))


def test_links_lead_to_the_containers_own_files_whoever_made_them(box: Container, tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim/secret").write_text("of the host")
    files.put_archive(box, "/d", archive(("out", f"->{tmp_path}/victim"), ("up", "->../../../../../../.."), ("abs", "->/")))
    for path in (f"out{tmp_path}/x", "up/x", "abs/y"):
        with suppress(InvalidInput):
            files.put_archive(box, "/d", archive((path, "written")))
    assert sorted(os.listdir(tmp_path / "victim")) == ["secret"] and not os.path.exists("/x") and not os.path.exists("/y")
    assert got(box, "/x") == {"x": b"written"} and got(box, "/y") == {"y": b"written"}
    with pytest.raises(NotFound):
        files.get_archive(box, "/d/out/secret")
    with pytest.raises(NotFound):
        files.get_archive(box, f"/d/up{tmp_path}/victim/secret")


def test_links_swapped_while_copying_never_lead_outside(start: Make, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "secret").write_text("of the host")
    swap = f"rm -rf s; ln -s {victim} s; rm s; ln -s ../../../../../..{victim} s; rm s; ln -s /proc/1/root{victim} s; rm s; mkdir s"
    box = start("sh", "-c", f"mkdir /w; cd /w; mkdir s; echo ready; while :; do {swap}; echo inside > s/secret; done")
    until_said(box, "ready")
    for number in range(150):
        with suppress(LabError):
            files.put_archive(box, "/w", archive(("s/made", f"{number}"), ("s/sub/deep", "x")))
        with suppress(LabError):
            files.put_archive(box, "/w/s", archive(("made", f"{number}")))
        for path in ("/w", "/w/s", "/w/s/secret", "/w/s/."):
            with suppress(NotFound):
                assert b"of the host" not in got(box, path).values()
    assert os.listdir(victim) == ["secret"] and (victim / "secret").read_text() == "of the host"


def test_an_archive_that_is_none_is_refused_and_the_container_is_as_usable_as_before(box: Container) -> None:
    whole = b"".join(archive(("a", "x" * 5000)))
    for chunks in ([b"garbage" * 100], [whole[:700]], [whole[:3000]], [b"\x1f\x8b" + bytes(50)]):
        with pytest.raises(InvalidInput):
            files.put_archive(box, "/d", chunks)
    files.put_archive(box, "/d", archive(("b", "no directory")))
    with pytest.raises(InvalidInput, match="not a directory"):
        files.put_archive(box, "/d", archive(("b/c", "x")))


def test_a_client_that_goes_away_in_the_middle_leaves_no_lock(box: Container) -> None:
    def broken() -> Iterator[bytes]:
        yield b"".join(archive(("a", "x" * 5000)))[:2000]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        files.put_archive(box, "/d", broken())
    box.start()
    box.stop(0)
    box.remove()


def test_a_container_that_is_gone_is_not_found(make: Make) -> None:
    box = make("true")
    box.remove()
    with pytest.raises(NotFound, match=f"^No such container: {box.id}$"):
        files.stat(box, "/")
    with pytest.raises(NotFound, match=f"^No such container: {box.id}$"):
        files.put_archive(box, "/", archive(("a", "b")))


def test_names_that_are_no_text_and_long_ones_go_in_and_come_out(box: Container) -> None:
    name = "d/" + "/".join(["n" * 100] * 4) + "/caf\udce9"
    files.put_archive(box, "/", archive((name, "x")))
    assert got(box, "/" + name.rpartition("/")[0])[f"{'n' * 100}/caf\udce9"] == b"x"


# Views


def test_a_view_is_in_no_table_of_mounts_but_its_own(box: Container) -> None:
    before = [str(mount) for mount in mounts.table()]
    with view.readable(box) as seen:
        assert [str(mount) for mount in mounts.table()] == before
        with pytest.raises(OSError, match="Read-only file system"):
            os.mkdir(f"{seen.root}/data/x")
        root = os.stat(f"{seen.root}/..")
        assert (root.st_dev, root.st_ino) == (os.stat(seen.root).st_dev, os.stat(seen.root).st_ino)
