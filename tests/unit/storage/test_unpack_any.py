"""Any archive at all: nothing outside the directory is touched, whatever its entries are and in whatever order they come."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.errors import LabError
from labkit.storage.pack import pack
from labkit.storage.unpack import unpack
from tests.archives import Entry, anything, archive, file, made, symlink
from tests.trees import Node, look, make


@settings(max_examples=300)
@given(anything(), st.booleans())
def test_nothing_outside_is_touched_by_any_archive(entries: list[Entry], has_contents: bool) -> None:
    with tempfile.TemporaryDirectory() as place:
        make({"secret": Node("file", b"untouched"), "a/b": Node("file"), "c": Node("directory")}, f"{place}/outside")
        os.mkdir(f"{place}/root")
        if has_contents:  # with links that were there before
            os.symlink("../outside", f"{place}/root/a")
            os.symlink(f"{place}/outside", f"{place}/root/b")
        os.utime(place, (3, 3))
        before, above = look(f"{place}/outside"), os.stat(place).st_mtime
        try:
            unpack([archive(*map(made, entries))], f"{place}/root", overlay=False)
        except LabError:
            pass
        assert look(f"{place}/outside") == before
        assert os.stat(place).st_mtime == above == 3
        assert sorted(os.listdir(place)) == ["outside", "root"]


def test_more_directories_than_are_kept_open_are_found_again(tmp_path: Path) -> None:
    directories = [f"{number % 10}/{number // 10}/d{number}" for number in range(300)]
    members = [file(f"{path}/{name}", path.encode()) for name in ("x", "y") for path in directories]
    members += [symlink("link", "3/4"), file("link/d43/z", b"through the link"), file("3/4/d43/x", b"again")]
    before = len(os.listdir("/proc/self/fd"))
    unpack([archive(*members)], str(tmp_path), overlay=False)
    assert len(os.listdir("/proc/self/fd")) == before
    assert all((tmp_path / path / "y").read_text() == path for path in directories)
    assert (tmp_path / "3/4/d43/z").read_text() == "through the link"
    assert (tmp_path / "3/4/d43/x").read_text() == "again"
    assert b"".join(pack(str(tmp_path))) == b"".join(pack(str(tmp_path)))


def test_descriptors_are_closed_whatever_happens(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for members in ([file("a/b/c"), file("../x")], [file("a/b"), file("a/b/c")], [file("d/e", b"x" * 5000)]):
        try:
            unpack([archive(*members)[:-4096]], str(tmp_path), overlay=False)
        except LabError:
            pass
    assert len(os.listdir("/proc/self/fd")) == before
