"""The lessons' root file system: one static program and links to it."""

import os

import pytest

from labkit.errors import Unsupported
from labkit.lessons import busybox_root

STATIC = "/bin/busybox"


def test_every_applet_is_a_link_to_the_one_program(tmp_path):
    root = busybox_root(str(tmp_path / "root"))
    for applet in ("bin/sh", "bin/ls", "usr/bin/head", "sbin/ip"):
        assert os.readlink(f"{root}/{applet}").endswith("busybox"), applet
        assert os.path.samefile(f"{root}/{applet}", f"{root}/bin/busybox")


def test_links_stay_inside_the_root(tmp_path):
    root = busybox_root(str(tmp_path / "root"))
    links = [entry.path for where, _, _ in os.walk(root) for entry in os.scandir(where) if entry.is_symlink()]
    assert links and not any(os.readlink(link).startswith("/") for link in links)


def test_it_has_the_directories_that_a_container_mounts_over(tmp_path):
    root = busybox_root(str(tmp_path / "root"))
    assert {"dev", "proc", "sys", "tmp", "etc"} <= set(os.listdir(root))
    assert os.stat(f"{root}/tmp").st_mode & 0o7777 == 0o1777


def test_a_tree_that_stands_is_left_alone_and_a_broken_one_is_built_anew(tmp_path):
    root = busybox_root(str(tmp_path / "root"))
    before = os.stat(root).st_ino
    assert os.stat(busybox_root(root)).st_ino == before
    os.truncate(f"{root}/bin/busybox", 10)
    assert os.path.getsize(f"{busybox_root(root)}/bin/busybox") == os.path.getsize(STATIC)
    assert os.listdir(tmp_path) == ["root"]


def test_a_missing_busybox_names_the_package_that_has_it(tmp_path):
    with pytest.raises(Unsupported, match="apt-get install busybox-static"):
        busybox_root(str(tmp_path / "root"), busybox=str(tmp_path / "none"))


def test_a_dynamically_linked_busybox_is_refused(tmp_path):
    with pytest.raises(Unsupported, match="dynamically linked"):
        busybox_root(str(tmp_path / "root"), busybox="/bin/ls")


def test_what_is_no_program_is_refused(tmp_path):
    script = tmp_path / "busybox"
    script.write_text("#!/bin/sh\n")
    with pytest.raises(Unsupported, match="no 64-bit ELF"):
        busybox_root(str(tmp_path / "root"), busybox=str(script))
