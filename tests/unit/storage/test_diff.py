"""Layers between two directories: applying the difference gives the other one, and the same tree the same bytes."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings

from labkit.errors import InvalidInput
from labkit.storage import digests
from labkit.storage.diff import diff
from labkit.storage.pack import pack
from labkit.storage.unpack import unpack
from tests.trees import Node, Tree, look, make, trees


@contextmanager
def directories(*names: str) -> Iterator[list[str]]:
    """hypothesis calls a test many times, and tmp_path is one directory for all of them."""
    with tempfile.TemporaryDirectory() as root:
        yield [f"{root}/{name}" for name in names]


@given(trees(), trees())
def test_applying_the_difference_of_two_trees_to_one_gives_the_other(a: Tree, b: Tree) -> None:
    with directories("a", "b") as (one, other):
        make(a, one)
        make(b, other)
        unpack(diff(one, other), one, overlay=False)
        assert look(one) == look(other)
        assert b"".join(diff(one, other)) == bytes(1024), "nothing is left to do"


@given(trees())
def test_a_whole_tree_is_the_difference_to_nothing(tree: Tree) -> None:
    with directories("tree", "copy") as (one, copy):
        make(tree, one)
        os.mkdir(copy)
        unpack(diff(None, one), copy, overlay=False)
        assert look(copy) == look(one)


@given(trees())
def test_the_same_tree_gives_the_same_digest_whenever_and_wherever_it_was_made(tree: Tree) -> None:
    with directories("one", "other", "copy") as (one, other, copy):
        make(tree, one)
        make(dict(reversed(tree.items())), other)
        archive = b"".join(pack(one))
        assert archive == b"".join(pack(other)) == b"".join(diff(None, one))
        os.mkdir(copy)
        assert unpack([archive], copy, overlay=False).diff_id == digests.of(archive)
        assert b"".join(pack(copy)) == archive


@given(trees())
@settings(max_examples=30)
def test_gnu_tar_reads_what_we_write(tree: Tree) -> None:
    with directories("tree", "copy") as (one, copy):
        make(tree, one)
        os.mkdir(copy)
        subprocess.run(["tar", "-x", "-p", "--xattrs", "-C", copy], input=b"".join(pack(one)), check=True)
        assert look(copy) == look(one)


def test_a_layer_holds_what_is_different_the_way_to_it_and_whiteouts(tmp_path: Path) -> None:
    tree = {"etc/hosts": Node("file", b"one"), "etc/motd": Node("file"), "usr/bin/sh": Node("file"), "var/log/a/b": Node("file")}
    make(tree, tmp_path / "a")
    make({**tree, "etc/hosts": Node("file", b"two"), "var/log": Node("file")}, tmp_path / "b")
    os.unlink(tmp_path / "b/etc/motd")
    shutil.rmtree(tmp_path / "b/usr/bin")
    os.utime(tmp_path / "b/usr", (5, 5))
    with tarfile.open(fileobj=BytesIO(b"".join(diff(str(tmp_path / "a"), str(tmp_path / "b"))))) as archive:
        assert archive.getnames() == [".", "etc", "etc/hosts", "etc/.wh.motd", "usr", "usr/.wh.bin", "var", "var/log"]


def test_a_name_that_means_a_deletion_is_refused(tmp_path: Path) -> None:
    make({"etc/.wh.hosts": Node("file")}, tmp_path / "a")
    for archive in diff(None, str(tmp_path / "a")), pack(str(tmp_path / "a")):
        with pytest.raises(InvalidInput, match=r"'etc/.wh.hosts' cannot be in it"):
            list(archive)
