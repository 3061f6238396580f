"""The keys that leave a container: found wherever the packets are cut, and nothing else is held back for long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.engine.detach_keys import DetachKeys, parse
from labkit.errors import InvalidInput


@pytest.mark.parametrize(
    ("keys", "sequence"),
    [
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("x", b"x"),
        ("ctrl-a,d", b"\x01d"),
        ("ctrl-@", b"\0"),
        ("ctrl-[,ctrl-_", b"\x1b\x1f"),
        ("a,b,c", b"abc"),
    ],
)
def test_keys_are_the_bytes_that_a_terminal_sends(keys: str, sequence: bytes) -> None:
    assert parse(keys) == sequence


@pytest.mark.parametrize("keys", ["ctrl-", "ctrl-pp", "alt-x", "ctrl-p,", ",", "ctrl-é", "é", "CTRL-P", "ctrl-P", "ctrl-p ctrl-q"])
def test_what_are_no_keys_is_refused_in_dockers_words(keys: str) -> None:
    with pytest.raises(InvalidInput, match=r"^Invalid detach keys \(.*\) provided$"):
        DetachKeys(keys)


def typed(keys: DetachKeys, *packets: bytes) -> tuple[bytes, bool]:
    passed = b""
    for packet in packets:
        data, detached = keys.pass_on(packet)
        passed += data
        if detached:
            return passed, True
    return passed, False


def test_the_default_is_ctrl_p_ctrl_q() -> None:
    assert typed(DetachKeys(), b"ls\n\x10\x11rest") == (b"ls\n", True)
    assert typed(DetachKeys(), b"a\x10", b"\x11") == (b"a", True)


def test_the_first_key_alone_reaches_the_program_with_the_next_one() -> None:
    keys = DetachKeys()
    assert keys.pass_on(b"\x10") == (b"", False)
    assert keys.pass_on(b"x") == (b"\x10x", False)
    assert typed(keys, b"\x10\x10\x11") == (b"\x10", True)


sequences = st.sampled_from(["a", "a,b", "a,a,b", "a,b,a,c"])


@given(sequences, st.lists(st.text("abcx").map(str.encode)))
def test_however_it_is_cut_all_but_the_first_sequence_passes(keys: str, packets: list[bytes]) -> None:
    whole, sequence = b"".join(packets), parse(keys)
    before, found, _ = whole.partition(sequence)
    passed, detached = typed(DetachKeys(keys), *packets)
    assert detached == bool(found)
    if detached:
        assert passed == before
    else:
        # Only what may still become the sequence is held back.
        held = whole[len(passed) :]
        assert whole.startswith(passed) and sequence.startswith(held)
