"""Layers unpacked as root: owners, devices, capabilities, and the marks of overlayfs."""

from __future__ import annotations

import os
import stat
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from labkit.errors import InvalidInput, KernelError, Unsupported
from labkit.linux import mounts, overlays
from labkit.storage.pack import pack
from labkit.storage.unpack import Unpacked, unpack
from tests.archives import Member, archive, directory, file, hard_link, member, opaque, symlink, whiteout
from tests.trees import look

# cap_net_raw+ep, as setcap writes it: version 2 with the effective bit; permitted; inheritable.
PING = b"\x01\0\0\x02\0\x20\0\0" + bytes(12)


@pytest.fixture
def upper(tmp_path: Path) -> Path:
    (tmp_path / "upper").mkdir()
    return tmp_path / "upper"


def apply(upper: Path, *members: Member) -> Unpacked:
    return unpack([archive(*members)], str(upper), overlay=True)


def test_owners_modes_and_capabilities_survive_each_other(upper: Path) -> None:
    apply(upper, file("sudo", uid=10, gid=20, mode=0o6755), symlink("link", "sudo"), directory("d", uid=1, gid=2, mode=0o3777))
    unpack([with_record(b"SCHILY.xattr.security.capability", PING, archive(file("ping", uid=7, mode=0o755)))], str(upper), overlay=True)
    found = look(upper)
    assert found["sudo"][:3] == ("0o106755", 10, 20)
    assert found["d"][:3] == ("0o43777", 1, 2)
    assert found["ping"][:3] == ("0o100755", 7, os.getgid())
    assert os.getxattr(upper / "ping", "security.capability") == PING


def with_record(key: bytes, value: bytes, data: bytes) -> bytes:
    """The archive with a PAX record of any bytes before it."""
    record = b" " + key + b"=" + value + b"\n"
    length = len(record) + 2
    record = b"%d%b" % (length if len(str(length)) == 2 else length + 1, record)
    header = tarfile.TarInfo("records")
    header.type, header.size = tarfile.XHDTYPE, len(record)
    return header.tobuf() + record.ljust(-(-len(record) // 512) * 512, b"\0") + data


def test_attributes_that_would_lead_overlayfs_elsewhere_are_left_out(upper: Path) -> None:
    names = ["trusted.overlay.redirect", "trusted.overlay.opaque", "trusted.overlay.metacopy", "user.overlay.whiteout", "trusted.other"]
    records = {f"SCHILY.xattr.{name}": "/etc" for name in names}
    apply(upper, directory("d", pax_headers=records), file("f", pax_headers=records))
    assert os.listxattr(upper / "d") == os.listxattr(upper / "f") == ["trusted.other"]


def test_devices_are_made_and_impossible_ones_refused(upper: Path) -> None:
    apply(
        upper,
        member("null", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
        member("disk", tarfile.BLKTYPE, devmajor=8, devminor=300),
    )
    null, disk = (upper / "null").lstat(), (upper / "disk").lstat()
    assert stat.S_ISCHR(null.st_mode) and null.st_rdev == os.makedev(1, 3) and stat.S_IMODE(null.st_mode) == 0o666
    assert stat.S_ISBLK(disk.st_mode) and disk.st_rdev == os.makedev(8, 300)
    with pytest.raises(InvalidInput, match="a device 5000:0, of which there is none"):
        apply(upper, member("x", tarfile.CHRTYPE, devmajor=5000))


def test_whiteouts_become_those_of_overlayfs(upper: Path) -> None:
    unpacked = apply(upper, whiteout("etc/motd"), opaque("srv"), directory("srv"), whiteout("gone"), file("srv/new"))
    assert unpacked.whiteouts == ("etc/motd", "gone")
    assert overlays.is_whiteout(str(upper / "etc/motd")) and overlays.is_whiteout(str(upper / "gone"))
    assert overlays.is_opaque(str(upper / "srv")) and not overlays.is_opaque(str(upper / "etc"))


@pytest.mark.parametrize("is_first", [True, False])
def test_what_a_layer_both_has_and_deletes_hides_what_is_below(upper: Path, is_first: bool) -> None:
    gone = [whiteout("d"), whiteout("f"), whiteout("implicit")]
    there = [directory("d"), file("d/x"), file("f", b"new"), file("implicit/y")]
    unpacked = apply(upper, *(gone + there if is_first else there + gone))
    assert unpacked.whiteouts == ()
    assert overlays.is_opaque(str(upper / "d")) and overlays.is_opaque(str(upper / "implicit"))
    assert (upper / "f").read_bytes() == b"new"
    assert sorted(os.listdir(upper)) == ["d", "f", "implicit"]


def test_hard_links_to_what_another_layer_has_are_told(upper: Path) -> None:
    unpacked = apply(upper, hard_link("a", "bin/sh"), file("b"), hard_link("c", "b"), hard_link("d", "later"), file("later"))
    assert unpacked.links == (("a", "bin/sh"), ("d", "later"))
    assert (upper / "c").samefile(upper / "b")
    with pytest.raises(InvalidInput, match="which this layer deletes"):
        apply(upper, whiteout("x"), hard_link("y", "x"))


def test_a_hard_link_into_the_directory_whose_place_it_takes_is_refused(upper: Path) -> None:
    with pytest.raises(InvalidInput, match="lies in what it takes the place of"):
        apply(upper, file("d/x"), hard_link("d", "d/x"))
    assert (upper / "d/x").exists(), "nothing is lost"


def test_a_hard_link_to_itself_is_what_it_was(upper: Path) -> None:
    apply(upper, file("a", b"content"), hard_link("a", "./a"))
    assert (upper / "a").read_bytes() == b"content"


def test_the_limit_of_depth_holds_for_links_to_deep_places_too(upper: Path) -> None:
    deep = "/".join("d" * 300)
    with pytest.raises(InvalidInput, match="more than 512 deep"):
        apply(upper, directory(deep), symlink("link", deep), file(f"link/{deep}/x"))


def test_capabilities_that_the_file_system_cannot_hold_are_an_error(tmp_path: Path) -> None:
    with mounts.mounted("ramfs", str(tmp_path), "ramfs"):
        apply(tmp_path, file("a", pax_headers={"SCHILY.xattr.user.x": "y"}))
        with pytest.raises(Unsupported, match="entry 'ping' has capabilities, which this file system cannot hold"):
            unpack([with_record(b"SCHILY.xattr.security.capability", PING, archive(file("ping")))], str(tmp_path), overlay=True)


def test_a_full_disk_is_an_error_that_says_so(tmp_path: Path) -> None:
    with (
        mounts.mounted("tmpfs", str(tmp_path), "tmpfs", ["size=1m"]),
        pytest.raises(KernelError, match=r"unpack entry 'b' in .*: ENOSPC \(the disk is full: df -h shows which"),
    ):
        apply(tmp_path, file("a", b"x" * 1000), file("b", b"x" * (2 << 20)))


def test_what_is_packed_is_what_was_there_with_all_marks(upper: Path, tmp_path: Path) -> None:
    apply(
        upper,
        file("etc/new", b"x", uid=3_000_000, mode=0o4711),
        whiteout("etc/motd"),
        opaque("srv"),
        hard_link("link", "etc/new"),
        member("null", tarfile.CHRTYPE, devmajor=1, devminor=3),
        file("é" * 100 + "/" + "y" * 200, pax_headers={"SCHILY.xattr.user.x": "v"}),
    )
    os.setxattr(upper / "etc/new", "security.capability", PING)
    data = b"".join(pack(str(upper)))
    (copy := tmp_path / "copy").mkdir()
    unpacked = unpack([data], str(copy), overlay=True)
    assert look(copy) == look(upper)
    assert unpacked.whiteouts == ("etc/motd",)
    assert overlays.is_opaque(str(copy / "srv"))
    assert b"".join(pack(str(copy))) == data


def test_a_lowest_layer_is_packed_without_deletions(upper: Path) -> None:
    apply(upper, whiteout("motd"), opaque("srv"), file("srv/x"))
    assert packed(upper, []) == [".", "srv", "srv/x"]
    assert packed(upper, None) == [".", ".wh.motd", "srv", "srv/.wh..wh..opq", "srv/x"]


def test_deletions_are_packed_where_there_is_something_to_delete(upper: Path, tmp_path: Path) -> None:
    for path in ("base/srv", "base/etc"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "base/motd").touch()
    apply(upper, whiteout("motd"), whiteout("nothing"), opaque("srv"), opaque("new"), whiteout("etc/nothing"))
    assert packed(upper, [str(tmp_path / "base")]) == [".", "etc", ".wh.motd", "new", "srv", "srv/.wh..wh..opq"]


def packed(upper: Path, below: list[str] | None) -> list[str]:
    with tarfile.open(fileobj=BytesIO(b"".join(pack(str(upper), below)))) as made:
        return made.getnames()


def test_sockets_are_left_out_of_a_layer(upper: Path) -> None:
    os.mknod(upper / "socket", stat.S_IFSOCK)
    assert packed(upper, []) == ["."]
