from __future__ import annotations

import pytest

from labkit.linux import mounts, syscalls

# What `runc features` of runc 1.1.5 prints, and "defaults".
RUNC = """acl async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noacl noatime nodev nodiratime noexec
    noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime rbind rdev rdiratime relatime remount
    rexec rnoatime rnodev rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared
    rslave rstrictatime rsuid rsymfollow runbindable rw shared silent slave strictatime suid symfollow sync tmpcopyup unbindable"""


def test_every_option_of_runc_is_known_and_none_is_data() -> None:
    assert set(mounts.OPTION_WORDS) == set(RUNC.split())
    assert mounts.parse_options(mounts.OPTION_WORDS).data == ""


def test_all_other_words_are_data_in_their_order() -> None:
    assert mounts.parse_options(["mode=755", "ro", "size=64k", "lowerdir=/a\\,b"]).data == "mode=755,size=64k,lowerdir=/a\\,b"


@pytest.mark.parametrize(
    ("word", "flag"),
    [
        ("ro", "RDONLY"), ("nosuid", "NOSUID"), ("nodev", "NODEV"), ("noexec", "NOEXEC"), ("sync", "SYNCHRONOUS"), ("dirsync", "DIRSYNC"),
        ("remount", "REMOUNT"), ("mand", "MANDLOCK"), ("noatime", "NOATIME"), ("nodiratime", "NODIRATIME"), ("bind", "BIND"),
        ("silent", "SILENT"), ("relatime", "RELATIME"), ("strictatime", "STRICTATIME"), ("lazytime", "LAZYTIME"),
        ("nosymfollow", "NOSYMFOLLOW"), ("iversion", "I_VERSION"), ("acl", "POSIXACL"),
    ],
)  # fmt: skip
def test_a_word_is_the_flag_of_its_name(word: str, flag: str) -> None:
    assert mounts.parse_options([word]) == mounts.Options(flags=getattr(syscalls, f"MS_{flag}"))


def test_flags_are_the_numbers_of_sys_mount_h() -> None:
    assert mounts.parse_options(["ro", "nosuid", "nodev", "noexec", "relatime"]).flags == 0x20000F
    assert mounts.parse_options(["rbind"]).flags == 0x5000
    assert mounts.parse_options(["strictatime", "noatime"]).flags == 0x1000400


def test_of_two_words_that_contradict_each_other_the_later_one_wins() -> None:
    ro, rw = mounts.parse_options(["rw", "ro"]), mounts.parse_options(["ro", "rw"])
    assert (ro.flags, ro.clear) == (syscalls.MS_RDONLY, 0)
    assert (rw.flags, rw.clear) == (0, syscalls.MS_RDONLY)
    assert mounts.parse_options(["rro", "rrw"]) == mounts.Options(tree_clear=syscalls.MOUNT_ATTR_RDONLY)


def test_each_propagation_is_a_flag_of_its_own() -> None:
    parsed = mounts.parse_options(["rprivate", "slave"])
    assert parsed.propagation == (syscalls.MS_PRIVATE | syscalls.MS_REC, syscalls.MS_SLAVE)
    assert parsed.flags == 0


def test_words_for_the_whole_tree_are_attributes() -> None:
    parsed = mounts.parse_options(["rro", "rnosuid", "rdev"])
    assert (parsed.tree_set, parsed.tree_clear) == (3, 4)
    assert parsed.flags == 0


@pytest.mark.parametrize(("word", "value"), [("rnoatime", 0x10), ("rstrictatime", 0x20), ("rrelatime", 0)])
def test_an_access_time_setting_replaces_the_one_before(word: str, value: int) -> None:
    parsed = mounts.parse_options([word])
    assert (parsed.tree_set, parsed.tree_clear) == (value, 0x70)


def test_defaults_and_nothing_change_nothing() -> None:
    assert mounts.parse_options(["defaults", ""]) == mounts.Options()


def test_tmpcopyup_is_no_option_of_the_kernels() -> None:
    assert mounts.parse_options(["tmpcopyup"]) == mounts.Options(copy_up=True)
