from __future__ import annotations

import pytest

from labkit.errors import Conflict, InvalidInput
from labkit.network import pools


def test_the_first_pool_is_dockers() -> None:
    assert pools.choose(taken=()) == "172.17.0.0/16"


def test_what_a_network_or_a_route_has_is_not_free() -> None:
    assert pools.choose(taken=["172.17.0.0/16"], routes=["172.18.4.0/24", "172.19.0.0/16"]) == "172.20.0.0/16"


def test_a_wider_route_takes_all_pools_within() -> None:
    assert pools.choose(taken=(), routes=["172.16.0.0/12"]) == "192.168.0.0/20"


def test_no_pool_is_left() -> None:
    with pytest.raises(Conflict, match=r"could not find an available, non-overlapping IPv4 address pool.*--subnet"):
        pools.choose(taken=["172.16.0.0/12", "192.168.0.0/16"])


def test_ipv6_overlaps_with_no_ipv4() -> None:
    assert pools.choose(taken=["::/0"]) == "172.17.0.0/16"


def test_a_subnet_that_another_network_has_is_refused() -> None:
    with pytest.raises(Conflict, match="Pool overlaps with other one on this address space"):
        pools.check("172.18.7.0/24", ["172.18.0.0/16"])
    pools.check("172.18.7.0/24", ["172.19.0.0/16"])


@pytest.mark.parametrize(
    ("text", "why"), [("10.0.0.1/24", "it should be 10.0.0.0/24"), ("ten", "invalid CIDR"), ("10.0.0.0/33", "invalid CIDR")]
)
def test_what_is_no_subnet_is_refused(text: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        pools.subnet(text)
