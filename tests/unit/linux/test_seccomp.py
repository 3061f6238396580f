from __future__ import annotations

import dataclasses
import json
import os
import sys
from errno import ENOSYS

import pytest

from labkit.errors import InvalidInput, KernelError, Unsupported
from labkit.linux import capabilities, seccomp, syscalls
from labkit.linux.seccomp import Arg, Profile, Rule

ALLOW, ERRNO, NOTIFY = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_NOTIFY"


def actions(profile: Profile, call: str) -> list[str]:
    return [rule.action for rule in profile.syscalls if call in rule.names]


def test_the_default_profile_forbids_what_it_does_not_name() -> None:
    profile = seccomp.default_profile(capabilities.DEFAULT)
    assert (profile.defaultAction, profile.defaultErrnoRet) == (ERRNO, 38)
    assert actions(profile, "openat") == [ALLOW]
    assert actions(profile, "kexec_load") == [ERRNO]


@pytest.mark.parametrize(("capability", "call"), [("CAP_SYS_ADMIN", "bpf"), ("CAP_SYS_CHROOT", "chroot"), ("CAP_SYS_TIME", "settimeofday")])
def test_a_capability_opens_its_calls_in_the_default_profile(capability: str, call: str) -> None:
    assert actions(seccomp.default_profile({capability}), call) == [ALLOW]
    assert actions(seccomp.default_profile({"CAP_KILL"}), call) == [ERRNO]


@pytest.mark.parametrize(
    ("machine", "architectures", "there", "elsewhere"),
    [
        ("x86_64", ("X86_64", "X86", "X32"), "arch_prctl", "cacheflush"),
        ("aarch64", ("AARCH64", "ARM"), "cacheflush", "arch_prctl"),
    ],
)
def test_the_default_profile_is_for_the_machine(
    monkeypatch: pytest.MonkeyPatch, machine: str, architectures: tuple[str, ...], there: str, elsewhere: str
) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "", "", "", machine)))
    seccomp._default_profile.cache_clear()
    profile = seccomp.default_profile(())
    seccomp._default_profile.cache_clear()
    assert profile.architectures == tuple(f"SCMP_ARCH_{name}" for name in architectures)
    assert actions(profile, there) == [ALLOW] and actions(profile, elsewhere) == []


def test_the_data_file_is_what_the_distribution_ships() -> None:
    shipped = "/usr/share/containers/seccomp.json"
    if not os.path.exists(shipped):
        pytest.skip(f"{shipped} is not installed (golang-github-containers-common)")

    def groups(path: str) -> list[dict[str, object]]:
        with open(path) as file:
            found: list[dict[str, object]] = json.load(file)["syscalls"]
        for group in found:
            for arg in group.get("args") or ():  # type: ignore[attr-defined]
                arg.setdefault("valueTwo", 0)
        return [{k: v for k, v in group.items() if v and k != "errno"} for group in found]

    assert groups(os.path.join(os.path.dirname(seccomp.__file__), "seccomp_default.json")) == groups(shipped)


def test_a_profile_is_compiled_once() -> None:
    profile = seccomp.default_profile(capabilities.DEFAULT)
    assert seccomp.compile(profile) is seccomp.compile(dataclasses.replace(profile))
    assert len(seccomp.compile(profile)) % 8 == 0


def test_names_that_no_machine_has_are_passed_over() -> None:
    with_it = Profile(ALLOW, syscalls=(Rule(("mkdir", "brew_coffee"), ERRNO),))
    without = Profile(ALLOW, syscalls=(Rule(("mkdir",), ERRNO),))
    assert seccomp.compile(with_it) == seccomp.compile(without)


def test_a_rule_that_says_what_the_default_says_is_no_error() -> None:
    assert seccomp.compile(Profile(ALLOW, syscalls=(Rule(("mkdir",), ALLOW),))) == seccomp.compile(Profile(ALLOW))


def test_more_architectures_make_a_longer_program() -> None:
    more = Profile(ALLOW, architectures=("SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"))
    assert len(seccomp.compile(more)) > len(seccomp.compile(Profile(ALLOW)))


@pytest.mark.parametrize(
    ("profile", "complaint"),
    [
        (Profile("ALLOW"), "action: 'ALLOW' is not one of SCMP_ACT_ALLOW"),
        (Profile(ALLOW, syscalls=(Rule(("mkdir",), "SCMP_ACT_NO"),)), "action: 'SCMP_ACT_NO'"),
        (Profile(ALLOW, syscalls=(Rule(("mkdir",), ERRNO, 65536),)), "errnoRet: 65536"),
        (Profile(ALLOW, syscalls=(Rule(("mkdir",), ERRNO, args=(Arg(0, 1, "=="),)),)), "op: '=='"),
        (
            Profile(ALLOW, syscalls=(Rule(("mkdir",), ERRNO, args=(Arg(6, 1, "SCMP_CMP_EQ"),)),)),
            "mkdir: libseccomp refuses this: Invalid argument",
        ),
        (Profile(ALLOW, architectures=("x86_64",)), "architectures: 'x86_64'"),
        (Profile(ALLOW, architectures=("SCMP_ARCH_S390X",)), "SCMP_ARCH_S390X: libseccomp refuses"),
        (Profile(NOTIFY), "NOTIFY"),
        (Profile(ALLOW, syscalls=(Rule(("read", "write"), NOTIFY),)), "NOTIFY"),
    ],
)
def test_a_profile_that_cannot_be_is_refused(profile: Profile, complaint: str) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        seccomp.compile(profile)


def test_without_libseccomp_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    with pytest.raises(Unsupported, match="apt install libseccomp2"):
        seccomp.compile(Profile(ALLOW, listenerMetadata="a profile that is not in the cache"))


def test_a_kernel_without_seccomp_is_named_as_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_call(*_: object) -> int:
        raise KernelError(ENOSYS, "seccomp")

    monkeypatch.setattr(syscalls, "seccomp", no_such_call)
    with pytest.raises(Unsupported, match="CONFIG_SECCOMP_FILTER"):
        seccomp.load(bytes(8))


def test_the_words_of_the_specification_are_known() -> None:
    assert {"SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", NOTIFY} < {*seccomp.ACTIONS}
    assert "SCMP_CMP_MASKED_EQ" in seccomp.OPERATORS and len(seccomp.OPERATORS) == 7
    assert {"SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64", "SCMP_ARCH_RISCV64"} < {*seccomp.ARCHITECTURES}
    assert "SECCOMP_FILTER_FLAG_LOG" in seccomp.FLAGS
