from __future__ import annotations

import os
from pathlib import Path

import pytest

from labkit.errors import NotFound
from labkit.linux import mounts

LINE = "36 35 98:0 /mnt1 /mnt2 rw,noatime shared:1 master:2 - ext3 /dev/root rw,errors=continue\n"


def test_parse_reads_every_field_of_a_line() -> None:
    (mount,) = mounts.parse(LINE)
    assert mount == mounts.MountPoint(
        36, 35, "98:0", "/mnt1", "/mnt2", ("rw", "noatime"), ("shared:1", "master:2"), "ext3", "/dev/root", ("rw", "errors=continue")
    )
    assert str(mount) == "/dev/root on /mnt2 type ext3 (rw,noatime)"
    assert not mount.readonly


def test_parse_reads_a_line_without_tags() -> None:
    assert mounts.parse("1 0 0:1 / / ro - tmpfs none rw\n")[0].propagation == ()


def test_a_mount_is_read_only_by_its_own_options_or_by_the_file_systems() -> None:
    assert mounts.parse("1 0 0:1 / / ro - tmpfs none rw\n")[0].readonly
    assert mounts.parse("1 0 0:1 / / rw - tmpfs none ro\n")[0].readonly


def test_parse_reads_names_with_blanks_backslashes_and_strange_line_ends() -> None:
    first, second = mounts.parse("1 0 0:1 / /a\\040b\\134c rw - tmpfs my\\011source rw\n2 0 0:1 / /a\u2028b rw - tmpfs none rw\n")
    assert (first.target, first.source, second.target) == ("/a b\\c", "my\tsource", "/a\u2028b")


def test_parse_keeps_a_comma_inside_an_option() -> None:
    (mount,) = mounts.parse("1 0 0:1 / /m rw - overlay overlay rw,lowerdir=/a\\134\\054b,upperdir=/u\n")
    assert mount.super_options == ("rw", "lowerdir=/a\\,b", "upperdir=/u")


def test_table_is_that_of_the_process() -> None:
    with open("/proc/self/mountinfo") as file:
        assert len(mounts.table()) == len(mounts.table(os.getpid())) == len(file.readlines())


def test_a_process_that_is_gone_has_no_table() -> None:
    with pytest.raises(NotFound, match="process 4194304: no such process"):
        mounts.table(4194304)


def test_at_finds_a_mount_and_nothing_where_there_is_none() -> None:
    found = mounts.at("/proc")
    assert found is not None and (found.fstype, found.target) == ("proc", "/proc")
    assert mounts.at("/proc/self") is None
    assert mounts.at("/no/such/place") is None


def test_holding_is_the_mount_a_path_lies_on() -> None:
    assert mounts.holding("/proc/version").fstype == "proc"
    assert mounts.holding(".") == mounts.holding(os.getcwd())
    with pytest.raises(NotFound, match="/no/such/place"):
        mounts.holding("/no/such/place")


def test_at_looks_behind_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/proc")
    assert mounts.at(str(tmp_path / "link")) == mounts.at("/proc")
