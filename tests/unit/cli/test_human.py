"""Sizes and times read as docker's do."""

from __future__ import annotations

import pytest

from labkit.cli import human


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (1, "1B"),
        (999, "999B"),
        (1000, "1kB"),
        (1_023, "1.02kB"),
        (1_982_256, "1.98MB"),
        (999_950, "1MB"),
        (187_654_321_000, "188GB"),
    ],
)
def test_a_size_has_three_digits_and_powers_of_1000(count: int, text: str) -> None:
    assert human.size(count) == text


def test_a_size_can_have_more_digits() -> None:
    assert human.size(1_982_256, 4) == "1.982MB"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "Less than a second"),
        (0.9, "Less than a second"),
        (1, "1 second"),
        (59.9, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (5400, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (13 * 86400, "13 days"),
        (14 * 86400, "2 weeks"),
        (59 * 86400, "8 weeks"),
        (60 * 86400, "2 months"),
        (729 * 86400, "24 months"),
        (730 * 86400, "2 years"),
    ],
)
def test_a_time_gets_coarser_the_longer_ago_it_is(seconds: float, text: str) -> None:
    assert human.duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "count"),
    [("512", 512), ("1k", 1024), ("64m", 64 << 20), ("1.5GB", 3 << 29), ("2GiB", 2 << 30), ("many", None), ("", None), ("-1", None)],
)
def test_a_number_of_bytes_is_read_as_people_write_it(text: str, count: int | None) -> None:
    assert human.bytes_of(text) == count


def test_a_point_in_time_is_written_in_dockers_two_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    for zone, moment, rfc3339 in (
        ("UTC", "2026-11-24 07:47:46 +0000 UTC", "2026-11-24T07:47:46Z"),
        ("Asia/Shanghai", "2026-11-24 15:47:46 +0800 CST", "2026-11-24T15:47:46+08:00"),
    ):
        with monkeypatch.context() as patched:
            patched.setenv("TZ", zone)
            time.tzset()
            assert (human.moment(1795506466), human.rfc3339(1795506466)) == (moment, rfc3339)
    time.tzset()


def test_ids_are_cut_and_long_texts_say_that_they_go_on() -> None:
    assert human.short("sha256:a752e4a2727b181a9f6c") == "a752e4a2727b"
    assert human.shortened("abcdef", 6) == "abcdef"
    assert human.shortened("abcdefg", 6) == "abcde…"
