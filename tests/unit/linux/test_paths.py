from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from labkit.errors import KernelError, NotFound
from labkit.linux import mounts, syscalls


def no_openat2(*_: object) -> int:
    raise KernelError(errno.ENOSYS, "openat2")


@pytest.fixture(params=["by-the-kernel", "on-foot"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root file system beside a file that nobody must reach from it; found by openat2, or where that fails by the walk."""
    if request.param == "on-foot":
        monkeypatch.setattr(syscalls, "openat2", no_openat2)
    (tmp_path / "secret").write_text("outside")
    (tmp_path / "root" / "etc").mkdir(parents=True)
    return tmp_path / "root"


def find(root: Path, path: str, create: str | None = None) -> Path:
    with mounts.inside(str(root), path, create) as spot:
        return Path(os.readlink(spot))


@pytest.mark.parametrize("path", ["/etc", "etc", "//etc/", "/./etc/.", "/../../etc", "/etc/../../etc"])
def test_a_path_begins_at_the_root_and_never_leaves_it(root: Path, path: str) -> None:
    assert find(root, path) == root / "etc"


def test_the_root_itself_can_be_meant(root: Path) -> None:
    assert find(root, "/") == root


@pytest.mark.parametrize("link", ["/etc", "etc", "../../../etc", "/no/../etc/.", "/link2"])
def test_a_link_leads_to_where_it_would_from_inside(root: Path, link: str) -> None:
    (root / "no").mkdir()
    (root / "link2").symlink_to("/etc")
    (root / "link").symlink_to(link)
    assert find(root, "/link") == root / "etc"


@pytest.mark.parametrize("link", ["../secret", "/secret", "../../../../../../{outside}", "{outside}"])
def test_no_link_leads_out(root: Path, link: str) -> None:
    outside = root.parent / "secret"
    (root / "link").symlink_to(link.format(outside=outside))
    with pytest.raises(NotFound):
        find(root, "/link")
    assert root in find(root, "/link", "file").parents
    assert outside.read_text() == "outside"


def test_a_directory_swapped_for_a_link_on_the_way_leads_nowhere(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_open = os.open

    def open_late(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == "etc":  # an attacker is faster by a moment
            (root / "etc").rmdir()
            (root / "etc").symlink_to(root.parent)
        return real_open(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", open_late)
    with pytest.raises(NotFound):
        find(root, "/etc/secret")


def test_dot_dot_goes_back_the_way_it_came_and_not_the_way_of_a_link(root: Path) -> None:
    (root / "a" / "b").mkdir(parents=True)
    (root / "link").symlink_to("/a/b")
    assert find(root, "/link/..") == root / "a"


def test_links_in_a_circle_end_in_an_error(root: Path) -> None:
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("/one")
    with pytest.raises(KernelError, match="ELOOP"):
        find(root, "/one")


def test_what_is_missing_is_not_found_unless_it_shall_be_made(root: Path) -> None:
    with pytest.raises(NotFound, match="/new/dir: no such file or directory below"):
        find(root, "/new/dir")
    assert not (root / "new").exists()
    assert find(root, "/new/dir", "dir").is_dir()
    assert find(root, "/other/file", "file").is_file()
    assert find(root, "/other/file", "file").is_file()


def test_what_a_link_leads_to_is_made_too(root: Path) -> None:
    (root / "resolv.conf").symlink_to("../run/systemd/resolv.conf")
    assert find(root, "/resolv.conf", "file") == root / "run" / "systemd" / "resolv.conf"


def test_a_file_on_the_way_is_an_error(root: Path) -> None:
    (root / "file").touch()
    with pytest.raises(KernelError, match="ENOTDIR"):
        find(root, "/file/x", "dir")


def test_no_descriptor_stays_open(root: Path) -> None:
    before = os.listdir("/proc/self/fd")
    find(root, "/etc/../etc")
    find(root, "/a/b/c", "file")
    (root / "loop").symlink_to("/loop")
    for bad in "/loop", "/none":
        with pytest.raises((KernelError, NotFound)):
            find(root, bad)
    assert os.listdir("/proc/self/fd") == before
