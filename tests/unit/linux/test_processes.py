from __future__ import annotations

import signal

import pytest

from labkit.errors import InvalidInput
from labkit.linux import processes


@pytest.mark.parametrize("text", ["TERM", "SIGTERM", "sigterm", "term", "15"])
def test_a_signal_goes_by_any_of_its_names(text: str) -> None:
    assert processes.signal_number(text) == 15


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("SIGRTMIN+3", 37), ("RTMAX", 64), ("cld", 17), ("64", 64)])
def test_numbers_aliases_and_real_time_signals_are_understood(text: str, number: int) -> None:
    assert processes.signal_number(text) == number


@pytest.mark.parametrize("text", ["", "TREM", "SIG", "-9", "65", "9.0", "TERM+1", "RTMIN+99", "RTMIN+", "²", "RTMIN+-1"])
def test_what_is_no_signal_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInput, match="none called"):
        processes.signal_number(text)


def test_the_exit_code_of_a_killed_process_is_128_and_the_signal() -> None:
    assert processes.exit_code(3 << 8) == 3
    assert processes.exit_code(signal.SIGKILL) == 137
