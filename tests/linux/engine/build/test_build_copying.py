"""COPY and ADD: where files go, whose they are, and that nothing is written outside of the image."""

from __future__ import annotations

import os
import stat
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from labkit.errors import InvalidInput, NotFound
from labkit.image.image import Image

if TYPE_CHECKING:
    from conftest import Lab


def tree(root: Path) -> dict[str, str]:
    """All files below a directory with what they hold, links with where they lead."""
    files = (path for path in root.rglob("*") if path.is_symlink() or not path.is_dir())
    return {str(path.relative_to(root)): f"-> {os.readlink(path)}" if path.is_symlink() else path.read_text() for path in files}


@pytest.mark.parametrize(
    ("copy", "expected"),
    [
        ("COPY a /x", {"x": "A"}),
        ("COPY a /x/", {"x/a": "A"}),
        ("COPY a /", {"a": "A"}),
        ("COPY a b /x/", {"x/a": "A", "x/b": "B"}),
        ("COPY [ab] /x/", {"x/a": "A", "x/b": "B"}),
        ("COPY dir /x", {"x/c": "C", "x/deep/d": "D", "x/deep/l": "-> ../c"}),
        ("COPY dir/ a /x/", {"x/c": "C", "x/deep/d": "D", "x/deep/l": "-> ../c", "x/a": "A"}),
        ("COPY dir/deep/l /x", {"x": "C"}),
        ("COPY dir/deep/l /x/", {"x/l": "C"}),
        ("COPY */c /x", {"x": "C"}),
        ('COPY ["a", "/x y"]', {"x y": "A"}),
        ("WORKDIR /w\nCOPY a .", {"w/a": "A"}),
        ("WORKDIR /w\nCOPY a v/", {"w/v/a": "A"}),
        ("WORKDIR /w\nCOPY a ../x", {"x": "A"}),
        ("ENV D=/x\nCOPY a ${D}/$NOPE/b", {"x/b": "A"}),
        ("COPY a /x\nCOPY b /x", {"x": "B"}),
        ("COPY a /x/c/y\nCOPY dir /x", {"x/c": "C", "x/deep/d": "D", "x/deep/l": "-> ../c"}),
        ("ADD a /x", {"x": "A"}),
        ("ADD pack.tar /x", {"x/c": "C", "x/deep/d": "D", "x/deep/l": "-> ../c"}),
        ("ADD pack.tar.xz /", {"c": "C", "deep/d": "D", "deep/l": "-> ../c"}),
        ("COPY noise.gz /x", {"x": "noise"}),
        ("ADD noise.gz /x", {"x": "noise"}),
    ],
)
def test_files_go_where_docker_puts_them(lab: Lab, copy: str, expected: dict[str, str]) -> None:
    lab.files({"a": "A", "b": "B", "dir/c": "C", "dir/deep/d": "D", "noise.gz": "noise"})
    (lab.context / "dir/deep/l").symlink_to("../c")
    for name, mode in (("pack.tar", "w"), ("pack.tar.xz", "w:xz")):
        with tarfile.open(lab.context / name, mode) as archive:  # type: ignore[call-overload]
            archive.add(lab.context / "dir", ".")
    with lab.root(lab.build(f"FROM scratch\n{copy}")) as root:
        assert tree(root) == expected


def test_modes_and_owners(lab: Lab, base: Image) -> None:
    lab.files({"a": "A", "dir/b": "B"})
    os.chown(lab.context / "a", 1000, 1000)
    (lab.context / "a").chmod(0o4750)
    (lab.context / "dir").chmod(0o700)
    image = lab.build(
        "FROM base AS one\nCOPY --chown=3:4 --chmod=600 a /f\nFROM base\n"
        "COPY a /1/a\nCOPY --chown=ada dir /2/x\nCOPY --chown=ada:staff --chmod=0604 a /3\n"
        "COPY --from=one /f /4\nCOPY --from=one --chown=9 /f /5\n"
        "COPY . /6"
    )
    with lab.root(image) as root:

        def seen(name: str) -> tuple[str, int, int]:
            found = (root / name).lstat()
            return (f"{stat.S_IMODE(found.st_mode):o}", found.st_uid, found.st_gid)

        assert {name: seen(name) for name in ("1", "1/a", "2", "2/x", "2/x/b", "3", "4", "5", "6/dir")} == {
            "1": ("755", 0, 0),
            "1/a": ("4750", 0, 0),
            "2": ("755", 5, 6),
            "2/x": ("755", 5, 6),
            "2/x/b": ("644", 5, 6),
            "3": ("604", 5, 50),
            "4": ("600", 3, 4),
            "5": ("600", 9, 9),
            "6/dir": ("700", 0, 0),
        }


def test_times_hard_links_pipes_and_capabilities_are_kept(lab: Lab) -> None:
    lab.files({"dir/a": "A"})
    os.link(lab.context / "dir/a", lab.context / "dir/b")
    os.mkfifo(lab.context / "dir/pipe")
    os.setxattr(lab.context / "dir/a", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
    for name in ("dir/a", "dir"):
        os.utime(lab.context / name, (1, 1_500_000_000))
    with lab.root(lab.build("FROM scratch\nCOPY . /")) as root:
        one, other = (root / "dir/a").stat(), (root / "dir/b").stat()
        assert (one.st_ino, one.st_nlink) == (other.st_ino, 2)
        assert (root / "dir/pipe").is_fifo()
        assert os.listxattr(root / "dir/a") == ["security.capability"]
        assert one.st_mtime == (root / "dir").stat().st_mtime == 1_500_000_000


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("COPY nothing /", "COPY failed: file not found in build context or excluded by .dockerignore: stat nothing: file does not exist"),
        ("ADD a.log /", "ADD failed: file not found in build context or excluded by .dockerignore: stat a.log: file does not exist"),
        ("COPY no* /", "COPY failed: no source files were specified"),
        ("COPY ../a /", "COPY failed: forbidden path outside the build context: ../a ()"),
        ("COPY a b /x", "When using COPY with more than one source file, the destination must be a directory and end with a /"),
        ("COPY https://example.org/a /", "COPY failed: source can't be a URL for COPY"),
        ("COPY --chown=bob a /", "can't find uid for user bob: no such user: bob"),
        ("COPY --chmod=rw a /", "invalid chmod parameter: 'rw'. it should be octal string and between 0 and 07777"),
        ("COPY a /bin/busybox/a", "cannot copy a to /bin/busybox/a: a part of that path is not a directory"),
        ("COPY dir /bin/busybox", "cannot copy to /bin/busybox: it is not a directory"),
    ],
)
def test_what_cannot_be_copied_is_told(lab: Lab, base: Image, text: str, complaint: str) -> None:
    lab.files({"a": "A", "b": "B", "dir/c": "C", "a.log": "", ".dockerignore": "*.log\n"})
    with pytest.raises((NotFound, InvalidInput)) as error:
        lab.build(f"FROM base\n{text}")
    assert str(error.value) == complaint
    assert list((lab.place / "store/snapshots/active").iterdir()) == []


def test_what_is_ignored_is_not_copied_with_its_directory(lab: Lab) -> None:
    lab.files(
        {
            "a.log": "",
            "dir/a.log": "",
            "dir/keep.log": "",
            "dir/b": "B",
            "tmp/x": "",
            ".dockerignore": "**/*.log\ntmp\n!dir/keep.log\n.*\nDockerfile\n",
        }
    )
    with lab.root(lab.build("FROM scratch\nCOPY . /")) as root:
        assert sorted(tree(root)) == ["dir/b", "dir/keep.log"]


def test_links_of_an_image_are_followed_inside_of_it_alone(lab: Lab, base: Image, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    lab.files({"a": "A", "links/x": "X"})
    for name, target in (("up", "../../../.." + str(outside)), ("absolute", str(outside)), ("file", f"{outside}/f"), ("loop", "loop")):
        (lab.context / "links" / name).symlink_to(target)
    image = lab.build("FROM base\nCOPY links /l\nCOPY a /l/up/\nCOPY a /l/absolute/b\nCOPY a /l/file")
    assert list(outside.iterdir()) == []
    with lab.root(image) as root:
        assert tree(root / str(outside)[1:]) == {"a": "A", "b": "A"}
        assert (root / "l/file").read_text() == "A"
    with pytest.raises(Exception, match="ELOOP"):
        lab.build("FROM base\nCOPY links /l\nCOPY a /l/loop/")


def test_a_link_in_the_way_is_replaced_and_not_written_through(lab: Lab, base: Image) -> None:
    lab.files({"one/x": "ONE", "two/link": "TWO"})
    (lab.context / "one/link").symlink_to("x")
    with lab.root(lab.build("FROM base\nCOPY one /d\nCOPY two /d")) as root:
        assert tree(root / "d") == {"x": "ONE", "link": "TWO"}
