"""Moments and durations as Docker writes and reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.engine import times
from labkit.errors import InvalidInput


@given(st.integers(1, 4 * 10**18))
def test_a_moment_is_read_back_to_the_nanosecond(moment: int) -> None:
    assert times.parse(times.text(moment)) == moment


def test_never_is_no_moment() -> None:
    assert times.parse(times.NEVER) == times.parse("") == 0


@pytest.mark.parametrize(
    ("said", "moment"),
    [
        ("1767225600", 1767225600 * 10**9),
        ("1767225600.000000001", 1767225600 * 10**9 + 1),
        ("1767225600.5", 1767225600_500_000_000),
        ("2026-01-01T00:00:00Z", 1767225600 * 10**9),
        ("2026-01-01", 1767225600 * 10**9),
        ("2026-01-01T01:00", 1767229200 * 10**9),
        ("2026-01-01T02:00:00+02:00", 1767225600 * 10**9),
        ("2026-01-01T00:00:00.25Z", 1767225600_250_000_000),
        ("10m", 400 * 10**9),
        ("1h", -2600 * 10**9),
        ("1.5s", 998_500_000_000),
    ],
)
def test_users_say_when_in_several_ways(said: str, moment: int) -> None:
    assert times.moment(said, when=1000 * 10**9) == moment


@pytest.mark.parametrize("said", ["", "yesterday", "1x", "1h1", "2026-13-01", "m10"])
def test_what_is_no_time_is_refused(said: str) -> None:
    with pytest.raises(InvalidInput):
        times.moment(said)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "Less than a second"),
        (0.999, "Less than a second"),
        (1, "1 second"),
        (59.9, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (2 * 3600, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (14 * 24 * 3600, "2 weeks"),
        (61 * 24 * 3600, "2 months"),
        (3 * 365 * 24 * 3600, "3 years"),
    ],
)
def test_durations_are_told_in_the_words_of_docker_ps(seconds: float, words: str) -> None:
    assert times.human(seconds) == words
