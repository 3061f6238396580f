"""Who a user is by the files of an image."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labkit.engine import passwd
from labkit.errors import InvalidInput, NotFound
from labkit.runtime.spec import User

FILES = {
    "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\n# a comment:x:1:1\nbroken\nwww:x:33:34::/:/bin/sh\n12:x:1200:1201::/:/bin/sh\n",
    "/etc/group": "root:x:0:\nweb:x:34:www\nadm:x:4:root,www\nodd:x:none:www\n",
}


def read(path: str) -> str:
    return FILES.get(path, "")


@pytest.mark.parametrize(
    ("wanted", "more", "user"),
    [
        ("", (), User(0, 0, additionalGids=(0, 4))),
        ("0", (), User(0, 0, additionalGids=(0, 4))),
        ("www", (), User(33, 34, additionalGids=(34, 4))),
        ("www:adm", (), User(33, 4, additionalGids=(4,))),
        ("www:77", (), User(33, 77, additionalGids=(77,))),
        ("www:", (), User(33, 34, additionalGids=(34, 4))),
        (":web", (), User(0, 34, additionalGids=(34,))),
        ("12", (), User(1200, 1201, additionalGids=(1201,))),
        ("4711", (), User(4711, 0, additionalGids=(0,))),
        ("4711:4712", ("adm", "99"), User(4711, 4712, additionalGids=(4712, 4, 99))),
    ],
)
def test_users_and_groups_are_looked_up(wanted: str, more: tuple[str, ...], user: User) -> None:
    assert passwd.resolve(wanted, more, read) == user


def test_who_is_not_there_is_told() -> None:
    with pytest.raises(NotFound, match=r"^unable to find user nosuch: no matching entries in passwd file$"):
        passwd.resolve("nosuch", (), read)
    with pytest.raises(NotFound, match=r"^unable to find group nosuch: no matching entries in group file$"):
        passwd.resolve("www:nosuch", (), read)
    for number in ("2147483648", "9" * 5000):
        with pytest.raises(InvalidInput, match="uids and gids must be in range 0-2147483647"):
            passwd.resolve(number, (), read)


def test_an_image_without_the_files_has_root_and_numbers() -> None:
    assert passwd.resolve("", (), lambda _path: "") == User(0, 0, additionalGids=(0,))
    assert passwd.resolve("7:8", (), lambda _path: "") == User(7, 8, additionalGids=(8,))


def test_the_topmost_layer_that_has_a_file_tells(tmp_path: Path) -> None:
    for layer in ("top", "base"):
        (tmp_path / layer / "etc").mkdir(parents=True)
    (tmp_path / "base/etc/passwd").write_text("below\n")
    layers = [str(tmp_path / "top"), str(tmp_path / "base")]
    assert passwd.in_layers(layers)("/etc/passwd") == "below\n"
    (tmp_path / "top/etc/passwd").write_text("above\n")
    assert passwd.in_layers(layers)("/etc/passwd") == "above\n"
    assert passwd.in_layers(layers)("/etc/group") == ""


def test_no_link_leads_out_of_a_layer_and_no_pipe_makes_us_wait(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("host\n")
    etc = tmp_path / "layer/etc"
    etc.mkdir(parents=True)
    (etc / "passwd").symlink_to(tmp_path / "secret")
    os.mkfifo(etc / "group")
    reader = passwd.in_layers([str(tmp_path / "layer")])
    assert reader("/etc/passwd") == reader("/etc/group") == ""
