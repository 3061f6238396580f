"""Progress as a line."""

from __future__ import annotations

from labkit.image.progress import Progress, silent


def test_a_line_begins_with_the_layer_if_it_is_about_one() -> None:
    assert str(Progress("4f4fb700ef54", "Downloading", 3, 7)) == "4f4fb700ef54: Downloading"
    assert str(Progress("", "Digest: sha256:00")) == "Digest: sha256:00"


def test_who_does_not_want_to_hear_hears_nothing() -> None:
    assert silent(Progress("", "Pulling")) is None  # type: ignore[func-returns-value]
