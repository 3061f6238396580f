"""Archives for the kernel: read back by busybox's own cpio, which is of another hand."""

from __future__ import annotations

import io
import os
import stat
import subprocess
from pathlib import Path

import pytest

from labkit.errors import InvalidInput
from labkit.vm import cpio


def unpacked(archive: cpio.Archive, into: Path) -> Path:
    packed = io.BytesIO()
    archive.write(packed)
    into.mkdir()
    subprocess.run(["busybox", "cpio", "-id"], input=packed.getvalue(), cwd=into, check=True, capture_output=True)
    return into


def test_files_directories_and_links_come_out_as_they_went_in(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub/odd").write_bytes(b"123")
    (tree / "sub/program").write_bytes(b"#!/bin/sh\n")
    (tree / "sub/program").chmod(0o755)
    (tree / "link").symlink_to("sub/odd")
    archive = cpio.Archive()
    archive.file("init", b"first", 0o755)
    archive.tree(str(tree), below="image")
    out = unpacked(archive, tmp_path / "out")
    assert (out / "init").read_bytes() == b"first"
    assert (out / "image/sub/odd").read_bytes() == b"123"
    assert stat.S_IMODE((out / "image/sub/program").stat().st_mode) == 0o755
    assert os.readlink(out / "image/link") == "sub/odd"


def test_names_of_one_file_are_one_file(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a").write_bytes(b"shared")
    os.link(tree / "a", tree / "b")
    archive = cpio.Archive()
    archive.tree(str(tree), below="image")
    out = unpacked(archive, tmp_path / "out")
    assert (out / "image/a").stat().st_ino == (out / "image/b").stat().st_ino
    assert (out / "image/b").read_bytes() == b"shared"


def test_a_tree_behind_a_link_is_the_directory_and_not_the_link(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").touch()
    (tmp_path / "door").symlink_to("tree")
    archive = cpio.Archive()
    archive.tree(str(tmp_path / "door"), below="image")
    assert (unpacked(archive, tmp_path / "out") / "image/file").exists()


def test_each_entry_begins_at_a_multiple_of_four(tmp_path: Path) -> None:
    for length in range(5):
        archive = cpio.Archive()
        archive.file("n" * (length + 1), b"x" * length)
        packed = io.BytesIO()
        archive.write(packed)
        data = packed.getvalue()
        assert len(data) % 4 == 0
        assert all(at % 4 == 0 for at in range(len(data)) if data.startswith(b"070701", at))


def test_a_file_of_four_gibibytes_is_refused_by_name(tmp_path: Path) -> None:
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(1 << 32)
    with pytest.raises(InvalidInput, match=r"huge: 4294967296 bytes; .* put it on a disk"):
        cpio.Archive().tree(str(tmp_path), below="image")
