"""docker cp, diff and export: what is found, what comes out, what has changed."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from labkit.engine import files
from labkit.engine.container import Container
from labkit.engine.engine import Engine
from labkit.errors import InvalidInput, LabError, NotFound
from tests.container_files import archive, contents, got, members, until_said
from tests.containers import UNTIL_TERM, Make, ran

# What is found


@pytest.mark.parametrize(
    ("path", "name", "mode", "target"),
    [
        ("/made", "made", 1 << 23 | 0o755, ""),
        ("made", "made", 1 << 23 | 0o755, ""),
        ("/etc/../made", "made", 1 << 23 | 0o755, ""),
        ("/link", "link", 1 << 27 | 0o777, "/d"),
        ("/link/", "link", 1 << 31 | 0o755, ""),
        ("/link/.", ".", 1 << 31 | 0o755, ""),
        ("/link/dangling", "dangling", 1 << 27 | 0o777, "/x"),
        ("/", "/", 1 << 31 | 0o755, ""),
        ("/..", "/", 1 << 31 | 0o755, ""),
        ("/d/../..", "/", 1 << 31 | 0o755, ""),
        ("/tmp", "tmp", 1 << 31 | 1 << 20 | 0o777, ""),
    ],
)
def test_what_is_at_a_path_is_told_as_docker_tells_it(box: Container, path: str, name: str, mode: int, target: str) -> None:
    found = files.stat(box, path)
    assert (found.name, oct(found.mode), found.linkTarget) == (name, oct(mode), target)


def test_what_is_not_there_is_not_found_in_dockers_words(box: Container) -> None:
    for path in ("/nosuch", "/nosuch/deeper", "/d/nosuch", "/link/nosuch", "/link/dangling/"):
        for look in (files.stat, files.get_archive):
            with pytest.raises(NotFound) as failure:
                look(box, path)
            assert str(failure.value) == f"Could not find the file {path} in container box"
    with pytest.raises(InvalidInput, match=r"^lstat /made/: not a directory$"):
        files.stat(box, "/made/")
    with pytest.raises(InvalidInput, match=r"too many"):
        files.get_archive(box, "/loop/x")
    with pytest.raises(InvalidInput, match="path cannot be empty"):
        files.stat(box, "")


# What comes out


def test_a_file_comes_out_alone_with_all_that_it_is(box: Container) -> None:
    found, chunks = files.get_archive(box, "/made")
    (member,) = members(chunks).values()
    assert (member.name, member.mode, member.size, member.uid) == ("made", 0o4755, 3, 0)
    assert found.mtime.startswith(time.strftime("%Y-%m-%dT%H:%M:", time.gmtime(member.mtime)))
    assert got(box, "/made") == {"made": b"hi\n"}


def test_a_directory_comes_out_under_its_own_name_and_a_link_as_a_link(box: Container) -> None:
    assert list(members(files.get_archive(box, "/d")[1])) == ["d", "d/dangling"]
    assert list(members(files.get_archive(box, "/link/")[1])) == ["link", "link/dangling"]
    assert list(members(files.get_archive(box, "/link/.")[1])) == [".", "./dangling"]
    link = members(files.get_archive(box, "/link")[1])["link"]
    assert link.issym() and link.linkname == "/d"


def test_all_of_it_begins_with_a_slash(box: Container) -> None:
    raw = b"".join(files.get_archive(box, "/")[1])
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        names = [raw[member.offset_data - 512 :][:100].rstrip(b"\0") for member in tar.getmembers()]
    assert names[0] == b"/" and all(name.startswith(b"/") for name in names)
    assert b"/etc/motd" in names and b"/data/seed" in names and not any(name.startswith(b"/proc/") for name in names if name != b"/proc/")


def test_what_is_mounted_is_seen_as_the_container_sees_it(start: Make, tmp_path: Path) -> None:
    (tmp_path / "bound").mkdir()
    (tmp_path / "bound/file").write_text("of the host")
    script = f"echo in memory > /t/file; {UNTIL_TERM[-1]}"
    box = start("sh", "-c", script, Binds=("vol:/data", f"{tmp_path}/bound:/data/b:ro"), Tmpfs={"/t": ""})
    until_said(box, "up")
    assert got(box, "/data") == {"data/seed": b"from the image\n", "data/b/file": b"of the host"}
    assert got(box, "/t/file") == {"file": b"in memory\n"}
    assert got(box, "/etc/hosts")["hosts"].startswith(b"127.0.0.1\tlocalhost\n")
    box.stop()
    assert got(box, "/data") == {"data/seed": b"from the image\n", "data/b/file": b"of the host"}
    assert got(box, "/t") == {}
    assert got(box, "/etc/hosts")["hosts"].startswith(b"127.0.0.1\tlocalhost\n")


def test_a_container_that_was_never_started_has_its_image_and_its_volumes(make: Make) -> None:
    box = make("true", Binds=("vol:/new/deep",))
    assert got(box, "/data") == {"data/seed": b"from the image\n"}
    files.put_archive(box, "/new/deep", archive(("file", "in the volume")))
    assert got(box, "/new") == {"new/deep/file": b"in the volume"}
    assert Path(box.engine.volumes.get("vol").Mountpoint, "file").read_text() == "in the volume"


def test_hard_links_stay_links_and_special_files_come_along(start: Make) -> None:
    script = "mkdir /s; cd /s; echo x > a; ln a b; mkfifo pipe; mknod zero c 1 5; truncate -s 10M hole; echo ready; sleep 1000"
    box = start("sh", "-c", script)
    until_said(box, "ready")
    found = members(files.get_archive(box, "/s")[1])
    assert found["s/b"].islnk() and found["s/b"].linkname == "s/a"
    assert found["s/pipe"].isfifo() and (found["s/zero"].devmajor, found["s/zero"].devminor) == (1, 5)
    assert found["s/hole"].size == 10 << 20


def test_files_that_change_while_they_are_read_do_not_end_the_archive(start: Make) -> None:
    busy = "i=0; while :; do i=$((i+1)); echo $i > f$((i%9)); dd if=/dev/zero of=big bs=4096 count=$((i%99)) 2>/dev/null; "
    box = start("sh", "-c", f"mkdir /busy; cd /busy; echo ready; {busy} mkdir d$((i%9)) 2>/dev/null || rm -r d$((i%9)); done")
    until_said(box, "ready")
    for _ in range(60):
        assert "busy" in members(files.get_archive(box, "/busy")[1])
        assert "bin" in members(files.export(box))


def test_nobody_who_reads_holds_up_the_container(box: Container) -> None:
    _, chunks = files.get_archive(box, "/")
    next(chunks)
    box.start()
    box.stop(0)
    box.remove()
    with suppress(LabError):
        for _ in chunks:
            pass


def test_who_goes_away_leaves_nothing_open(box: Container) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        _, chunks = files.get_archive(box, "/bin")
        next(chunks)
        del chunks
        files.get_archive(box, "/bin")
        files.export(box)
    assert len(os.listdir("/proc/self/fd")) == before


# diff and export


def test_what_was_changed_added_and_deleted_is_told_with_the_directories_on_the_way(start: Make) -> None:
    script = "echo x > /etc/motd; rm -r /data; mkdir -p /new/sub; echo y > /new/sub/f; chmod 700 /home; echo ready; sleep 1000"
    box = start("sh", "-c", script)
    until_said(box, "ready")
    found = {change.Path: change.Kind for change in files.changes(box)}
    assert found == {"/data": 2, "/etc": 0, "/etc/motd": 0, "/home": 0, "/new": 1, "/new/sub": 1, "/new/sub/f": 1}
    assert list(found) == sorted(found)


def test_a_container_that_changed_nothing_has_no_changes(make: Make) -> None:
    box = make("true")
    assert files.changes(box) == ()
    assert ran(box) == 0
    assert files.changes(box) == ()


def test_an_export_is_the_file_system_without_what_is_mounted(box: Container) -> None:
    files.put_archive(box, "/", archive(("data/in-volume", "x"), ("etc/motd", "changed")))
    found = contents(files.export(box))
    assert found["etc/motd"] == b"changed" and found["made"] == b"hi\n"
    assert found["data/seed"] == b"from the image\n" and "data/in-volume" not in found
    names = members(files.export(box))
    assert not any(name.startswith(("proc/", "sys/", "dev/")) for name in names) and stat.S_IMODE(names["made"].mode) == 0o4755


def test_copying_is_told_as_events(engine: Engine, make: Make) -> None:
    box = make("true", name="box")
    with engine.events.subscribe(filters={"type": ("container",)}) as events:
        files.put_archive(box, "/", archive(("a", "b")))
        got(box, "/a")
        contents(files.export(box))
        assert [next(events).Action for _ in range(3)] == ["extract-to-dir", "archive-path", "export"]
