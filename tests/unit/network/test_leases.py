from __future__ import annotations

import threading
from pathlib import Path

import pytest

from labkit.errors import Conflict, InvalidInput
from labkit.network.leases import Leases

SUBNET = "172.18.0.0/16"


@pytest.fixture
def leases(tmp_path: Path) -> Leases:
    return Leases(str(tmp_path / "leases"))


def test_the_lowest_free_address_is_taken_and_the_gateway_is_not(leases: Leases) -> None:
    assert leases.take(SUBNET, "a", reserved=("172.18.0.1",)) == "172.18.0.2"
    assert leases.take(SUBNET, "b", reserved=("172.18.0.1",)) == "172.18.0.3"
    leases.give_back("172.18.0.2", "a")
    assert leases.take(SUBNET, "c", reserved=("172.18.0.1",)) == "172.18.0.2"
    assert leases.of() == {"172.18.0.2": "c", "172.18.0.3": "b"}


def test_a_wanted_address_is_given_once(leases: Leases) -> None:
    assert leases.take(SUBNET, "a", "172.18.7.7") == "172.18.7.7"
    with pytest.raises(Conflict, match="Address already in use"):
        leases.take(SUBNET, "b", "172.18.7.7")


@pytest.mark.parametrize("taken", ["172.18.0.0", "172.18.255.255", "172.18.0.1"])
def test_addresses_of_the_network_itself_are_nobodys(leases: Leases, taken: str) -> None:
    with pytest.raises(Conflict):
        leases.take(SUBNET, "a", taken, reserved=("172.18.0.1",))


def test_an_address_of_another_subnet_is_refused(leases: Leases) -> None:
    with pytest.raises(InvalidInput, match="does not belong to any of this network's subnets"):
        leases.take(SUBNET, "a", "10.0.0.1")


def test_only_a_part_of_the_subnet_is_given_if_that_is_asked_for(leases: Leases) -> None:
    assert leases.take(SUBNET, "a", within="172.18.5.0/24") == "172.18.5.0"


def test_a_pool_runs_out_and_says_so(leases: Leases) -> None:
    subnet = "10.1.0.0/29"
    taken = [leases.take(subnet, str(n), reserved=("10.1.0.1",)) for n in range(5)]
    assert taken == [f"10.1.0.{n}" for n in range(2, 7)]
    with pytest.raises(Conflict, match=r"no available IPv4 addresses on this network's address pools: 10\.1\.0\.0/29"):
        leases.take(subnet, "one too many", reserved=("10.1.0.1",))


def test_a_lease_that_is_anothers_by_now_stays(leases: Leases) -> None:
    address = leases.take(SUBNET, "a")
    leases.give_back(address, "b")
    assert leases.of() == {address: "a"}
    leases.give_back(address, "a")
    leases.give_back(address, "a")
    assert leases.of() == {}


def test_after_a_crash_the_leases_of_the_dead_and_of_the_half_born_are_given_back(leases: Leases) -> None:
    leases.take(SUBNET, "lives")
    leases.take(SUBNET, "died")
    leases.take(SUBNET, "")
    assert set(leases.sweep(lambda owner: owner == "lives")) == {"172.18.0.2", "172.18.0.3"}
    assert leases.of() == {"172.18.0.1": "lives"}


def test_addresses_of_ipv6_are_leased_too(leases: Leases) -> None:
    assert leases.take("fd00:77::/64", "a", reserved=("fd00:77::1",)) == "fd00:77::2"
    assert leases.of() == {"fd00:77::2": "a"}
    leases.give_back("fd00:77::2", "a")
    assert leases.of() == {}


def test_many_at_once_get_different_addresses(leases: Leases) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda n=n: found.append(leases.take(SUBNET, str(n)))) for n in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 32
