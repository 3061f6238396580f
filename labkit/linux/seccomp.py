"""Seccomp: a small program in the kernel that judges each system call of a process before it is made.

    >>> from labkit.linux import seccomp
    >>> no_mkdir = seccomp.Rule(("mkdir", "mkdirat"), "SCMP_ACT_ERRNO", errnoRet=1)
    >>> program = seccomp.compile(seccomp.Profile("SCMP_ACT_ALLOW", syscalls=(no_mkdir,)))
    >>> seccomp.load(program)                   # for good: mkdir now fails with EPERM, here and in all children

    profile ── compile ──▶ program ── load ──▶ kernel:  mkdir(…) ──▶ program ──▶ allow it, fail it with an errno, kill, …
    (JSON, by name)        (bytes of BPF)               it sees the call's number, the architecture and six arguments

A profile has the form of ``linux.seccomp`` in OCI runtime-spec. libseccomp makes the program of it in some milliseconds, once
for each profile. Loading is one system call and needs no library, so it works inside a container. It takes CAP_SYS_ADMIN or
``no_new_privs``: so a runtime loads before it drops capabilities or, with ``noNewPrivileges``, as its very last step.

``man 2 seccomp``, ``man 3 seccomp_rule_add``. Notebook 04-a-container-from-parts filters calls.
"""

from __future__ import annotations

import json
import os
import struct
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping
from errno import EACCES, EBUSY, EINVAL, ENOSYS, EPERM, ESRCH
from functools import lru_cache

from labkit.errors import InvalidInput, KernelError, Unsupported
from labkit.linux import syscalls
from labkit.records import record

# The kernel's numbers for what a program may answer; the low 16 bits of ERRNO hold the errno, those of TRACE a message.
_ANSWERS = {
    "SCMP_ACT_ALLOW": 0x7FFF0000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_TRAP": 0x00030000,
}
_PERMISSIVE = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")
# TSYNC with TSYNC_ESRCH: a thread that cannot follow makes the load fail.
_FLAGS = {"SECCOMP_FILTER_FLAG_TSYNC": 1 | 16, "SECCOMP_FILTER_FLAG_LOG": 2, "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4}
_HINTS = {
    EACCES: "without CAP_SYS_ADMIN the process must have set no_new_privs",
    EBUSY: "the process has a listener already",
    EINVAL: "a program has 1 to 4096 instructions; or the kernel does not know one of the flags",
    ESRCH: "another thread is under a program that this one is not under",
}
_SET_MODE_FILTER, _NEW_LISTENER = 1, 8

ACTIONS = tuple(_ANSWERS)
FLAGS = tuple(_FLAGS)
# In libseccomp's order, which begins at 1.
OPERATORS = tuple(f"SCMP_CMP_{name}" for name in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"))
ARCHITECTURES = tuple(
    f"SCMP_ARCH_{name}"
    for name in (
        *("X86", "X86_64", "X32", "ARM", "AARCH64", "MIPS", "MIPS64", "MIPS64N32", "MIPSEL", "MIPSEL64", "MIPSEL64N32"),
        *("PARISC", "PARISC64", "PPC", "PPC64", "PPC64LE", "S390", "S390X", "RISCV64"),
    )
)


@record
class Arg:
    """A condition on one argument of a call: ``value`` compared by ``op``. For MASKED_EQ, value is the mask."""

    index: int
    value: int
    op: str
    valueTwo: int = 0


@record
class Rule:
    """What to answer to these calls, if all of ``args`` hold. A name that this machine does not know is passed over."""

    names: tuple[str, ...]
    action: str
    errnoRet: int | None = None
    args: tuple[Arg, ...] = ()


@record
class Profile:
    """``linux.seccomp`` of OCI runtime-spec 1.1 (config-linux.md). An ``errnoRet`` of None is EPERM."""

    defaultAction: str
    defaultErrnoRet: int | None = None
    architectures: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    listenerPath: str = ""
    listenerMetadata: str = ""
    syscalls: tuple[Rule, ...] = ()


def default_profile(capabilities: Collection[str]) -> Profile:
    """The profile of Docker's and Podman's containers, for this machine and a bounding set of these capabilities.

    Some calls, such as ``mount``, it leaves to the capabilities to forbid; others, such as ``bpf``, it opens only with theirs.
    """
    return _default_profile(frozenset(capabilities))


@lru_cache(maxsize=16)
def _default_profile(capabilities: frozenset[str]) -> Profile:
    with open(os.path.join(os.path.dirname(__file__), "seccomp_default.json"), "rb") as file:
        return profile(json.load(file), capabilities)


def profile(data: object, capabilities: Collection[str]) -> Profile:
    """A profile as Docker's users write it (``--security-opt seccomp=FILE``), for this machine and a bounding set.

    It is OCI's, and besides it has ``archMap`` in place of ``architectures``, and for each rule a single ``name`` or several ``names``
    and ``includes`` and ``excludes``: architectures and capabilities with which it is in force. ``InvalidInput`` names a wrong field.
    """
    from labkit import codec

    given = codec.decode(_Profile, data)
    machine, arch = {"x86_64": ("SCMP_ARCH_X86_64", "amd64"), "aarch64": ("SCMP_ARCH_AARCH64", "arm64")}.get(os.uname().machine, ("", ""))
    held = frozenset(capabilities)

    def applies(rule: _Rule) -> bool:
        here = not rule.includes.arches or arch in rule.includes.arches
        there = arch in rule.excludes.arches
        return here and not there and held.issuperset(rule.includes.caps) and held.isdisjoint(rule.excludes.caps)

    rules = tuple(
        Rule(rule.names or (rule.name,), rule.action, rule.errnoRet, rule.args) for rule in given.syscalls if applies(rule)
    )
    others = {entry.architecture: entry.subArchitectures for entry in given.archMap}
    architectures = (machine, *others[machine]) if machine in others else given.architectures
    listener = (given.listenerPath, given.listenerMetadata)
    return Profile(given.defaultAction, given.defaultErrnoRet, architectures, given.flags, *listener, rules)


@record
class _Condition:
    """With what a rule is in force, or is not."""

    arches: tuple[str, ...] = ()
    caps: tuple[str, ...] = ()


@record
class _Rule:
    """A rule of Docker's form."""

    action: str
    names: tuple[str, ...] = ()
    name: str = ""
    errnoRet: int | None = None
    args: tuple[Arg, ...] = ()
    includes: _Condition = _Condition()
    excludes: _Condition = _Condition()


@record
class _Family:
    """The architectures whose programs a machine runs, too."""

    architecture: str
    subArchitectures: tuple[str, ...] = ()


@record
class _Profile:
    """A profile of Docker's form."""

    defaultAction: str
    defaultErrnoRet: int | None = None
    architectures: tuple[str, ...] = ()
    archMap: tuple[_Family, ...] = ()
    flags: tuple[str, ...] = ()
    listenerPath: str = ""
    listenerMetadata: str = ""
    syscalls: tuple[_Rule, ...] = ()


@lru_cache(maxsize=64)
def compile(profile: Profile) -> bytes:
    """The program of a profile; ``InvalidInput`` if there can be none, ``Unsupported`` without libseccomp."""
    try:
        import pyseccomp as scmp
    except (ImportError, RuntimeError) as error:
        raise Unsupported(f"seccomp: {error} (apt install libseccomp2, pip install pyseccomp)") from None

    default = _answer(profile.defaultAction, profile.defaultErrnoRet)
    if "SCMP_ACT_NOTIFY" in {profile.defaultAction, *(rule.action for rule in profile.syscalls if "write" in rule.names)}:
        raise InvalidInput("SCMP_ACT_NOTIFY of write, or as default, would hold up the calls that hand over the listener")
    filter = scmp.SyscallFilter(default)
    # A binary tree of the call numbers instead of a list: the kernel runs every call there is through a program that it
    # loads, to remember which are always allowed, and with the default profile takes half the time for it.
    filter.set_attr(scmp.Attr.CTL_OPTIMIZE, 2)
    machines = {scmp.system_arch()}
    name = ""
    try:
        for name in profile.architectures:
            machine = getattr(scmp.Arch, _known("architectures", name, ARCHITECTURES).removeprefix("SCMP_ARCH_"))
            if machine not in machines:
                filter.add_arch(machine)
                machines.add(machine)
        for answer, name, args in _single_rules(profile.syscalls):
            number = scmp.resolve_syscall(scmp.Arch.NATIVE, name)
            # No machine has such a call; or the rule changes nothing, which libseccomp refuses.
            if number != -1 and answer != default:
                filter.add_rule(answer, number, *(scmp.Arg(arg.index, _operator(arg.op), arg.value, arg.valueTwo) for arg in args))
    except OSError as error:
        raise InvalidInput(f"{name}: libseccomp refuses this: {error.strerror}") from None
    with open(os.memfd_create("seccomp"), "w+b") as file:
        filter.export_bpf(file)
        file.seek(0)
        program = file.read()
    if profile.defaultAction in _PERMISSIVE or default == _answer("SCMP_ACT_ERRNO", ENOSYS):
        return program
    names = [name for rule in profile.syscalls for name in rule.names]
    newest = {machine: max((scmp.resolve_syscall(machine, name) for name in names), default=-1) for machine in machines}
    return _enosys_beyond(newest) + program


def load(program: bytes, flags: Iterable[str] = ()) -> None:
    """Put the calling thread under a program from now on, on top of those it is under already. Every child is, too."""
    _load(program, flags, 0)


def listen(program: bytes, flags: Iterable[str] = ()) -> int:
    """``load`` a program that notifies; the descriptor on which it does (``man 2 seccomp_unotify``), close-on-exec."""
    return _load(program, flags, _NEW_LISTENER)


def send_listener(path: str, listener: int, state: str) -> None:
    """Give ``listener`` to the agent at the Unix socket ``path``, with OCI's container process state as JSON text.

    From another process than the one that listens: there, the very calls that this takes may be waiting for the agent.
    """
    import socket

    try:
        with socket.socket(socket.AF_UNIX) as agent:
            agent.connect(path)
            socket.send_fds(agent, [state.encode()], [listener])
    except OSError as error:
        raise KernelError.of(error, "send the seccomp listener to", path) from None


def _load(program: bytes, flags: Iterable[str], bits: int) -> int:
    # array, because it tells the address of its memory: struct sock_fprog is a count of instructions and that address.
    instructions = array("Q", program)
    address, count = instructions.buffer_info()
    for flag in flags:
        bits |= _FLAGS[_known("flags", flag, FLAGS)]
    try:
        return syscalls.seccomp(_SET_MODE_FILTER, bits, struct.pack("HP", count, address))
    except KernelError as error:
        if error.errno == ENOSYS:
            raise Unsupported("seccomp: this kernel was built without it (CONFIG_SECCOMP_FILTER)") from None
        raise KernelError(error.errno, "load a seccomp program", f"of {count} instructions", _HINTS.get(error.errno, "")) from None


def _enosys_beyond(newest: Mapping[int, int]) -> bytes:
    """The start of a program: a call whose number is higher than the newest of its machine fails with ENOSYS.

    A C library takes ENOSYS as "old kernel, use the older call", and anything else as the answer. A profile that was written
    before the call existed should not break programs that have a choice. runc does the same.
    """
    instruction = struct.Struct("HBBI").pack  # struct sock_filter: code, jump if true, jump if false, value
    program = b""
    for machine, number in newest.items():
        if number < 0:
            continue
        program += instruction(0x20, 0, 0, 4)  # load seccomp_data.arch
        program += instruction(0x15, 0, 4, machine)  # another machine: to the next section
        program += instruction(0x20, 0, 0, 0)  # load seccomp_data.nr
        program += instruction(0x35, 2, 0, 0x40000000)  # a call of x32, which counts from here: leave it
        program += instruction(0x25, 0, 1, number)  # not newer
        program += instruction(0x06, 0, 0, _answer("SCMP_ACT_ERRNO", ENOSYS))
    return program


def _answer(action: str, errno: int | None) -> int:
    number = _ANSWERS[_known("action", action, ACTIONS)]
    if action not in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        return number
    if errno is not None and not 0 <= errno <= 0xFFFF:
        raise InvalidInput(f"errnoRet: {errno} is not between 0 and 65535")
    return number | (EPERM if errno is None else errno)


def _operator(op: str) -> int:
    return OPERATORS.index(_known("op", op, OPERATORS)) + 1


def _single_rules(rules: Iterable[Rule]) -> Iterator[tuple[int, str, tuple[Arg, ...]]]:
    """Rules of one name and of conditions that must all hold. Several on one argument are alternatives, as in runc."""
    for rule in rules:
        answer = _answer(rule.action, rule.errnoRet)
        together = len({arg.index for arg in rule.args}) == len(rule.args)
        for name in rule.names:
            for args in [rule.args] if together else [(arg,) for arg in rule.args]:
                yield answer, name, args


def _known(field: str, word: str, words: tuple[str, ...]) -> str:
    if word not in words:
        raise InvalidInput(f"{field}: {word!r} is not one of {', '.join(words)}")
    return word
