from __future__ import annotations

import os
from collections.abc import Callable
from errno import EINVAL
from typing import Any

import pytest

from labkit.errors import KernelError
from labkit.linux import syscalls, sysctls

InChild = Callable[[Callable[[], Any]], Any]


@pytest.mark.parametrize(
    ("name", "value", "namespace"),
    [
        ("net.ipv4.ip_default_ttl", "42", syscalls.CLONE_NEWNET),
        ("kernel.shmmni", "7", syscalls.CLONE_NEWIPC),
        ("kernel.domainname", "lab.example", syscalls.CLONE_NEWUTS),
    ],
)
def test_a_setting_of_a_new_namespace_is_set_there_and_not_here(in_child: InChild, name: str, value: str, namespace: int) -> None:
    before = sysctls.read(name)

    def change() -> str:
        syscalls.unshare(namespace)
        sysctls.write(name, value)
        return sysctls.read(name)

    assert in_child(change) == value != before
    assert sysctls.read(name) == before


def test_a_value_that_the_kernel_refuses_is_an_error_that_shows_it(in_child: InChild) -> None:
    def change() -> None:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        sysctls.write("net.ipv4.ip_default_ttl", "many")

    with pytest.raises(KernelError, match=r"write sysctl net\.ipv4\.ip_default_ttl: EINVAL .*'many'") as caught:
        in_child(change)
    assert caught.value.errno == EINVAL


def test_no_descriptor_is_left_open(in_child: InChild) -> None:
    def change() -> bool:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        before = os.listdir("/proc/self/fd")
        sysctls.write("net.ipv4.ip_default_ttl", sysctls.read("net.ipv4.ip_default_ttl"))
        return os.listdir("/proc/self/fd") == before

    assert in_child(change)


def test_what_may_only_be_written_is_not_read() -> None:
    with pytest.raises(KernelError, match="read sysctl"):
        sysctls.read("net.ipv4.route.flush")
