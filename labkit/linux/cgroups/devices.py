"""Which devices the processes of a control group may use, whatever nodes they find or make for them.

    >>> from labkit.linux.cgroups.devices import ALWAYS, Rule
    >>> group.restrict_devices([Rule(allow=False), *ALWAYS, Rule(True, "c", 10, 229)])     # and /dev/fuse besides

Of all rules that match a device and an access (read, write, make a node), the last one decides; if there is none, it is denied.

In version 1 the rules are lines in two files. Version 2 has no files for it: the kernel asks a small BPF program, whenever a
process of the group, or of one below it, opens or makes a device node (``Documentation/bpf/prog_cgroup_device.rst``,
``man 2 bpf``). For the rules "deny all, allow c 1:3 rw" that program is:

         r2 = type, r3 = access, r4 = major, r5 = minor      of the device that is asked for
         if r2 != c  goto next                               the last rule first
         if r4 != 1  goto next
         if r5 != 3  goto next
         r3 &= ~rw                                           these are settled
         if r3 != 0  goto next                               what is not goes on to the earlier rules
         return 1
    next:  …                                                 deny all
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import addressof, create_string_buffer
from errno import EINVAL, EPERM
from struct import pack, unpack_from

from labkit.errors import InvalidInput, KernelError, Unsupported
from labkit.linux import syscalls
from labkit.linux.cgroups.layout import Layout, checked
from labkit.linux.cgroups.settings import Setting
from labkit.records import record


@record
class Rule:
    """A rule, with the field names of the OCI runtime specification.

    ``type`` is "c", "b", or "a" for both; without ``major`` or ``minor`` it is for every number; ``access`` is made of r, w, m.
    """

    allow: bool
    type: str = "a"
    major: int | None = None
    minor: int | None = None
    access: str = "rwm"

    def __str__(self) -> str:
        numbers = ":".join("*" if number is None else str(number) for number in (self.major, self.minor))
        return f"{self.type} {numbers} {self.access}"


ALWAYS = (
    Rule(True, "c", access="m"),  # making a node is no use without the right to open it
    Rule(True, "b", access="m"),
    *(Rule(True, "c", 1, minor) for minor in (3, 5, 7, 8, 9)),  # null, zero, full, random, urandom
    *(Rule(True, "c", 5, minor) for minor in (0, 2)),  # tty, ptmx
    Rule(True, "c", 136),  # pts/*
)
"""What every container may use: runc and labkit put these rules after those of the bundle."""


def settings(path: str, rules: Sequence[Rule], layout: Layout) -> tuple[Setting, ...]:
    """What to write in version 1 for ``rules`` to hold in the group ``path``; nothing where version 2 has the devices.

    ``Unsupported`` if a rule makes an exception from an exception, which version 1 would silently ignore.
    """
    controller = layout.controllers.get("devices")
    if controller is None:
        raise Unsupported("device rules: no control group hierarchy that is mounted here has the controller devices")
    if controller.version == 2:
        return ()
    last_for_all, exceptions = Rule(allow=False), list[Rule]()
    for rule in _plain(rules):
        if rule.type == "a":
            last_for_all, exceptions = rule, []
            continue
        for earlier in exceptions:
            if earlier.allow != rule.allow == last_for_all.allow and _overlap(rule, earlier):
                raise Unsupported(f"device rules: version 1 control groups cannot make {rule} an exception from {earlier}")
        exceptions.append(rule)
    directory = f"{controller.mountpoint}/{checked(path)}"
    lines = [(last_for_all, "a"), *((rule, str(rule)) for rule in exceptions)]
    why = "a type of device, its numbers, and access: read, write, mknod"
    return tuple(Setting(f"{directory}/devices.{'allow' if rule.allow else 'deny'}", line, why) for rule, line in lines)


def _overlap(rule: Rule, earlier: Rule) -> bool:
    """Whether both are about some device and access, but not about the very same devices."""
    pairs = ((rule.major, earlier.major), (rule.minor, earlier.minor))
    if rule.type != earlier.type or set(rule.access).isdisjoint(earlier.access) or all(a == b for a, b in pairs):
        return False
    return all(a == b or a is None or b is None for a, b in pairs)


def _plain(rules: Sequence[Rule]) -> Iterator[Rule]:
    """The rules with type "b" or "c", but for those that hold for everything: these alone have the type "a"."""
    for rule in rules:
        access = "".join(letter for letter in "rwm" if letter in (rule.access or "rwm"))
        if set(rule.access) - set("rwm") or rule.type not in ("", "a", "b", "c"):
            raise InvalidInput(f"device rule: {rule}: the type is one of a, b, c, and access is made of r, w, m")
        major, minor = (None if number is None or number < 0 else number for number in (rule.major, rule.minor))
        if rule.type in ("b", "c"):
            yield Rule(rule.allow, rule.type, major, minor, access)
        elif access == "rwm" and major is None and minor is None:
            yield Rule(rule.allow)
        else:
            yield Rule(rule.allow, "b", major, minor, access)
            yield Rule(rule.allow, "c", major, minor, access)


# The instructions that a program needs, by their codes in <linux/bpf.h>; a jump goes over so many instructions.
_LOAD, _AND, _SHIFT_RIGHT, _MOVE, _COPY, _JUMP_IF_EQUAL, _JUMP_UNLESS_EQUAL, _EXIT = 0x61, 0x57, 0x77, 0xB7, 0xBF, 0x15, 0x55, 0x95
_RESULT, _QUESTION, _TYPE, _ACCESS, _MAJOR, _MINOR = range(6)  # registers: r0 is returned, r1 points to the question
_TYPES = {"b": 1, "c": 2}
_ACCESSES = {"m": 1, "r": 2, "w": 4}


def program(rules: Sequence[Rule]) -> bytes:
    """The BPF program that decides by ``rules``."""
    code = [
        _instruction(_LOAD, _TYPE, _QUESTION, 0),  # struct bpf_cgroup_dev_ctx: access << 16 | type, major, minor
        _instruction(_LOAD, _ACCESS, _QUESTION, 0),
        _instruction(_LOAD, _MAJOR, _QUESTION, 4),
        _instruction(_LOAD, _MINOR, _QUESTION, 8),
        _instruction(_AND, _TYPE, value=0xFFFF),
        _instruction(_SHIFT_RIGHT, _ACCESS, value=16),
    ]
    for rule in reversed([*_plain(rules)]):
        if rule.type == "a":
            return b"".join([*code, *_answer(rule.allow)])
        code += _decide(rule)
    return b"".join([*code, *_answer(False)])


def _decide(rule: Rule) -> list[bytes]:
    """Answer if ``rule`` settles the question; otherwise go on behind the last of these instructions."""
    access = sum(_ACCESSES[letter] for letter in rule.access)
    if rule.allow:  # strike out what is allowed; if nothing is left, all is allowed
        settle = [_instruction(_AND, _ACCESS, value=7 & ~access), _instruction(_JUMP_UNLESS_EQUAL, _ACCESS, jump=2, value=0)]
    else:  # denied, if anything of what is left is denied
        settle = [
            _instruction(_COPY, _RESULT, _ACCESS),
            _instruction(_AND, _RESULT, value=access),
            _instruction(_JUMP_IF_EQUAL, _RESULT, jump=2, value=0),
        ]
    settle += _answer(rule.allow)
    wanted = [(_MINOR, rule.minor), (_MAJOR, rule.major), (_TYPE, _TYPES[rule.type])]
    for register, number in wanted:
        if number is not None:
            settle.insert(0, _instruction(_JUMP_UNLESS_EQUAL, register, jump=len(settle), value=number))
    return settle


def _answer(allow: bool) -> list[bytes]:
    return [_instruction(_MOVE, _RESULT, value=int(allow)), _instruction(_EXIT)]


def _instruction(code: int, to: int = 0, source: int = 0, jump: int = 0, value: int = 0) -> bytes:
    return pack("<BBhi", code, source << 4 | to, jump, value)


_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH, _PROG_GET_FD_BY_ID, _PROG_QUERY = 5, 8, 9, 13, 16  # commands of bpf(2)
_CGROUP_DEVICE_PROGRAM, _AT_DEVICES, _ALLOW_MULTI = 15, 6, 2


def attach(directory: str, program: bytes) -> None:
    """Let ``program`` decide for the version 2 group ``directory``, in place of those attached to it before.

    Programs of the groups above are asked too, and all must agree. It stays for as long as the group.
    """
    try:
        with _closing(os.open(directory, os.O_RDONLY | os.O_DIRECTORY)) as group:
            before = _attached(group)
            with _closing(_load(program)) as new:
                _bpf(_PROG_ATTACH, pack("4I", group, new, _AT_DEVICES, _ALLOW_MULTI))
            for number in before:
                with _closing(_bpf(_PROG_GET_FD_BY_ID, pack("3I", number, 0, 0))) as old:
                    _bpf(_PROG_DETACH, pack("4I", group, old, _AT_DEVICES, 0))
    except OSError as error:
        raise KernelError.of(error, "open", directory, "there is no such group") from None
    except KernelError as error:
        hint = "it takes root, and no other program may claim the group for itself" if error.errno == EPERM else ""
        raise KernelError(error.errno, "attach device program to", directory, hint) from None


def _load(program: bytes) -> int:
    """Hand the program to the kernel, which checks that it ends and reads nothing that is not its own."""
    code, license = create_string_buffer(program, len(program)), create_string_buffer(b"GPL")
    numbers = (_CGROUP_DEVICE_PROGRAM, len(program) // 8, addressof(code), addressof(license), 0, 0, 0, 0, 0)
    return _bpf(_PROG_LOAD, pack("IIQQIIQII16s", *numbers, b"labkit_devices"))


def _attached(group: int) -> tuple[int, ...]:
    """The ids of the programs that are attached to the group itself."""
    ids = create_string_buffer(64 * 4)
    attributes = create_string_buffer(pack("4IQI", group, _AT_DEVICES, 0, 0, addressof(ids), 64), 32)
    try:
        syscalls.bpf(_PROG_QUERY, attributes)
    except KernelError as error:
        if error.errno == EINVAL:
            raise Unsupported("device rules: this kernel was built without CONFIG_CGROUP_BPF") from None
        raise
    (count,) = unpack_from("I", attributes, 24)
    return unpack_from(f"{count}I", ids)


def _bpf(command: int, attributes: bytes) -> int:
    return syscalls.bpf(command, create_string_buffer(attributes, len(attributes)))


@contextmanager
def _closing(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)
