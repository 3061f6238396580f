"""Layers unpacked into a plain directory: what they do there, and that they do nothing anywhere else."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from labkit.errors import InvalidInput, LabError
from labkit.storage import digests
from labkit.storage.unpack import Unpacked, unpack
from tests.archives import Member, archive, directory, file, hard_link, member, opaque, symlink, whiteout
from tests.trees import Node, look, make


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory to unpack into, beside one that nobody may touch."""
    (tmp_path / "root").mkdir()
    make({"secret": Node("file", b"untouched"), "sub/secret": Node("file", b"untouched")}, tmp_path / "outside")
    return tmp_path / "root"


def apply(root: Path, *members: Member, overlay: bool = False) -> Unpacked:
    return unpack([archive(*members)], str(root), overlay=overlay)


def names(root: Path) -> list[str]:
    return sorted(path for path in look(root) if path)


# ── What strangers try ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("overlay", [False, True])
@pytest.mark.parametrize(
    "members",
    [
        [file("../outside/secret", b"evil")],
        [file("a/../../outside/secret", b"evil")],
        [file("a/b/../../../outside/new", b"evil")],
        [directory("..", mode=0o777)],
        [whiteout("../outside/secret")],
        [hard_link("a", "../outside/secret")],
        [hard_link("a", "b/../../outside/secret")],
        [file(".wh.", b"")],
        [file(".wh..", b"")],
        [file(".wh...", b"")],
        [file("a/.wh..", b"")],
        [file("a/.wh...", b"")],
        [file(".wh.a/b", b"")],
        [file("/", b"evil")],
        [file(".", b"evil")],
        [symlink(".", "/etc")],
        [symlink("./", "../outside")],
        [symlink("a", "")],
        [file("a"), file("a/b")],
        [hard_link("a", ".")],
        [directory("d"), hard_link("a", "d")],
        [file("/".join("d" * 600))],
        [symlink("a", "a"), file("a/b")],
        [symlink("a", "b"), symlink("b", "a"), file("a/x")],
        [file("x" * 256)],
        [member("a", b"\x7f")],
    ],
    ids=lambda members: " ".join(
        f"{each.info.name[:30]}->{each.info.linkname}" if each.info.linkname else each.info.name[:30] for each in members
    ),
)
def test_an_archive_that_wants_out_or_cannot_be_is_refused(root: Path, members: list[Member], overlay: bool) -> None:
    before = look(root.parent / "outside")
    with pytest.raises(InvalidInput, match=r"^layer: "):
        apply(root, *members, overlay=overlay)
    assert look(root.parent / "outside") == before


@pytest.mark.parametrize(
    ("link", "lands"),
    [
        ("/etc", "etc/new"),
        ("../outside", "outside/new"),
        ("../../../../../../tmp", "tmp/new"),
        ("/../../outside/sub", "outside/sub/new"),
        ("sub/..", "new"),
        (".", "new"),
        ("//x//y/./z", "x/y/z/new"),
    ],
)
def test_a_link_that_points_out_leads_to_a_place_inside(root: Path, link: str, lands: str) -> None:
    before = look(root.parent / "outside")
    (root / "sub").mkdir()
    apply(root, symlink("link", link), file("link/new", b"evil"))
    assert (root / lands).read_bytes() == b"evil"
    assert os.readlink(root / "link") == link, "and is itself as it was meant"
    assert look(root.parent / "outside") == before


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_written_through(root: Path) -> None:
    outside = root.parent / "outside"
    before = look(outside)
    apply(
        root, symlink("a", f"{outside}/secret"), file("a", b"evil", mode=0o777), symlink("b", f"{outside}/sub"), directory("b", mode=0o777)
    )
    assert (root / "a").read_bytes() == b"evil"
    assert not (root / "b").is_symlink()
    assert look(outside) == before


def test_attributes_are_not_set_through_a_link(root: Path) -> None:
    outside = root.parent / "outside"
    before = look(outside)
    apply(root, symlink("a", f"{outside}/secret"), symlink("link", f"{outside}/sub"), hard_link("again", "link"), directory("link/.."))
    apply(root, hard_link("c", "a"), symlink("d", f"{outside}/sub"), file("d/secret", b"evil"), whiteout("d/secret"), opaque("d"))
    assert look(outside) == before


def test_names_that_begin_at_the_root_or_go_in_circles_lie_inside(root: Path) -> None:
    apply(root, file("/etc/motd"), file("//srv/./x/../y"), hard_link("z", "/etc/motd"), directory("./"))
    assert names(root) == ["etc", "etc/motd", "srv", "srv/y", "z"]
    assert (root / "z").samefile(root / "etc/motd")


def test_what_breaks_off_is_an_error_wherever_it_does(root: Path) -> None:
    data = archive(directory("d"), file("d/a", b"x" * 700), file("n" * 99 + "/" + "m" * 99, b"y"), hard_link("b", "d/a"))
    whole = data.rstrip(b"\0")
    for end in [1, 511, 512 + 100, 512 * 2 + 1, 512 * 2 + 699, 512 * 3 + 100, 512 * 4 + 300, len(whole) - 1]:
        with pytest.raises(InvalidInput, match="breaks off"):
            unpack([data[:end]], str(root), overlay=False)


def test_more_than_the_limit_is_an_error_that_names_it(root: Path) -> None:
    with pytest.raises(InvalidInput, match="larger than 4096 bytes unpacked"):
        unpack([archive(file("a", bytes(10_000)))], str(root), overlay=False, limit=4096)


def test_damage_is_found(root: Path) -> None:
    data = archive(file("a" * 200, b"hello"))
    for at in range(0, 1024, 7):
        broken = bytearray(data)
        broken[at] ^= 0x11
        try:
            unpack([bytes(broken)], str(root), overlay=False)
        except InvalidInput as error:
            assert str(error).startswith("layer: ")


def test_an_error_names_the_entry_and_the_directory(root: Path) -> None:
    (root / "dir").mkdir()
    with pytest.raises(LabError, match=r"layer: entry 'dir/new/a' .*b'\.\./\.\./\.\./\.\./x'") as caught:
        apply(root, hard_link("dir/new/a", "../../../../x"))
    assert "leads out of the root" in str(caught.value)


# ── What a layer does ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_name_that_comes_twice_is_what_it_was_last(root: Path) -> None:
    apply(
        root, file("a", b"1"), directory("a"), file("a/x"), directory("b"), file("b/y"), file("b", b"2"), symlink("c", "a"), file("c", b"3")
    )
    assert names(root) == ["a", "a/x", "b", "c"]
    assert ((root / "b").read_bytes(), (root / "c").read_bytes()) == (b"2", b"3")
    assert (root / "c").is_file() and not (root / "c").is_symlink()


def test_a_directory_that_comes_twice_keeps_what_is_in_it_and_has_the_last_attributes(root: Path) -> None:
    apply(root, directory("a", mode=0o700, pax_headers={"SCHILY.xattr.user.x": "1"}), file("a/x"), directory("a", mode=0o751, mtime=77))
    assert names(root) == ["a", "a/x"]
    assert look(root)["a"] == ("0o40751", os.getuid(), os.getgid(), 77, 0, b"", ())


def test_times_modes_and_attributes_are_those_of_the_archive_whatever_the_umask_is(root: Path) -> None:
    old = os.umask(0o777)
    try:
        apply(
            root,
            directory("d", mode=0o2755, mtime=5),
            file("d/a", b"x", mode=0o4755, pax_headers={"mtime": "1.987654321", "SCHILY.xattr.user.x": "v"}),
            file("d/before", mtime=-7, pax_headers={"mtime": "-6.5"}),
            symlink("d/s", "a"),
            member("d/f", tarfile.FIFOTYPE, mode=0o622),
        )
    finally:
        os.umask(old)
    found = look(root)
    assert found["d"][0] == "0o42755" and found["d"][3] == 5
    assert found["d/a"][0] == "0o104755" and found["d/a"][6] == (("user.x", b"v"),)
    assert (root / "d/a").stat().st_mtime_ns == 1_987_654_321
    assert (root / "d/before").stat().st_mtime_ns == -6_500_000_000
    assert found["d/s"][3] == 1_000_000_000
    assert found["d/f"][0] == "0o10622"


def test_directories_without_an_entry_are_told_and_have_a_time_that_is_always_the_same(root: Path) -> None:
    unpacked = apply(root, file("a/b/c/x"), directory("a/b"), overlay=True)
    assert unpacked.implicit == ("", "a", "a/b/c")
    assert [look(root)[path][3] for path in ("", "a", "a/b", "a/b/c")] == [0, 0, 1_000_000_000, 0]


def test_what_was_found_is_told(root: Path) -> None:
    data = archive(file("a", b"12345"), hard_link("b", "a"), file("c", b"678"))
    assert unpack([data], str(root), overlay=False) == Unpacked(digests.of(data), 8, 3, ("",), (), ())


def test_what_follows_the_end_counts_for_the_digest_alone(root: Path) -> None:
    data = archive(file("a")) + b"rubbish" * 1000
    assert unpack([data], str(root), overlay=False).diff_id == digests.of(data)
    assert unpack([], str(root), overlay=False).entries == 0
    assert unpack([bytes(512)], str(root), overlay=False).diff_id == digests.of(bytes(512))


def test_an_archive_may_come_in_pieces_of_any_size(root: Path) -> None:
    data = archive(directory("d"), file("d/a", b"x" * 1000), file("é" * 90, b"y"), hard_link("b", "d/a"))
    expected = []
    for size in (1, 7, 511, 512, 513, len(data)):
        unpacked = unpack([data[at : at + size] for at in range(0, len(data), size)], str(root), overlay=False)
        expected.append((unpacked, look(root)))
    assert all(each == expected[0] for each in expected)


def test_a_sparse_file_takes_no_room_for_its_zeros(root: Path) -> None:
    apply(root, file("zeros", bytes(8 << 20)), file("end", bytes(1 << 20) + b"x"))
    assert (root / "zeros").stat().st_size == 8 << 20
    assert (root / "zeros").stat().st_blocks * 512 < 1 << 20
    assert (root / "end").read_bytes() == bytes(1 << 20) + b"x"


# ── Whiteouts ────────────────────────────────────────────────────────────────────────────────────────────────────────

BELOW = {"d/a": Node("file", b"below"), "d/b": Node("file", b"below"), "d/sub/x": Node("file"), "e": Node("file")}


@pytest.mark.parametrize(
    ("members", "left"),
    [
        ([whiteout("d/a")], ["d", "d/b", "d/sub", "d/sub/x", "e"]),
        ([whiteout("d")], ["e"]),
        ([whiteout("e"), whiteout("e"), whiteout("nothing")], ["d", "d/a", "d/b", "d/sub", "d/sub/x"]),
        ([opaque("d")], ["d", "e"]),
        ([opaque("d"), file("d/a")], ["d", "d/a", "e"]),
        ([file("d/a"), opaque("d")], ["d", "d/a", "e"]),
        ([file("d/sub/y"), opaque("d")], ["d", "d/sub", "d/sub/y", "e"]),
        ([file("d/sub/y"), whiteout("d")], ["d", "d/sub", "d/sub/y", "e"]),
        ([whiteout("d/a"), whiteout("d")], ["d", "e"]),
        ([directory("d"), file("d/new"), whiteout("d")], ["d", "d/new", "e"]),
        ([whiteout("d"), file("d/new")], ["d", "d/new", "e"]),
        ([file("e", b"mine"), whiteout("e")], ["d", "d/a", "d/b", "d/sub", "d/sub/x", "e"]),
        ([opaque(""), file("mine")], ["mine"]),
        ([file("d/.wh..wh.plnk"), file(".wh..wh.aufs")], ["d", "d/a", "d/b", "d/sub", "d/sub/x", "e"]),
        ([file("e/f")], ["d", "d/a", "d/b", "d/sub", "d/sub/x", "e", "e/f"]),
        ([file("d")], ["d", "e"]),
        ([directory("e")], ["d", "d/a", "d/b", "d/sub", "d/sub/x", "e"]),
    ],
)
def test_whiteouts_delete_what_is_below_and_not_what_their_own_layer_has(root: Path, members: list[Member], left: list[str]) -> None:
    make(BELOW, root)
    apply(root, *members)
    assert names(root) == left


def test_a_whiteout_through_a_link_deletes_inside(root: Path) -> None:
    outside = root.parent / "outside"
    before = look(outside)
    make({"outside/secret": Node("file")}, root)
    apply(root, symlink("link", str(outside)), symlink("up", "../outside"), whiteout("link/secret"), whiteout("up/secret"))
    assert look(outside) == before
    assert not (root / "outside/secret").exists()


def test_directories_in_whose_place_a_later_entry_puts_a_link_are_forgotten(root: Path) -> None:
    outside = root.parent / "outside"
    before = look(outside)
    apply(root, file("b/a"), directory("c", mtime=5), symlink("b", "b"), symlink("c", "../outside"))
    assert (os.readlink(root / "b"), os.readlink(root / "c")) == ("b", "../outside")
    assert look(outside) == before
