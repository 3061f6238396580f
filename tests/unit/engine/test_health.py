"""How the results of checks make a container healthy or not."""

from __future__ import annotations

import pytest

from labkit.engine.health import Health, Result, command, judged
from labkit.image.container_config import Healthcheck


def after(health: Health, *codes: int, retries: int = 3, in_start_period: bool = False) -> Health:
    for code in codes:
        health = judged(health, Result("", "", code, ""), retries, in_start_period)
    return health


@pytest.mark.parametrize(
    ("codes", "status", "streak"),
    [((0,), "healthy", 0), ((1, 1), "starting", 2), ((1, 1, 1), "unhealthy", 3), ((1, 1, 0), "healthy", 0), ((0, 1, 1), "healthy", 2),
     ((0, 1, 1, -1), "unhealthy", 3), ((1, 1, 1, 1, 0), "healthy", 0), ((1, 1, 1, 0, 1), "healthy", 1)],
)  # fmt: skip
def test_so_many_failures_in_a_row_make_it_unhealthy_and_one_success_healthy(codes: tuple[int, ...], status: str, streak: int) -> None:
    found = after(Health(), *codes)
    assert (found.Status, found.FailingStreak) == (status, streak)


def test_in_the_start_period_failures_do_not_count_until_a_check_has_succeeded() -> None:
    begun = after(Health(), 1, 1, 1, 1, in_start_period=True)
    assert (begun.Status, begun.FailingStreak, len(begun.Log)) == ("starting", 0, 4)
    assert after(begun, 0, 1, 1, 1, in_start_period=True).Status == "unhealthy"


def test_the_last_five_results_are_kept() -> None:
    assert [result.ExitCode for result in after(Health(), 1, 2, 3, 4, 5, 6, 7).Log] == [3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        (("CMD", "test", "-e", "/x"), ("test", "-e", "/x")),
        (("CMD-SHELL", "true && true"), ("/bin/sh", "-c", "true && true")),
        (("NONE",), ()),
        ((), ()),
    ],
)
def test_the_command_of_a_check(test: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert command(Healthcheck(test)) == expected


def test_a_shell_of_the_images_own_runs_it() -> None:
    assert command(Healthcheck(("CMD-SHELL", "x")), ("/bin/bash", "-c")) == ("/bin/bash", "-c", "x")
