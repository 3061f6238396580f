"""Lists as docker prints them: a table, a template of the caller's, JSON lines, or IDs alone.

    >>> columns = (Column("ID", "IMAGE ID"), Column("Size", "SIZE"))
    >>> tables.lines(columns, [{"ID": "a752e4a2727b", "Size": "1.98MB"}], "")
    ['IMAGE ID       SIZE', 'a752e4a2727b   1.98MB']
    >>> tables.lines(columns, [{"ID": "a752e4a2727b", "Size": "1.98MB"}], "{{.ID}} has {{.Size}}")
    ['a752e4a2727b has 1.98MB']

A row is a mapping from the names that ``--format`` knows to what they stand for, as a rule text; ``Column`` says which of them the table
shows, and what stands above.
Source: docker's "Format command and log output"; Go's text/tabwriter (cells of at least 10, padded by 3). Seen in notebook 05.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from labkit.cli import templates

Row = Mapping[str, object]

_CELL, _PADDING = 10, 3


@dataclass(frozen=True)
class Column:
    """A field that ``--format`` can name, its heading, and whether the table shows it when nothing else is asked for."""

    field: str
    heading: str
    shown: bool = True


def lines(columns: Sequence[Column], rows: Iterable[Row], form: str) -> list[str]:
    """What to print, a line each. ``form`` is ``""`` or ``table``, ``table TEMPLATE``, ``json`` or ``TEMPLATE``."""
    kind, _, template = form.partition(" ")
    if kind in ("", "table") and not template.strip():
        shown = [column for column in columns if column.shown]
        return aligned([[column.heading for column in shown], *([str(row[column.field]) for column in shown] for row in rows)])
    if form == "json":
        return [_json(row) for row in rows]
    whole = kind != "table"
    parsed = templates.parse((form if whole else template).replace("\\t", "\t").replace("\\n", "\n"))
    if whole:
        return [_json(row) if form == "{{json .}}" else parsed.render(row) for row in rows]
    header = parsed.render_header({column.field: column.heading for column in columns} | {"Label": _label})
    return aligned([line.split("\t") for line in (header, *map(parsed.render, rows))])


def aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    """The cells of each line under each other; the last of a line ends where its text ends."""
    widths: dict[int, int] = {}
    for line in cells:
        for index, cell in enumerate(line[:-1]):
            widths[index] = max(widths.get(index, _CELL), width(cell) + _PADDING)
    return ["".join(cell + " " * (widths[i] - width(cell)) for i, cell in enumerate(line[:-1])) + line[-1] for line in cells]


def width(text: str) -> int:
    """How many columns of a terminal a text takes: Chinese characters take two."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 0 if unicodedata.combining(char) else 1 for char in text)


def _label(name: str) -> str:
    """What stands above a label: ``build date`` for ``com.example.build-date``."""
    return name.rpartition(".")[2].replace("-", " ").replace("_", " ")


def _json(row: Row) -> str:
    """A row as Go writes a struct: by name, and safe inside of HTML. What takes an argument has no value."""
    values = {name: value for name, value in row.items() if not callable(value)}
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
