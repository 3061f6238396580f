from __future__ import annotations

from labkit.linux import links, namespaces


def test_lo_of_a_new_network_namespace_is_down_until_it_is_set_up() -> None:
    with namespaces.new("net") as box:
        assert links.names(box.pid) == ("lo",)
        with namespaces.entered(box.pid, "net"):
            assert links.names() == ("lo",)
            assert not links.is_up("lo")
            links.set_up("lo")
            assert links.is_up("lo")
            links.set_up("lo")
        assert "LOOPBACK,UP" in box.run("ip link show lo")
