from __future__ import annotations

import os
from pathlib import Path

import pytest

from labkit.errors import InvalidInput, NotFound
from labkit.linux import idmaps
from labkit.linux.idmaps import IdMap


def test_read_gives_the_lines_of_both_files() -> None:
    uids, gids = idmaps.read()
    assert [str(each).split() for each in uids] == [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    assert gids == idmaps.read(os.getpid())[1]


def test_a_process_that_is_gone_has_no_maps() -> None:
    with pytest.raises(NotFound):
        idmaps.read(4194304)
    with pytest.raises(NotFound):
        idmaps.write(4194304, [IdMap(0, 0, 1)], [])


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        ([IdMap(0, 1000, 0)], r"uidMappings\[0\]: .*size is at least 1"),
        ([IdMap(-1, 1000, 1)], r"uidMappings\[0\]: "),
        ([IdMap(0, 4294967295, 1)], r"uidMappings\[0\]: .*4294967294"),
        ([IdMap(0, 1000, 10), IdMap(9, 5000, 1)], r"uidMappings\[1\]\.containerID: overlaps uidMappings\[0\]"),
        ([IdMap(0, 1000, 10), IdMap(20, 990, 11)], r"uidMappings\[1\]\.hostID: overlaps uidMappings\[0\]"),
    ],
)
def test_a_map_that_cannot_be_right_is_refused_with_its_place(maps: list[IdMap], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        idmaps.write("self", maps, [])
    with pytest.raises(InvalidInput, match=message.replace("uid", "gid")):
        idmaps.write("self", [], maps)


def test_maps_side_by_side_do_not_overlap() -> None:
    with pytest.raises(NotFound):  # only the process is missing
        idmaps.write(4194304, [IdMap(0, 1000, 10), IdMap(10, 1010, 5)], [])
