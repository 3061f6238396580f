from __future__ import annotations

import os
import socket

import pytest

from labkit.errors import InvalidInput, NotFound
from labkit.linux import links


def test_names_are_those_that_the_kernel_lists() -> None:
    assert set(links.names()) == {name for _, name in socket.if_nameindex()}
    assert links.names(os.getpid()) == links.names("self")


def test_a_process_that_is_gone_has_no_links() -> None:
    with pytest.raises(NotFound, match="process 4194304"):
        links.names(4194304)


def test_a_link_that_is_not_there_is_not_found_and_the_others_are_named() -> None:
    with pytest.raises(NotFound, match=r"link lk-none: this network namespace has only .*lo"):
        links.is_up("lk-none")
    with pytest.raises(NotFound):
        links.set_up("lk-none")


@pytest.mark.parametrize("name", ["", "a-name-that-is-too-long"])
def test_a_link_name_has_1_to_15_bytes(name: str) -> None:
    with pytest.raises(InvalidInput, match="1 to 15 bytes"):
        links.is_up(name)
