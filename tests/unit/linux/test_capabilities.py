from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import InvalidInput
from labkit.linux import capabilities
from labkit.linux.capabilities import Capabilities

KILL, CHOWN = "CAP_KILL", "CAP_CHOWN"


def test_the_bits_are_those_of_the_kernel_header() -> None:
    assert len(capabilities.NAMES) == 41
    assert capabilities.mask(["CAP_CHOWN"]) == 1
    assert capabilities.mask(["CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE"]) == 1 << 21 | 1 << 40
    assert capabilities.names(1 << 12 | 1 << 60) == {"CAP_NET_ADMIN"}


def test_the_default_set_is_dockers_fourteen() -> None:
    assert capabilities.mask(capabilities.DEFAULT) == 0xA80425FB


@given(st.frozensets(st.sampled_from(capabilities.NAMES)))
def test_names_and_masks_are_the_same_thing(some: frozenset[str]) -> None:
    assert capabilities.names(capabilities.mask(some)) == some


@pytest.mark.parametrize("name", ["CAP_SYS_ADMN", "SYS_ADMIN", "cap_sys_admin", ""])
def test_a_misspelt_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"none called '{name}'"):
        capabilities.mask([name])
    with pytest.raises(InvalidInput):
        Capabilities(bounding=frozenset({name}))


def test_an_effective_capability_must_be_permitted() -> None:
    one = frozenset({KILL})
    Capabilities(effective=one, permitted=one)
    with pytest.raises(InvalidInput, match="effective: CAP_KILL must be permitted too"):
        Capabilities(effective=one)


def test_printed_sets_are_in_order() -> None:
    assert str(Capabilities(bounding=frozenset({KILL, CHOWN}))).splitlines() == [
        "bounding    CAP_CHOWN CAP_KILL",
        "effective   (none)",
        "permitted   (none)",
        "inheritable (none)",
        "ambient     (none)",
    ]
