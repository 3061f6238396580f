from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from labkit.errors import Conflict, InvalidInput
from labkit.linux import sysctls
from labkit.network.ports import Ports

HERE = "127.0.0.1"


@pytest.fixture
def ports() -> Iterator[Ports]:
    made = Ports()
    yield made
    made.close()


@pytest.fixture
def free() -> int:
    with socket.socket() as probe:
        probe.bind((HERE, 0))
        number: int = probe.getsockname()[1]
        return number


def test_a_port_is_given_once_in_dockers_words(ports: Ports, free: int) -> None:
    assert ports.take("tcp", HERE, str(free)) == free
    with pytest.raises(Conflict, match=f"Bind for {HERE}:{free} failed: port is already allocated"):
        ports.take("tcp", HERE, str(free))
    ports.release("tcp", HERE, free)
    assert ports.take("tcp", HERE, str(free)) == free


def test_tcp_and_udp_do_not_meet(ports: Ports, free: int) -> None:
    assert ports.take("tcp", HERE, str(free)) == ports.take("udp", HERE, str(free)) == free


def test_a_port_of_another_program_is_refused_in_the_kernels_words(ports: Ports) -> None:
    with socket.socket() as other:
        other.bind((HERE, 0))
        other.listen()
        number = other.getsockname()[1]
        with pytest.raises(Conflict, match=f"listen tcp4 {HERE}:{number}: bind: address already in use"):
            ports.take("tcp", HERE, str(number))
        with pytest.raises(Conflict, match="bind: address already in use"):
            ports.take("tcp", "0.0.0.0", str(number))


def test_a_port_that_is_held_no_other_program_takes(ports: Ports, free: int) -> None:
    ports.take("tcp", HERE, str(free))
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            other.bind((HERE, free))


def test_random_ports_come_from_the_ephemeral_range_and_none_twice(ports: Ports) -> None:
    first, last = map(int, sysctls.read("net.ipv4.ip_local_port_range").split())
    found = [ports.take("tcp", HERE) for _ in range(50)]
    assert len(set(found)) == 50
    assert all(first <= number <= last for number in found)
    ports.release("tcp", HERE, found[0])
    assert ports.take("tcp", HERE) not in found


def test_of_a_range_the_first_free_one_is_given(ports: Ports) -> None:
    begin = ports.take("tcp", HERE)
    assert ports.take("tcp", HERE, f"{begin}-{begin + 20}") > begin


def test_a_range_that_is_taken_is_refused(ports: Ports) -> None:
    begin = ports.take("tcp", HERE)
    end = ports.take("tcp", HERE, f"{begin + 1}-{begin + 1}")
    with pytest.raises(Conflict, match=f"all ports are allocated: {HERE}:{begin}-{end}"):
        ports.take("tcp", HERE, f"{begin}-{end}")


def test_an_address_that_is_not_the_machines_is_refused(ports: Ports) -> None:
    with pytest.raises(Conflict, match=r"listen tcp4 192\.0\.2\.250:8080: bind: cannot assign requested address"):
        ports.take("tcp", "192.0.2.250", "8080")


@pytest.mark.parametrize("wanted", ["x", "80-x", "70000", "90-80", "-1", "٣"])
def test_what_is_no_port_is_refused(ports: Ports, wanted: str) -> None:
    with pytest.raises(InvalidInput, match="Invalid port"):
        ports.take("tcp", HERE, wanted)


def test_keeping_twice_is_holding_once(ports: Ports, free: int) -> None:
    ports.keep("tcp", HERE, free)
    ports.keep("tcp", HERE, free)
    ports.release("tcp", HERE, free)
    with socket.socket() as other:
        other.bind((HERE, free))
