"""cp's files on this side: what goes into an archive comes out of it, and nothing gets beside the directory that was named."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit.cli.client import copying, local_files
from labkit.cli.client.grammar import Failed
from labkit.cli.client.local_files import Place
from labkit.errors import LabError


def packed(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info, data in entries:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


@pytest.fixture
def target(tmp_path: Path) -> Place:
    (tmp_path / "target").mkdir()
    (tmp_path / "secret").write_text("untouched")
    return Place(str(tmp_path / "target"), True, True, str(tmp_path / "target"), "top")


def extract(data: bytes, target: Place) -> int:
    return local_files.extract([data[:700], data[700:]], target, keep_owner=False)


def test_a_tree_goes_there_and_back(tmp_path: Path, target: Place) -> None:
    source = tmp_path / "source"
    (source / "deep/er").mkdir(parents=True)
    (source / "deep/file").write_bytes(os.urandom(100_000))
    (source / "deep/file").chmod(0o4755)
    (source / "link").symlink_to("deep/file")
    os.link(source / "deep/file", source / "same")
    os.mkfifo(source / "pipe")
    counted = [0]
    data = b"".join(local_files.archive(str(source), "source", False, counted))
    assert extract(data, target) == counted[0] == 100_000
    top = Path(target.directory, "top")
    assert (top / "deep/file").read_bytes() == (source / "deep/file").read_bytes()
    assert stat.S_IMODE((top / "deep/file").stat().st_mode) == 0o4755
    assert os.readlink(top / "link") == "deep/file"
    assert (top / "same").samefile(top / "deep/file")
    assert (top / "pipe").is_fifo() and (top / "deep/er").is_dir()
    assert (top / "deep").stat().st_mtime == pytest.approx((source / "deep").stat().st_mtime, abs=1)


def test_contents_alone_go_where_a_dot_says_so(tmp_path: Path, target: Place) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/a").write_text("a")
    extract(b"".join(local_files.archive(f"{tmp_path}/source/.", ".", False, [0])), target)
    assert Path(target.directory, "top/a").read_text() == "a"


@pytest.mark.parametrize(
    "entries",
    [
        [(entry("../secret"), b"evil")],
        [(entry("x/../../secret"), b"evil")],
        [(entry("x", tarfile.SYMTYPE, ".."), b""), (entry("x/secret"), b"evil")],
        [(entry("x", tarfile.SYMTYPE, "/"), b""), (entry("x/SECRET"), b"evil")],
        [(entry("x/"), b""), (entry("x/up", tarfile.SYMTYPE, "../../secret"), b""), (entry("x/up"), b"evil")],
        [(entry("x", tarfile.DIRTYPE), b""), (entry("x/hard", tarfile.LNKTYPE, "../secret"), b""), (entry("x/hard"), b"evil")],
        [(entry("x", tarfile.DIRTYPE), b""), (entry("x/hard", tarfile.LNKTYPE, "x/../../../secret"), b""), (entry("x/hard"), b"evil")],
    ],
)
def test_nothing_is_written_beside_the_target(entries: list[tuple[tarfile.TarInfo, bytes]], target: Place, tmp_path: Path) -> None:
    for info, _ in entries:
        info.name = info.name.replace("SECRET", str(tmp_path / "secret").lstrip("/"))
    try:
        extract(packed(*entries), target)
    except LabError:
        pass
    assert (tmp_path / "secret").read_text() == "untouched"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret", "target"]


def test_a_damaged_archive_is_an_error_that_says_so(target: Place) -> None:
    with pytest.raises(LabError, match="the archive is damaged"):
        extract(packed((entry("top"), b"x" * 5000))[:1500], target)


def test_a_directory_is_not_overwritten_by_a_file(target: Place) -> None:
    Path(target.directory, "top").mkdir()
    with pytest.raises(LabError, match="cannot overwrite directory"):
        extract(packed((entry("x"), b"data")), target)


@pytest.mark.parametrize(
    ("word", "split"),
    [
        ("web:/etc", ("web", "/etc")),
        ("web:rel", ("web", "rel")),
        ("/tmp/a:b", ("", "/tmp/a:b")),
        ("./a:b", ("", "./a:b")),
        ("plain", ("", "plain")),
        ("-", ("", "-")),
    ],
)
def test_a_word_names_a_container_or_a_file_here(word: str, split: tuple[str, str]) -> None:
    assert copying._split(word) == split


@pytest.mark.parametrize(
    ("there", "directory", "name", "placed"),
    [
        (Place("/d", True, True), False, "f", ("/d", "f")),
        (Place("/d", True, True), True, "s", ("/d", "s")),
        (Place("/d", True, True), True, ".", ("/d", ".")),
        (Place("/d/new"), False, "f", ("/d", "new")),
        (Place("/d/new/"), True, "s", ("/d", "new")),
        (Place("/d/old", True), False, "f", ("/d", "old")),
        (Place("new"), False, "f", (".", "new")),
    ],
)
def test_where_a_copy_goes_depends_on_what_is_there(there: Place, directory: bool, name: str, placed: tuple[str, str]) -> None:
    found = copying._placed(there, directory, name)
    assert (found.directory, found.name) == placed


def test_what_cannot_be_copied_there_is_told_as_docker_tells_it(tmp_path: Path) -> None:
    attempts: list[tuple[Callable[[], object], str]] = [
        (lambda: copying._placed(Place("/f", True), True, "s"), "cannot copy directory"),
        (lambda: copying._placed(Place("/d/"), False, "f"), "no such directory"),
        (lambda: local_files.place(f"{tmp_path}/no/such"), f'invalid output path: directory "{tmp_path}/no" does not exist'),
        (lambda: local_files.is_directory("/nosuch", False), "lstat /nosuch: no such file or directory"),
    ]
    for attempt, why in attempts:
        with pytest.raises(Failed) as refused:
            attempt()
        assert str(refused.value) == why
