from __future__ import annotations

import pytest

from labkit.errors import InvalidInput, Unsupported
from labkit.linux import sysctls


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("net.ipv4.ip_forward", "net"),
        ("net/ipv4/conf/eth0.7/forwarding", "net"),
        ("kernel.shmmax", "ipc"),
        ("kernel/msgmnb", "ipc"),
        ("fs.mqueue.msg_max", "ipc"),
        ("kernel.domainname", "uts"),
        ("user.max_uts_namespaces", "user"),
        ("vm.swappiness", None),
        ("kernel.panic", None),
        ("fs.file-max", None),
        ("kernel.shmmax.more", None),
        ("net", None),
    ],
)
def test_each_setting_belongs_to_its_kind_of_namespace(name: str, kind: str | None) -> None:
    assert sysctls.namespaced(name) == kind


@pytest.mark.parametrize(
    "name", ["", ".", "net..core", "net/../kernel/panic", "/proc/sys/kernel/panic", "net.core.", "kernel.a\0b", "net.ipv4./.x"]
)
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    for call in (sysctls.namespaced, sysctls.read, lambda name: sysctls.write(name, "1")):
        with pytest.raises(InvalidInput, match="is no name of a setting"):
            call(name)


def test_a_value_is_read_in_either_way_of_writing_its_name() -> None:
    assert sysctls.read("kernel.ostype") == sysctls.read("kernel/ostype") == "Linux"


def test_a_setting_that_this_kernel_lacks_is_unsupported() -> None:
    with pytest.raises(Unsupported, match=r"sysctl kernel\.no_such_thing"):
        sysctls.read("kernel.no_such_thing")
    with pytest.raises(Unsupported):
        sysctls.write("kernel.no_such_thing", "1")
