from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labkit.errors import InvalidInput, Unsupported
from labkit.linux.cgroups import Layout, detect
from labkit.linux.cgroups.devices import ALWAYS, Rule, program, settings

V1 = detect("31 24 0:27 / /cg/devices rw - cgroup cgroup rw,devices")
V2 = detect("31 24 0:27 / /cg rw - cgroup2 cgroup2 rw")
DENY, ALLOW = Rule(allow=False), Rule(allow=True)

numbers = st.sampled_from([None, 0, 1, 2, -1])
accesses = st.sampled_from(["r", "w", "m", "rw", "rwm"])
one_rule = st.builds(Rule, st.booleans(), st.sampled_from(["a", "b", "c"]), numbers, numbers, accesses)
rules = st.lists(one_rule | st.just(DENY), max_size=6)
letters = st.sampled_from(["r", "w", "m", "rw"])


def decides(rules: Sequence[Rule], type: str, major: int, minor: int, access: str) -> bool:
    """The definition: for each letter the last rule that matches decides; without one it is denied."""

    def allowed(letter: str) -> bool:
        found = False
        for rule in rules:
            numbers_match = all(wanted in (None, -1, number) for wanted, number in ((rule.major, major), (rule.minor, minor)))
            if rule.type in ("a", type) and numbers_match and letter in rule.access:
                found = rule.allow
        return found

    return all(map(allowed, access))


def run(code: bytes, type: str, major: int, minor: int, access: str) -> bool:
    """What the kernel's BPF machine does with the program (``Documentation/bpf/standardization/instruction-set.rst``)."""
    question = {0: sum({"m": 1, "r": 2, "w": 4}[letter] for letter in access) << 16 | {"b": 1, "c": 2}[type], 4: major, 8: minor}
    registers, at = [0] * 11, 0
    while True:
        operation, both, jump, value = struct.unpack_from("<BBhi", code, at * 8)
        to, source, at = both & 15, both >> 4, at + 1
        match operation:
            case 0x61:
                registers[to] = question[jump]
            case 0x57:
                registers[to] &= value
            case 0x77:
                registers[to] >>= value
            case 0xB7:
                registers[to] = value
            case 0xBF:
                registers[to] = registers[source]
            case 0x15 | 0x55:
                at += jump if (registers[to] == value) == (operation == 0x15) else 0
            case 0x95:
                return bool(registers[0])
            case _:
                raise AssertionError(f"instruction {operation:#x}")


class Version1:
    """What the kernel does with writes to devices.allow and devices.deny (``security/device_cgroup.c``)."""

    def __init__(self, layout: Layout, rules: Sequence[Rule]) -> None:
        self.allow_all, self.exceptions = True, dict[tuple[str, str, str], set[str]]()
        for setting in settings("c1", rules, layout):
            directory, _, verb = setting.file.rpartition("/devices.")
            assert directory == "/cg/devices/c1"
            self.write(verb == "allow", setting.value)

    def write(self, allow: bool, line: str) -> None:
        if line == "a":
            self.allow_all, self.exceptions = allow, {}
            return
        type, number, access = line.split()
        device = (type, *number.split(":"))
        if allow == self.allow_all:  # takes back exceptions for exactly this device, and no others
            self.exceptions.get(device, set()).difference_update(access)
        else:
            self.exceptions.setdefault(device, set()).update(access)

    def decides(self, type: str, major: int, minor: int, access: str) -> bool:
        matching = [
            letters
            for (kind, *numbers), letters in self.exceptions.items()
            if kind == type and all(wanted in ("*", str(number)) for wanted, number in zip(numbers, (major, minor), strict=True))
        ]
        if self.allow_all:
            return not any(letters & set(access) for letters in matching)
        return any(letters >= set(access) for letters in matching)


@given(rules, st.sampled_from("bc"), st.integers(0, 3), st.integers(0, 3), letters)
@example([DENY, Rule(True, "c", 1), Rule(False, "c", 1, 2, "w")], "c", 1, 2, "rw")
@example([ALLOW, Rule(False, "b")], "b", 0, 0, "r")
def test_the_program_decides_as_the_last_rule_that_matches(rules: list[Rule], type: str, major: int, minor: int, access: str) -> None:
    assert run(program(rules), type, major, minor, access) == decides(rules, type, major, minor, access)


@given(rules, st.sampled_from("bc"), st.integers(0, 3), st.integers(0, 3), st.sampled_from("rwm"))
@example([ALLOW, Rule(False, "c", 1)], "c", 1, 1, "r")
@example([DENY, Rule(True, "c", 1, 1), Rule(False, "c", 1, 1, "w")], "c", 1, 1, "w")
def test_version_1_decides_the_same_or_refuses_the_rules(rules: list[Rule], type: str, major: int, minor: int, access: str) -> None:
    try:
        kernel = Version1(V1, rules)
    except Unsupported:
        return
    assert kernel.decides(type, major, minor, access) == decides(rules, type, major, minor, access)


def test_the_lines_of_version_1() -> None:
    found = settings("labkit/c1", [Rule(True, "c", 9, 9), DENY, Rule(True, "c", 1, 3), Rule(True, "b", access="m")], V1)
    assert [(each.file, each.value) for each in found] == [
        ("/cg/devices/labkit/c1/devices.deny", "a"),
        ("/cg/devices/labkit/c1/devices.allow", "c 1:3 rwm"),
        ("/cg/devices/labkit/c1/devices.allow", "b *:* m"),
    ]


def test_without_a_rule_for_all_devices_they_are_denied() -> None:
    assert settings("c1", [], V1)[0].file == "/cg/devices/c1/devices.deny"
    assert not run(program([]), "c", 1, 3, "r")


def test_a_privileged_container_may_use_all_devices() -> None:
    assert [(each.file, each.value) for each in settings("c1", [ALLOW], V1)] == [("/cg/devices/c1/devices.allow", "a")]
    assert run(program([DENY, ALLOW]), "b", 8, 0, "rwm")


def test_version_1_refuses_an_exception_from_an_exception_which_it_would_ignore() -> None:
    for pair in ([Rule(True, "c", 1), Rule(False, "c", 1, 3, "w")], [Rule(True, "c", 1, 3), Rule(False, "c", 1)]):
        with pytest.raises(Unsupported, match=r"c 1:.* an exception from c 1:"):
            settings("c1", [DENY, *pair], V1)
    settings("c1", [DENY, Rule(True, "c", 1, 3), Rule(False, "c", 2), Rule(False, "b", 1), Rule(False, "c", 1, 3, "w")], V1)


def test_version_2_has_no_files_for_devices_and_without_the_controller_there_is_nothing() -> None:
    assert settings("c1", [DENY], V2) == ()
    with pytest.raises(Unsupported, match="devices"):
        settings("c1", [DENY], detect(""))


def test_what_every_container_may_use() -> None:
    rules = [DENY, *ALWAYS]
    usable = [("c", 1, 3), ("c", 1, 5), ("c", 1, 7), ("c", 1, 8), ("c", 1, 9), ("c", 5, 0), ("c", 5, 2), ("c", 136, 17)]
    for layout, decide in ((V1, Version1(V1, rules).decides), (V2, lambda *question: run(program(rules), *question))):
        assert all(decide(*device, "rw") for device in usable), layout
        assert decide("b", 8, 0, "m") and not decide("b", 8, 0, "r"), layout
        assert not decide("c", 1, 11, "r"), layout  # /dev/kmsg


def test_empty_fields_and_negative_numbers_stand_for_everything() -> None:
    assert program([Rule(False, "", -1, -1, "")]) == program([DENY])
    assert program([Rule(True, "c", -1, -1, "mwr")]) == program([Rule(True, "c")])


@pytest.mark.parametrize("rule", [Rule(True, "x"), Rule(True, "c", 1, 3, "rx")])
def test_a_rule_with_an_unknown_type_or_access_is_refused(rule: Rule) -> None:
    with pytest.raises(InvalidInput, match="device rule"):
        program([rule])
