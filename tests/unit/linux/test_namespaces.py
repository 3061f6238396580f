from __future__ import annotations

import errno
import os

import pytest

from labkit.errors import InvalidInput, KernelError, NotFound, Unsupported
from labkit.linux import namespaces, syscalls
from labkit.linux.idmaps import IdMap


def test_the_kinds_are_the_kernels_own() -> None:
    # pid_for_children and time_for_children say where the children go; they are no kinds.
    assert set(namespaces.KINDS) == {name for name in os.listdir("/proc/self/ns") if not name.endswith("_for_children")}
    flags = {value for name, value in vars(syscalls).items() if name.startswith("CLONE_NEW")}
    assert {kind.flag for kind in namespaces.KINDS.values()} == flags


def test_a_kind_has_two_names() -> None:
    assert namespaces.kind("mnt") is namespaces.kind("mount")
    assert namespaces.kind("net") is namespaces.kind("network")
    assert namespaces.kind("uts").man == "uts_namespaces(7)"
    assert str(namespaces.kind("network")) == "net"
    with pytest.raises(InvalidInput, match="'host' is none of mnt, uts, ipc, net, pid, user, cgroup, time"):
        namespaces.kind("host")


def test_a_namespace_is_named_as_the_kernel_names_it() -> None:
    for name, namespace in namespaces.of().items():
        assert str(namespace) == os.readlink(f"/proc/self/ns/{name}")
    assert namespaces.of(os.getpid()) == namespaces.of("self")


def test_a_process_that_is_gone_has_no_namespaces() -> None:
    with pytest.raises(NotFound, match="process 4194304: no such process"):
        namespaces.of(4194304)


def test_a_process_shares_all_namespaces_with_itself() -> None:
    assert namespaces.compare(os.getpid()) == dict.fromkeys(namespaces.KINDS, True)


def test_everyone_lists_this_process_under_its_own_namespaces() -> None:
    everyone = namespaces.everyone()
    for namespace in namespaces.of().values():
        assert os.getpid() in everyone[namespace]
    assert list(dict.fromkeys(namespace.kind for namespace in everyone)) == list(namespaces.KINDS)
    assert {namespace.kind for namespace in namespaces.everyone("network")} == {"net"}


def test_the_kind_must_be_said() -> None:
    for forgetful in namespaces.new, namespaces.unshare:
        with pytest.raises(InvalidInput, match=r"namespace kind: which one\? mnt, uts"):
            forgetful()
    with pytest.raises(InvalidInput, match="'…' is none of mnt"):
        namespaces.new("…")


def test_a_kind_that_this_kernel_lacks_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "exists", lambda path: path != "/proc/self/ns/time")
    with pytest.raises(Unsupported, match="time namespaces: this kernel has none"):
        namespaces.unshare("time")


def test_unshare_asks_for_all_kinds_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(syscalls, "unshare", asked.append)
    namespaces.unshare("uts", "network", "uts")
    assert asked == [syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWNET]


@pytest.mark.parametrize(
    ("code", "uid", "hint"),
    [
        (errno.EPERM, 1000, "takes root"),
        (errno.EPERM, 0, "CAP_SYS_ADMIN"),
        (errno.ENOSPC, 0, "/proc/sys/user/max"),
        (errno.EUSERS, 0, "several threads cannot enter a time"),
        (errno.EINVAL, 0, "several threads"),
    ],
)
def test_an_error_tells_the_cause(monkeypatch: pytest.MonkeyPatch, code: int, uid: int, hint: str) -> None:
    def fail(flags: int) -> None:
        raise KernelError(code, "unshare", hex(flags))

    monkeypatch.setattr(syscalls, "unshare", fail)
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    with pytest.raises(KernelError, match=f"unshare user: .*{hint}"):
        namespaces.unshare("user")


@pytest.mark.parametrize("kind", ["user", "pid", "time"])
def test_from_some_kinds_there_is_no_way_back(kind: str) -> None:
    with pytest.raises(InvalidInput, match=f"{kind} namespace cannot come back"), namespaces.entered(1, kind):
        raise AssertionError


def test_what_is_not_there_cannot_be_entered() -> None:
    with pytest.raises(NotFound, match="/run/netns/none"):
        namespaces.enter("/run/netns/none")
    with pytest.raises(NotFound, match="4194304"):
        namespaces.enter(4194304, "uts")


def test_a_box_takes_only_what_fits_its_kinds() -> None:
    with pytest.raises(InvalidInput, match=r'clock_offset: .* add "time"'):
        namespaces.new("uts", clock_offset=5)
    with pytest.raises(InvalidInput, match='id maps: add "user"'):
        namespaces.new("uts", gids=(IdMap(0, 0, 1),))
