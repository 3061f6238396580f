from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labkit.errors import KernelError, NotFound
from labkit.linux import namespaces, processes

InChild = Callable[[Callable[[], Any]], Any]

RESTRICTED = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
for_all_users = pytest.mark.skipif(
    RESTRICTED.exists() and RESTRICTED.read_text().strip() == "1",
    reason="this kernel's AppArmor keeps user namespaces from all but root (apparmor_restrict_unprivileged_userns)",
)


@pytest.mark.parametrize("kind", [kind for kind in namespaces.KINDS if kind not in ("pid", "time")])
def test_unshare_gives_a_new_namespace_of_this_kind_alone(in_child: InChild, kind: str) -> None:
    def scene() -> dict[str, namespaces.Namespace]:
        namespaces.unshare(kind)
        return namespaces.of()

    before, after = namespaces.of(), in_child(scene)
    assert {name for name in namespaces.KINDS if before[name] != after[name]} == {kind}


@pytest.mark.parametrize("kind", ["pid", "time"])
def test_unshare_of_some_kinds_concerns_the_next_child(in_child: InChild, kind: str) -> None:
    def scene() -> tuple[bool, bool]:
        before = namespaces.of()
        namespaces.unshare(kind)
        mine = namespaces.of() == before
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.read(reader, 1)
            os._exit(0)
        childs = namespaces.of(pid)[kind] == before[kind]
        os.close(writer)
        os.close(reader)
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        return mine, childs

    assert in_child(scene) == (True, False)


@pytest.mark.parametrize("kind", list(namespaces.KINDS))
def test_clone_makes_a_child_that_is_born_in_a_new_namespace(in_child: InChild, kind: str) -> None:
    def scene() -> tuple[set[str], bool]:
        reader, writer = os.pipe()
        descriptors = os.listdir("/proc/self/fd")
        pid = namespaces.clone(kind)
        if pid == 0:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
        differs = {name for name, shared in namespaces.compare(pid).items() if not shared}
        clean = os.listdir("/proc/self/fd") == descriptors
        os.close(writer)
        os.waitpid(pid, 0)
        return differs, clean

    assert in_child(scene) == ({kind}, True)


@pytest.mark.parametrize("kind", ["uts", "mnt", "net", "ipc", "cgroup", "user"])
def test_enter_moves_into_the_namespace_of_a_process(in_child: InChild, kind: str) -> None:
    with namespaces.new("uts", "mnt", "net", "ipc", "cgroup", "user") as box:
        there = box.namespaces()

        def scene() -> dict[str, namespaces.Namespace]:
            namespaces.enter(box.pid, kind)
            return namespaces.of()

        assert in_child(scene) == {**namespaces.of(), kind: there[kind]}


def test_enter_without_kinds_moves_into_all_that_differ(in_child: InChild) -> None:
    with namespaces.new("uts", "net") as box:
        there = box.namespaces()

        def scene() -> dict[str, namespaces.Namespace]:
            namespaces.enter(box.pid)
            namespaces.enter(box.pid)
            return namespaces.of()

        assert in_child(scene) == there


def test_enter_takes_the_file_of_a_namespace(in_child: InChild) -> None:
    with namespaces.new("uts") as box:
        there = box.namespaces()

        def scene() -> dict[str, namespaces.Namespace]:
            with pytest.raises(KernelError, match="of another kind"):
                namespaces.enter(f"/proc/{box.pid}/ns/uts", "net")
            namespaces.enter(f"/proc/{box.pid}/ns/uts")
            return namespaces.of()

        assert in_child(scene) == there


@pytest.mark.parametrize("kind", ["mnt", "uts", "ipc", "net", "cgroup"])
def test_entered_comes_back_even_after_an_error(kind: str) -> None:
    before, directory = namespaces.of(), os.getcwd()
    with namespaces.new(kind) as box:
        with pytest.raises(ZeroDivisionError), namespaces.entered(box.pid, kind):
            assert namespaces.of()[kind] == box.namespaces()[kind] != before[kind]
            raise ZeroDivisionError
        with namespaces.entered(f"/proc/{box.pid}/ns/{kind}", kind):
            assert namespaces.of()[kind] != before[kind]
    assert (namespaces.of(), os.getcwd()) == (before, directory)


def test_entered_works_beside_other_threads(in_child: InChild) -> None:
    import threading

    def scene() -> bool:
        stop = threading.Event()
        other = threading.Thread(target=stop.wait)
        other.start()
        with namespaces.new("mnt") as box, namespaces.entered(box.pid, "mnt"):
            there = namespaces.of() == box.namespaces()
        stop.set()
        other.join()
        return there

    assert in_child(scene)


def test_everyone_tells_who_is_in_a_new_namespace() -> None:
    with namespaces.new("uts") as box:
        assert namespaces.everyone("uts")[box.namespaces()["uts"]] == (box.pid,)
        assert box.pid in namespaces.everyone()[namespaces.of()["net"]]


def test_a_zombie_has_no_namespaces() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(NotFound):
        namespaces.of(pid)
    assert all(pid not in members for members in namespaces.everyone("mnt").values())
    os.waitpid(pid, 0)


def test_without_root_the_error_says_so(in_child: InChild) -> None:
    def scene() -> None:
        os.setuid(65534)
        for attempt in (
            lambda: namespaces.unshare("uts"),
            lambda: namespaces.clone("uts"),
            lambda: namespaces.new("uts"),
            lambda: namespaces.enter(os.getppid(), "uts"),
        ):
            with pytest.raises(KernelError, match=r"takes root|as root"):
                attempt()

    in_child(scene)


def test_a_host_name_of_its_own_leaves_the_machines_alone() -> None:
    before = socket.gethostname()
    with namespaces.new("uts") as box:
        assert box.run("hostname student-7; hostname") == "student-7"
        assert box.run("hostname") == "student-7"
        assert socket.gethostname() == before
        with namespaces.entered(box.pid, "uts"):
            assert socket.gethostname() == "student-7"
    assert socket.gethostname() == before


def test_a_pid_namespace_makes_its_first_process_number_1() -> None:
    with namespaces.new("pid", "mnt") as box:
        assert processes.stat(box.pid) is not None
        assert f"NSpid:\t{box.pid}\t1\n" in Path(f"/proc/{box.pid}/status").read_text()
        assert box.run("cat /proc/1/comm") == "box"
        assert box.run("echo $PPID; ls -d /proc/[0-9]* | wc -l").split()[0] == "1"


def test_a_mount_in_a_box_does_not_spread(tmp_path: Path) -> None:
    with namespaces.new("mnt") as box:
        box.run(f"mount -t tmpfs none {tmp_path} && touch {tmp_path}/inside")
        assert box.run(f"ls {tmp_path}") == "inside"
        assert os.listdir(tmp_path) == []


def test_a_network_namespace_has_nothing_but_lo() -> None:
    with namespaces.new("net") as box:
        assert box.run("tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '") == "lo"


def test_ipc_objects_are_seen_in_their_namespace_alone() -> None:
    with namespaces.new("ipc") as box:
        assert "0x" in box.run("ipcmk --queue >&2; ipcs -q")
        assert box.run("wc -l < /proc/sysvipc/msg") == "2"
    with namespaces.new("ipc") as box:
        assert box.run("wc -l < /proc/sysvipc/msg") == "1"


def test_the_root_of_a_cgroup_namespace_is_where_it_was_made() -> None:
    with namespaces.new("cgroup") as box:
        assert {line.split(":")[2] for line in box.run("cat /proc/self/cgroup").splitlines()} == {"/"}


def test_root_in_a_user_namespace_is_the_caller_outside() -> None:
    with namespaces.new("user", "uts") as box:
        assert box.run("id -u; id -g; hostname student-7; hostname").split() == ["0", "0", "student-7"]
        assert os.stat(f"/proc/{box.pid}").st_uid == os.geteuid()


@for_all_users
def test_a_user_namespace_needs_no_root(in_child: InChild) -> None:
    def scene() -> tuple[str, int]:
        os.setgid(65534)
        os.setuid(65534)
        with namespaces.new("user", "net") as box:
            return box.run("id -u; id -g; cat /proc/self/uid_map"), os.stat(f"/proc/{box.pid}").st_uid

    inside, outside = in_child(scene)
    assert inside.split() == ["0", "0", "0", "65534", "1"]
    assert outside == 65534


def test_the_clocks_of_a_time_namespace_run_ahead() -> None:
    here = float(Path("/proc/uptime").read_text().split()[0])
    with namespaces.new("time", clock_offset=1_000_000) as box:
        assert 1_000_000 <= float(box.run("cat /proc/uptime").split()[0]) - here < 1_000_100
        assert box.namespaces()["time"] != namespaces.of()["time"]
    with namespaces.new("time") as box:
        assert float(box.run("cat /proc/uptime").split()[0]) - here < 1_000


def test_a_box_of_all_kinds_shares_nothing() -> None:
    with namespaces.new(*namespaces.KINDS) as box:
        assert not any(namespaces.compare(box.pid).values())
        assert box.kinds == tuple(namespaces.KINDS)
