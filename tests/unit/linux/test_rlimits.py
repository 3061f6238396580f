from __future__ import annotations

import resource

import pytest

from labkit.errors import InvalidInput
from labkit.linux import rlimits


def test_each_name_stands_at_its_number() -> None:
    numbers = {name: number for number, name in enumerate(rlimits.NAMES) if name != "RLIMIT_LOCKS"}
    assert numbers == {name: getattr(resource, name) for name in numbers}
    assert len(rlimits.NAMES) == 16


@pytest.mark.parametrize(("soft", "hard"), [(2, 1), (-1, 5), (-2, -1), (1, -2), (2**64 - 1, 5)])
def test_a_soft_limit_above_the_hard_one_is_refused(soft: int, hard: int) -> None:
    with pytest.raises(InvalidInput, match="the soft limit of RLIMIT_CORE"):
        rlimits.set("RLIMIT_CORE", soft, hard)


def test_an_unknown_limit_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="none called 'NOFILE'"):
        rlimits.set("NOFILE", 1, 1)
