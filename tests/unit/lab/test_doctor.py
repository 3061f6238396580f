"""How an attempt becomes a row."""

from __future__ import annotations

import os

import pytest

from labkit.errors import Unsupported
from labkit.lab import doctor
from labkit.lab.doctor import State


@pytest.fixture(autouse=True)
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def fails() -> str:
    raise Unsupported("no such file system")


def dies() -> str:
    os._exit(3)


def test_an_attempt_that_succeeds_tells_what_it_found() -> None:
    assert doctor.tried("x", lambda: "found it", "remedy") == doctor.Row("x", State.FINE, "found it")


def test_an_attempt_that_fails_is_lacking_with_its_error_and_the_remedy() -> None:
    assert doctor.tried("x", fails, "modprobe x") == doctor.Row("x", State.LACKING, "no such file system", "modprobe x")


def test_what_the_lab_can_do_without_is_limited() -> None:
    assert doctor.tried("x", fails, "modprobe x", needed=False).state is State.LIMITED


def test_an_attempt_whose_process_dies_is_a_failure_too() -> None:
    assert doctor.tried("x", dies, "").found == "the attempt ended with wait status 768"


def test_an_attempt_happens_in_another_process() -> None:
    assert doctor.tried("x", lambda: str(os.getpid()), "").found != str(os.getpid())


def test_without_root_nothing_is_tried_and_nothing_called_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    row = doctor.tried("x", fails, "modprobe x")
    assert (row.state, row.remedy) == (State.LIMITED, "sudo labkit doctor")


def test_lacking_leaves_out_what_is_fine_or_limited() -> None:
    rows = [doctor.Row(state.name, state, "") for state in State]
    assert [row.name for row in doctor.lacking(rows)] == ["LACKING"]
