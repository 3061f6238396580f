"""Lists are printed as docker prints them, byte for byte (recorded from docker 28 and 20.10)."""

from __future__ import annotations

import pytest

from labkit.cli import tables
from labkit.cli.tables import Column

COLUMNS = (
    Column("Repository", "REPOSITORY"),
    Column("Tag", "TAG"),
    Column("Digest", "DIGEST", shown=False),
    Column("ID", "IMAGE ID"),
    Column("Size", "SIZE"),
)
ROWS = [
    {"Repository": "127.0.0.1:5077/me/web", "Tag": "v1", "Digest": "<none>", "ID": "a752e4a2727b", "Size": "1.98MB"},
    {"Repository": "busy", "Tag": "latest", "Digest": "<none>", "ID": "a752e4a2727b", "Size": "1.98MB"},
]


@pytest.mark.parametrize("form", ["", "table"])
def test_a_table_has_headings_and_aligned_columns(form: str) -> None:
    assert tables.lines(COLUMNS, ROWS, form) == [
        "REPOSITORY              TAG       IMAGE ID       SIZE",
        "127.0.0.1:5077/me/web   v1        a752e4a2727b   1.98MB",
        "busy                    latest    a752e4a2727b   1.98MB",
    ]


def test_an_empty_table_has_its_headings() -> None:
    assert tables.lines(COLUMNS, [], "") == ["REPOSITORY   TAG       IMAGE ID   SIZE"]


def test_a_table_of_ones_own_has_headings_too() -> None:
    lines = tables.lines(COLUMNS, ROWS[:1], r"table {{.ID}}\t{{upper .Tag}}\t{{.Size}}")
    assert lines == ["IMAGE ID       TAG       SIZE", "a752e4a2727b   V1        1.98MB"]


def test_a_template_has_a_line_a_row_and_no_headings() -> None:
    assert tables.lines(COLUMNS, ROWS, r"{{.Repository}}\t{{.Tag}}") == ["127.0.0.1:5077/me/web\tv1", "busy\tlatest"]


@pytest.mark.parametrize("form", ["json", "{{json .}}"])
def test_json_is_a_line_a_row_with_every_field(form: str) -> None:
    expected = r'{"Digest":"\u003cnone\u003e","ID":"a752e4a2727b","Repository":"busy","Size":"1.98MB","Tag":"latest"}'
    assert tables.lines(COLUMNS, ROWS[1:], form) == [expected]


def test_characters_that_are_two_columns_wide_keep_the_columns_aligned() -> None:
    lines = tables.aligned([["仓库", "x"], ["registry-of-ours", "y"]])
    assert [tables.width(line.rstrip("xy")) for line in lines] == [19, 19]
