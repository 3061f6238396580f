from __future__ import annotations

import pytest

from labkit.linux.conntrack import Flow
from labkit.network.flows import is_for
from labkit.network.nat import Published

OURS = frozenset({"192.0.2.2", "172.17.0.1", "127.0.0.1", "fd00::1"})


@pytest.mark.parametrize(
    ("address", "port", "came_for", "at", "ends"),
    [
        ("0.0.0.0", 53, "192.0.2.2", 53, True),
        ("0.0.0.0", 53, "127.0.0.53", 53, True),
        ("0.0.0.0", 53, "192.0.2.2", 54, False),
        ("0.0.0.0", 53, "8.8.8.8", 53, False),
        ("0.0.0.0", 53, "fd00::1", 53, False),
        ("127.0.0.1", 53, "192.0.2.2", 53, False),
        ("192.0.2.2", 53, "192.0.2.2", 53, True),
        ("::", 53, "fd00::1", 53, True),
        ("::", 53, "192.0.2.2", 53, False),
        ("fd00:0::1", 53, "fd00::1", 53, True),
    ],
)
def test_a_flow_ends_with_its_port_and_one_to_elsewhere_does_not(address: str, port: int, came_for: str, at: int, ends: bool) -> None:
    published = Published("udp", address, port, "172.17.0.2" if "." in address else "fd00::2", 53)
    assert is_for(published, Flow("192.0.2.1", 5000, came_for, at, "", 0, b""), OURS) == ends
