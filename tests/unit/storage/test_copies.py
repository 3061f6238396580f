"""A file copied with all that it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labkit.storage import copies
from tests.trees import Node, look, make


def test_a_copy_is_what_its_source_is(tmp_path: Path) -> None:
    nodes = {
        "file": Node("file", b"content", 0o4755, 1, b"note"),
        "link": Node("symlink", b"/nowhere"),
        "directory": Node("directory", mode=0o2711, mtime=10**9),
        "fifo": Node("fifo"),
    }
    make(nodes, tmp_path / "one")
    (tmp_path / "other").mkdir()
    for name in nodes:
        copies.copy(f"{tmp_path}/one/{name}", f"{tmp_path}/other/{name}")
    one, other = look(tmp_path / "one"), look(tmp_path / "other")
    del one[""], other[""]
    assert other == one


def test_holes_stay_holes(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.seek(1 << 20)
        file.write(b"middle")
        file.truncate(8 << 20)
    copies.copy(str(tmp_path / "sparse"), str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "sparse").read_bytes()
    assert (tmp_path / "copy").stat().st_blocks * 512 < 1 << 20


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("1")
    (tmp_path / "other").write_text("2")
    with pytest.raises(FileExistsError):
        copies.copy(str(tmp_path / "one"), str(tmp_path / "other"))
    assert (tmp_path / "other").read_text() == "2"


def test_attributes_that_the_source_lacks_go(tmp_path: Path) -> None:
    make({"one": Node("file"), "other": Node("file", xattr=b"note")}, tmp_path)
    copies.attributes(str(tmp_path / "one"), str(tmp_path / "other"))
    assert os.listxattr(tmp_path / "other") == []
