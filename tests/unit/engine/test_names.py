"""Names and IDs of containers."""

from __future__ import annotations

import random
import re

import pytest

from labkit.engine import names
from labkit.errors import InvalidInput


def test_a_name_is_an_adjective_and_a_scientist_and_later_a_digit() -> None:
    assert all(re.fullmatch(r"[a-z]+_[a-z]+", names.generate()) for _ in range(50))
    assert re.fullmatch(r"[a-z]+_[a-z]+\d", names.generate(1))
    assert len({names.generate() for _ in range(50)}) > 40


def test_steve_wozniak_is_not_boring(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = iter(["boring", "wozniak", "eager", "wozniak"])
    monkeypatch.setattr(random, "choice", lambda _words: next(chosen))
    assert names.generate() == "eager_wozniak"


def test_an_id_is_64_hexadecimal_digits_and_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", names.new_id())
    drawn = iter([bytes([0x12] * 32), bytes([0x1A] * 32)])
    monkeypatch.setattr(names.os, "urandom", lambda _count: next(drawn))
    assert names.new_id() == "1a" * 32


@pytest.mark.parametrize("name", ["web", "Web.1_a-b", "9x", "/web", "a" * 200])
def test_good_names_pass(name: str) -> None:
    assert names.check(name) == name.removeprefix("/")


@pytest.mark.parametrize("name", ["", "x", "/x", "-ab", "a b", "a/b", "ä1", "a\n", "//ab"])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="Invalid container name"):
        names.check(name)
