from __future__ import annotations

import os
import signal
from collections.abc import Callable
from errno import EPERM
from typing import Any

import pytest

from labkit.errors import KernelError, NotFound
from labkit.linux import capabilities, syscalls
from labkit.linux.capabilities import Capabilities

InChild = Callable[[Callable[[], Any]], Any]
NOBODY = 65534
NOTHING: frozenset[str] = frozenset()
KILL, CHOWN = frozenset({"CAP_KILL"}), frozenset({"CAP_CHOWN"})


def all_but(*names: str) -> Capabilities:
    mine = capabilities.of()
    rest = mine.permitted - set(names)
    return Capabilities(effective=rest, permitted=rest)


def after_exec() -> Capabilities:
    """The sets of a program that this process turns into: a fork of it executes cat and waits to be looked at."""
    reader, writer = os.pipe()
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(reader, 0)
        os.dup2(into, 1)
        os.execv("/bin/cat", ["cat"])
    os.write(writer, b".")
    os.read(out, 1)
    found = capabilities.of(pid)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return found


def become(user: int) -> None:
    """Change the user as a container's init does, with the permitted set kept."""
    syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def test_the_kernel_is_asked_for_its_newest_capability() -> None:
    with open("/proc/sys/kernel/cap_last_cap") as file:
        assert capabilities.last() == int(file.read())


def test_the_five_sets_are_read_from_proc(in_child: InChild) -> None:
    wanted = Capabilities(capabilities.DEFAULT, CHOWN, KILL | CHOWN, KILL, KILL)

    def change() -> Capabilities:
        capabilities.drop_bounding(capabilities.DEFAULT)
        assert capabilities.apply(wanted) == NOTHING
        return capabilities.of(os.getpid())

    assert in_child(change) == wanted


def test_the_sets_of_nobody_are_not_found() -> None:
    with pytest.raises(NotFound):
        capabilities.of(-1)


def test_a_dropped_capability_makes_its_calls_fail(in_child: InChild) -> None:
    def change() -> None:
        syscalls.unshare(syscalls.CLONE_NEWUTS)
        syscalls.sethostname("student-7")
        capabilities.apply(all_but("CAP_SYS_ADMIN"))
        syscalls.sethostname("student-8")

    with pytest.raises(KernelError) as caught:
        in_child(change)
    assert (caught.value.errno, caught.value.object) == (EPERM, "student-8")


def test_the_other_capabilities_stay(in_child: InChild) -> None:
    def change() -> None:
        syscalls.unshare(syscalls.CLONE_NEWUTS)
        capabilities.apply(all_but("CAP_CHOWN"))
        syscalls.sethostname("student-8")

    in_child(change)


def test_what_is_dropped_from_the_bounding_set_does_not_come_back_by_exec(in_child: InChild) -> None:
    def change() -> Capabilities:
        capabilities.drop_bounding(KILL | CHOWN)
        return after_exec()

    found = in_child(change)
    assert found.bounding == found.permitted == found.effective == KILL | CHOWN


def test_without_a_bounding_set_root_gets_everything_back_by_exec(in_child: InChild) -> None:
    def change() -> Capabilities:
        capabilities.apply(Capabilities())
        assert capabilities.of().permitted == NOTHING
        return after_exec()

    found = in_child(change)
    assert found.permitted == capabilities.of().bounding


def test_ambient_capabilities_survive_exec_by_an_ordinary_user(in_child: InChild) -> None:
    one = frozenset({"CAP_NET_BIND_SERVICE"})

    def change() -> Capabilities:
        become(NOBODY)
        capabilities.apply(Capabilities(permitted=one, effective=one, inheritable=one, ambient=one))
        return after_exec()

    found = in_child(change)
    assert found.effective == found.permitted == found.ambient == one


def test_without_ambient_ones_an_ordinary_user_has_none_after_exec(in_child: InChild) -> None:
    one = frozenset({"CAP_NET_BIND_SERVICE"})

    def change() -> tuple[Capabilities, Capabilities]:
        become(NOBODY)
        capabilities.apply(Capabilities(permitted=one, effective=one, inheritable=one))
        return capabilities.of(), after_exec()

    before, after = in_child(change)
    assert before.effective == one
    assert after.effective == after.permitted == NOTHING


def test_ambient_capabilities_from_before_are_cleared(in_child: InChild) -> None:
    def change() -> Capabilities:
        capabilities.apply(Capabilities(permitted=KILL, effective=KILL, inheritable=KILL, ambient=KILL))
        capabilities.apply(Capabilities(permitted=KILL, effective=KILL, inheritable=KILL))
        return capabilities.of()

    found = in_child(change)
    assert found.ambient == NOTHING and found.inheritable == KILL


def test_ambient_capabilities_that_are_not_inheritable_are_left_out_as_in_runc(in_child: InChild) -> None:
    def change() -> tuple[frozenset[str], Capabilities]:
        return capabilities.apply(Capabilities(permitted=KILL, effective=KILL, ambient=KILL)), capabilities.of()

    lacking, found = in_child(change)
    assert lacking == NOTHING
    assert found.permitted == found.effective == KILL and found.ambient == NOTHING


@pytest.mark.parametrize(
    "wanted",
    [
        Capabilities(permitted=KILL | CHOWN, effective=KILL | CHOWN, inheritable=KILL | CHOWN, ambient=KILL | CHOWN),
        Capabilities(permitted=KILL | CHOWN, effective=CHOWN, inheritable=KILL),
        Capabilities(permitted=KILL, inheritable=KILL | CHOWN, ambient=KILL | CHOWN),
    ],
)
def test_what_the_process_lacks_is_left_out_and_named(in_child: InChild, wanted: Capabilities) -> None:
    def change() -> tuple[frozenset[str], Capabilities]:
        capabilities.apply(Capabilities(permitted=KILL, effective=KILL))
        return capabilities.apply(wanted), capabilities.of()

    lacking, found = in_child(change)
    assert lacking == CHOWN
    assert found.permitted == found.inheritable == KILL
    assert found.effective == wanted.effective & KILL and found.ambient == wanted.ambient & KILL


def test_what_is_inheritable_stays_so_after_it_is_no_longer_permitted(in_child: InChild) -> None:
    def change() -> tuple[frozenset[str], Capabilities]:
        capabilities.apply(Capabilities(permitted=KILL, inheritable=KILL))
        capabilities.apply(Capabilities(inheritable=KILL))
        return capabilities.apply(Capabilities(inheritable=KILL, ambient=KILL)), capabilities.of()

    lacking, found = in_child(change)
    assert lacking == NOTHING
    assert found.inheritable == KILL and found.permitted == found.ambient == NOTHING


def test_what_is_out_of_the_bounding_set_cannot_be_made_inheritable(in_child: InChild) -> None:
    def change() -> tuple[frozenset[str], Capabilities]:
        capabilities.drop_bounding(CHOWN)
        return capabilities.apply(Capabilities(permitted=KILL, inheritable=KILL)), capabilities.of()

    lacking, found = in_child(change)
    assert lacking == KILL
    assert found.permitted == KILL and found.inheritable == NOTHING


def test_a_bounding_set_that_is_right_already_takes_no_capability(in_child: InChild) -> None:
    def change() -> frozenset[str]:
        capabilities.drop_bounding(KILL)
        capabilities.apply(Capabilities())
        capabilities.drop_bounding(KILL)
        return capabilities.of().bounding

    assert in_child(change) == KILL


def test_without_setpcap_the_bounding_set_cannot_be_changed_and_the_error_says_so(in_child: InChild) -> None:
    def change() -> None:
        capabilities.apply(all_but("CAP_SETPCAP"))
        capabilities.drop_bounding(NOTHING)

    with pytest.raises(KernelError, match=r"bounding set CAP_CHOWN: EPERM \(this takes CAP_SETPCAP") as caught:
        in_child(change)
    assert caught.value.errno == EPERM
