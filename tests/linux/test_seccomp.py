from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import threading
from collections.abc import Callable
from errno import EACCES, EAGAIN, EINVAL, ENOSYS, ENOTTY, EPERM, ESRCH, EXDEV
from pathlib import Path
from typing import Any

import pytest

from labkit.errors import InvalidInput, KernelError
from labkit.linux import capabilities, processes, seccomp, syscalls
from labkit.linux.capabilities import Capabilities
from labkit.linux.seccomp import Arg, Profile, Rule

InChild = Callable[[Callable[[], Any]], Any]
ALLOW, ERRNO = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"
MKDIR = ("mkdir", "mkdirat")
NOWHERE = "/proc/self/no-directory-here"


def outcome(call: Callable[[], object]) -> int:
    """The errno of a call, 0 if it succeeds."""
    try:
        call()
    except OSError as error:
        return error.errno or 0
    except KernelError as error:
        return error.errno
    return 0


def mkdir() -> int:
    return outcome(lambda: os.mkdir(NOWHERE))


def under(profile: Profile, *calls: Callable[[], object]) -> Callable[[], list[int]]:
    """What the calls come to under a profile."""
    program = seccomp.compile(profile)

    def change() -> list[int]:
        seccomp.load(program, profile.flags)
        return [outcome(call) for call in calls]

    return change


def raw(number: int) -> Callable[[], None]:
    def call() -> None:
        if ctypes.CDLL(None, use_errno=True).syscall(number, 0, 0, 0) < 0:
            raise OSError(ctypes.get_errno(), "")

    return call


def test_a_call_fails_with_the_errno_that_was_asked_for(in_child: InChild) -> None:
    profile = Profile(ALLOW, syscalls=(Rule(MKDIR, ERRNO, EXDEV), Rule(("sethostname",), ERRNO)))
    calls = (lambda: os.mkdir(NOWHERE), lambda: syscalls.sethostname("x"), os.getppid)
    assert in_child(under(profile, *calls)) == [EXDEV, EPERM, 0]


def test_children_and_what_they_execute_are_under_it_too(in_child: InChild) -> None:
    def change() -> int:
        seccomp.load(seccomp.compile(Profile(ALLOW, syscalls=(Rule(MKDIR, ERRNO, EXDEV),))))
        return os.spawnv(os.P_WAIT, "/bin/sh", ["sh", "-c", f"mkdir {NOWHERE} 2>&1 | grep -q cross-device"])

    assert in_child(change) == 0


def test_a_condition_decides_by_the_argument(in_child: InChild) -> None:
    def kill(number: int) -> Callable[[], None]:
        return lambda: os.kill(os.getpid(), number)

    signal_28 = Rule(("kill",), ERRNO, EXDEV, (Arg(1, signal.SIGWINCH, "SCMP_CMP_EQ"),))
    assert in_child(under(Profile(ALLOW, syscalls=(signal_28,)), kill(28), kill(0))) == [EXDEV, 0]
    not_28 = Rule(("kill",), ERRNO, EXDEV, (Arg(1, signal.SIGWINCH, "SCMP_CMP_NE"),))
    assert in_child(under(Profile(ALLOW, syscalls=(not_28,)), kill(28), kill(0))) == [0, EXDEV]
    bit_16 = Rule(("kill",), ERRNO, EXDEV, (Arg(1, 16, "SCMP_CMP_MASKED_EQ", 16),))
    assert in_child(under(Profile(ALLOW, syscalls=(bit_16,)), kill(28), kill(0))) == [EXDEV, 0]


def test_conditions_on_two_arguments_must_both_hold_and_two_on_one_are_alternatives(in_child: InChild) -> None:
    def priority(which: int, who: int) -> Callable[[], int]:
        return lambda: os.getpriority(which, who)

    both = Rule(("getpriority",), ERRNO, EXDEV, (Arg(0, 0, "SCMP_CMP_EQ"), Arg(1, 1, "SCMP_CMP_EQ")))
    assert in_child(under(Profile(ALLOW, syscalls=(both,)), priority(0, 1), priority(0, 0))) == [EXDEV, 0]
    either = Rule(("getpriority",), ERRNO, EXDEV, (Arg(1, 0, "SCMP_CMP_EQ"), Arg(1, 1, "SCMP_CMP_EQ")))
    assert in_child(under(Profile(ALLOW, syscalls=(either,)), priority(0, 1), priority(0, 0))) == [EXDEV, EXDEV]


def test_kill_ends_the_process_with_sigsys() -> None:
    program = seccomp.compile(Profile(ALLOW, syscalls=(Rule(MKDIR, "SCMP_ACT_KILL_PROCESS"),)))
    pid = os.fork()
    if pid == 0:
        try:
            seccomp.load(program)
            mkdir()
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert processes.exit_code(status) == 128 + signal.SIGSYS


def test_a_call_newer_than_a_forbidding_profile_is_not_there(in_child: InChild) -> None:
    most = Profile(ERRNO, syscalls=tuple(rule for rule in seccomp.default_profile(()).syscalls if "bpf" not in rule.names))
    assert in_child(under(most, raw(999), lambda: syscalls.bpf(0, ctypes.create_string_buffer(8)))) == [ENOSYS, EPERM]


def test_the_default_profile_lets_ordinary_programs_run(in_child: InChild) -> None:
    def change() -> int:
        seccomp.load(seccomp.compile(seccomp.default_profile(capabilities.DEFAULT)))
        return os.spawnv(os.P_WAIT, "/bin/sh", ["sh", "-c", "ls /proc/self/fd | sort >/dev/null && sleep 0 & wait $!"])

    assert in_child(change) == 0


def test_the_default_profile_stops_even_a_root_with_all_capabilities(in_child: InChild) -> None:
    def with_own_name() -> None:
        syscalls.sethostname("student-7")

    def in_own_namespace(profile: Profile) -> Callable[[], list[int]]:
        def change() -> list[int]:
            syscalls.unshare(syscalls.CLONE_NEWUTS)
            return under(profile, with_own_name)()

        return change

    assert in_child(in_own_namespace(seccomp.default_profile(capabilities.DEFAULT))) == [EPERM]
    assert in_child(in_own_namespace(seccomp.default_profile({"CAP_SYS_ADMIN"}))) == [0]


@pytest.mark.parametrize("flag", seccomp.FLAGS)
def test_the_kernel_takes_each_flag(in_child: InChild, flag: str) -> None:
    profile = Profile(ALLOW, flags=(flag,), syscalls=(Rule(MKDIR, ERRNO, EXDEV),))
    assert in_child(under(profile, lambda: os.mkdir(NOWHERE))) == [EXDEV]


def test_an_unknown_flag_is_refused() -> None:
    with pytest.raises(InvalidInput, match="flags: 'TSYNC' is not one of"):
        seccomp.load(seccomp.compile(Profile(ALLOW)), ["TSYNC"])


def threads_under_a_filter() -> int:
    count = 0
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/status") as status:
            count += "Seccomp:\t2\n" in status.readlines()
    return count


@pytest.mark.parametrize(("flags", "threads"), [((), 1), (("SECCOMP_FILTER_FLAG_TSYNC",), 2)])
def test_tsync_puts_the_other_threads_under_it(in_child: InChild, flags: tuple[str, ...], threads: int) -> None:
    def change() -> int:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        seccomp.load(seccomp.compile(Profile(ALLOW)), flags)
        return threads_under_a_filter()

    assert in_child(change) == threads


def test_tsync_fails_if_another_thread_has_a_program_of_its_own(in_child: InChild) -> None:
    program = seccomp.compile(Profile(ALLOW))

    def change() -> None:
        loaded = threading.Event()

        def other() -> None:
            seccomp.load(program)
            loaded.set()
            threading.Event().wait()

        threading.Thread(target=other, daemon=True).start()
        loaded.wait()
        seccomp.load(program, ["SECCOMP_FILTER_FLAG_TSYNC"])

    with pytest.raises(KernelError, match="another thread") as caught:
        in_child(change)
    assert caught.value.errno == ESRCH


def test_without_sys_admin_it_takes_no_new_privs_and_the_error_says_so(in_child: InChild) -> None:
    def change() -> None:
        capabilities.apply(Capabilities())
        seccomp.load(seccomp.compile(Profile(ALLOW)))

    with pytest.raises(KernelError, match="no_new_privs") as caught:
        in_child(change)
    assert caught.value.errno == EACCES

    def with_it() -> None:
        capabilities.apply(Capabilities())
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        seccomp.load(seccomp.compile(Profile(ALLOW)))

    in_child(with_it)


def test_an_empty_program_is_refused_by_the_kernel() -> None:
    with pytest.raises(KernelError, match="of 0 instructions: EINVAL"):
        seccomp.load(b"")
    with pytest.raises(KernelError) as caught:
        seccomp.load(bytes(8))
    assert caught.value.errno == EINVAL


def test_an_agent_behind_the_listener_answers_the_call(in_child: InChild, tmp_path: Path) -> None:
    path = str(tmp_path / "agent")
    program = seccomp.compile(Profile(ALLOW, syscalls=(Rule(MKDIR, "SCMP_ACT_NOTIFY"),)))
    runtime, container = socket.socketpair()
    with socket.socket(socket.AF_UNIX) as agent, runtime, container:
        agent.bind(path)
        agent.listen()
        pid = os.fork()
        if pid == 0:
            try:
                socket.send_fds(container, [b"."], [seccomp.listen(program, ["SECCOMP_FILTER_FLAG_TSYNC"])])
                os._exit(mkdir())
            finally:
                os._exit(EAGAIN)
        _, (listener,), _, _ = socket.recv_fds(runtime, 1, 1)
        seccomp.send_listener(path, listener, json.dumps({"pid": pid}))
        connection, _ = agent.accept()
        with connection:
            message, (received,), _, _ = socket.recv_fds(connection, 4096, 1)
        assert json.loads(message) == {"pid": pid}
        call = bytearray(80)  # struct seccomp_notif: id, pid, flags, seccomp_data
        fcntl.ioctl(received, 0xC0502100, call)
        identity, caller = struct.unpack_from("QI", call)
        fcntl.ioctl(received, 0xC0182101, struct.pack("QqiI", identity, 0, -ENOTTY, 0))
        _, status = os.waitpid(pid, 0)
        os.close(listener)
        os.close(received)
    assert caller == pid
    assert os.waitstatus_to_exitcode(status) == ENOTTY


def test_an_agent_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match=r"send the seccomp listener to .*/agent: ENOENT"):
        seccomp.send_listener(str(tmp_path / "agent"), 0, "{}")
