"""What a runtime hands to its caller, the PID and the terminal, and what becomes of the process where it cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Container

NOWHERE = "/no/such/place"


@pytest.mark.parametrize("command", ["create", "run"])
def test_a_container_whose_pid_cannot_be_written_down_is_not_left(container: Callable[..., Container], command: str) -> None:
    box = container()
    made = getattr(box, command)("--pid-file", NOWHERE)
    assert made.code != 0 and NOWHERE[:3] in made.err and "Traceback" not in made.err
    assert box.runtime("state", box.id).code != 0


def test_nor_is_a_program_that_was_executed(container: Callable[..., Container]) -> None:
    box = container().started()
    done = box.exec("--pid-file", NOWHERE, "--detach", box.id, "sleep", "1000")
    assert done.code != 0 and NOWHERE[:3] in done.err
    assert "sleep 1000" not in box.inside("ps")


def test_a_container_whose_terminal_finds_nobody_is_not_left(container: Callable[..., Container]) -> None:
    box = container({"process.terminal": True})
    made = box.create("--console-socket", NOWHERE)
    assert made.code != 0 and box.runtime("state", box.id).code != 0
