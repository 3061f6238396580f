"""Archives as others write them: every form of name, number and hole is read, and damage is told."""

from __future__ import annotations

import os
import subprocess
import tarfile
import tracemalloc
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import InvalidInput
from labkit.storage import tar
from labkit.storage.unpack import unpack
from tests.archives import archive, directory, file, hard_link, member, symlink

LONG = "/".join(["directory" * 3] * 9) + "/äöü"


def read(data: bytes) -> list[tuple[tar.Entry, bytes]]:
    archive = tar.Reader([data])
    return [(entry, b"".join(map(bytes, archive.contents()))) for entry in archive]


def fields(data: bytes) -> tar.Entry:
    ((entry, _),) = read(data)
    return entry


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT], ids=["pax", "gnu", "ustar"])
def test_all_kinds_of_entries_are_read_in_every_format(form: int) -> None:
    data = archive(
        directory("d", mode=0o1777),
        file("d/a", b"hello", uid=1000, gid=1001, mtime=1_234_567_890),
        symlink("d/s", "a"),
        hard_link("d/h", "d/a"),
        member("c", tarfile.CHRTYPE, devmajor=4, devminor=64),
        member("b", tarfile.BLKTYPE, devmajor=8, devminor=1),
        member("f", tarfile.FIFOTYPE, mode=0o600),
        member("old", b"\0", b"x"),
        member("contiguous", b"7", b"y"),
        form=form,
    )
    found = read(data)
    assert [(entry.path, chr(entry.kind), entry.link, content) for entry, content in found] == [
        (b"d/", "5", b"", b""),
        (b"d/a", "0", b"", b"hello"),
        (b"d/s", "2", b"a", b""),
        (b"d/h", "1", b"d/a", b""),
        (b"c", "3", b"", b""),
        (b"b", "4", b"", b""),
        (b"f", "6", b"", b""),
        (b"old", "0", b"", b"x"),
        (b"contiguous", "0", b"", b"y"),
    ]
    entry = found[1][0]
    assert (entry.mode, entry.uid, entry.gid, entry.size, entry.mtime) == (0o644, 1000, 1001, 5, 1_234_567_890 * 10**9)
    assert found[0][0].mode == 0o1777
    assert [(entry.major, entry.minor) for entry, _ in found[4:6]] == [(4, 64), (8, 1)]


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT], ids=["pax", "gnu"])
def test_what_a_header_has_no_room_for_is_read_from_before_it(form: int) -> None:
    data = archive(file(LONG, b"x", uid=3_000_000, gid=4_000_000_000, mtime=-5), symlink("s", LONG), file("short"), form=form)
    (one, content), (link, _), (short, _) = read(data)
    assert (one.path, one.uid, one.gid, one.mtime, content) == (LONG.encode(), 3_000_000, 4_000_000_000, -5 * 10**9, b"x")
    assert (link.path, link.link) == (b"s", LONG.encode())
    assert (short.path, short.uid) == (b"short", os.getuid())


def test_pax_records_say_what_a_header_cannot() -> None:
    records = {
        "mtime": "1.000000001",
        "SCHILY.xattr.user.one": "1=2\n3",
        "SCHILY.xattr.user.empty": "",
        "comment": "of nobody's interest",
        "atime": "5.5",
        "path": "other\nname",
    }
    entry = fields(archive(file("name", pax_headers=records)))
    assert (entry.path, entry.mtime) == (b"other\nname", 1_000_000_001)
    assert dict(entry.xattrs) == {"user.one": b"1=2\n3", "user.empty": b""}


def test_records_for_all_entries_are_passed_over_as_docker_does() -> None:
    out = BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "git", "path": "evil"}) as made:
        made.addfile(tarfile.TarInfo("a"))
    assert fields(out.getvalue()).path == b"a"


@pytest.mark.parametrize(
    "content", [b"", bytes(3_000_000), bytes(1_000_000) + b"end", b"x" * 5000 + bytes(600_000) + b"y" * 5000 + bytes(900_000)]
)
@pytest.mark.parametrize(
    "form", [["--format=gnu"], *(["--format=pax", f"--sparse-version={version}"] for version in ("0.0", "0.1", "1.0"))]
)
def test_sparse_files_of_gnu_tar_are_read_in_its_four_forms(tmp_path: Path, form: list[str], content: bytes) -> None:
    source = tmp_path / "sparse file"
    with source.open("wb") as made:
        for at in range(0, len(content), 4096):
            if any(content[at : at + 4096]):
                made.seek(at)
                made.write(content[at : at + 4096])
        made.truncate(len(content))
    (tmp_path / "after").write_bytes(b"after")
    data = subprocess.run(["tar", "-c", "-S", *form, "sparse file", "after"], cwd=tmp_path, capture_output=True, check=True).stdout
    assert len(data) < 100_000
    (tmp_path / "out").mkdir()
    unpack([data], str(tmp_path / "out"), overlay=False)
    assert (tmp_path / "out/sparse file").read_bytes() == content
    assert (tmp_path / "out/sparse file").stat().st_blocks == source.stat().st_blocks
    assert (tmp_path / "out/after").read_bytes() == b"after"


def test_a_sparse_file_of_many_parts_is_read(tmp_path: Path) -> None:
    with (tmp_path / "many").open("wb") as made:
        for part in range(100):
            made.seek(part * 16384)
            made.write(b"%4096d" % part)
    for form in ["--format=gnu"], ["--format=pax"]:
        data = subprocess.run(["tar", "-c", "-S", *form, "many"], cwd=tmp_path, capture_output=True, check=True).stdout
        (out := tmp_path / form[0]).mkdir()
        unpack([data], str(out), overlay=False)
        assert (out / "many").read_bytes() == (tmp_path / "many").read_bytes()


@pytest.mark.parametrize(
    "records",
    [
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "10"},
        {"GNU.sparse.size": "10", "GNU.sparse.map": "0,5,3,7"},
        {"GNU.sparse.size": "10", "GNU.sparse.map": "0,5,3"},
        {"GNU.sparse.size": "10", "GNU.sparse.map": "8,12"},
        {"GNU.sparse.size": "10", "GNU.sparse.map": "0,-12"},
        {"GNU.sparse.size": "many", "GNU.sparse.map": "0,12"},
        {"GNU.sparse.offset": "1", "GNU.sparse.size": "100"},
    ],
)
def test_a_sparse_file_whose_map_cannot_be_is_refused(records: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="is damaged"):
        read(archive(file("a", b"hello, world", pax_headers=records)))


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ({"uid": "-1"}, "uid is b'-1'"),
        ({"uid": "4294967295"}, "belongs to 4294967295"),
        ({"size": "99999999999999999999"}, "size is"),
        ({"mtime": "soon"}, "mtime is"),
        ({"path": "a\0b"}, "holds a zero byte"),
        ({"linkpath": "\0"}, "holds a zero byte"),
        ({"path": "x" * (1 << 20)}, "names or attributes of 1048\\d+ bytes"),
    ],
)
def test_records_that_cannot_be_are_refused(records: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        read(archive(file("a", pax_headers=records)))


@pytest.mark.parametrize(
    "record", [b"5 a=b\n", b"0 a=b\n", b"99 a=b\n", b" a=b\n", b"6 a=bc", b"6 =ab\n", b"6 abc\n", b"9" * 5000 + b" a=b\n", b"\xb2 a=b\n"]
)
def test_a_record_that_is_none_is_refused(record: bytes) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, len(record)
    data = header.tobuf(tarfile.USTAR_FORMAT) + record.ljust(-(-len(record) // 512) * 512, b"\0") + archive(file("a"))
    with pytest.raises(InvalidInput, match="is damaged"):
        read(data)


def test_records_of_an_entry_that_does_not_come_are_refused() -> None:
    data = archive(file("a" * 200))
    with pytest.raises(InvalidInput, match="breaks off after the records"):
        read(data[:1024] + bytes(1024))


def test_records_before_records_take_no_memory_and_no_stack() -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 8
    record = header.tobuf(tarfile.USTAR_FORMAT) + b"8 abc=d\n".ljust(512, b"\0")
    tracemalloc.start()
    try:
        assert [entry.path for entry in tar.Reader([record] * 5000 + [archive(file("a"))])] == [b"a"]
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_large_file_takes_little_memory() -> None:
    header = tarfile.TarInfo("large")
    header.size = 64 << 20
    chunk = bytes(1 << 20)
    stream = [header.tobuf(), *[chunk] * 64, bytes(1024)]
    tracemalloc.start()
    try:
        reader = tar.Reader(iter(stream))
        assert [sum(map(len, reader.contents())) for _ in reader] == [64 << 20]
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@given(st.data())
def test_a_damaged_archive_gives_entries_or_an_error_and_nothing_worse(data: st.DataObject) -> None:
    made = bytearray(
        archive(directory("d"), file(LONG, b"hello"), symlink("s", "t" * 120), file("e", pax_headers={"SCHILY.xattr.user.x": "y"}))
    )
    for _ in range(data.draw(st.integers(1, 8))):
        made[data.draw(st.integers(0, len(made) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):  # get past the checksums
        for at in range(0, len(made), 512):
            made[at + 148 : at + 156] = b"%06o\0 " % (sum(made[at : at + 148]) + 256 + sum(made[at + 156 : at + 512]))
    try:
        read(bytes(made[: data.draw(st.integers(0, len(made)))]))
    except InvalidInput as error:
        assert str(error).startswith("layer: ")
