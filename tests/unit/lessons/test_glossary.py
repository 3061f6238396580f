"""The words of the course, and that the notebooks introduce each of them properly."""

import re
from pathlib import Path

import nbformat
import pytest

from labkit.errors import NotFound
from labkit.lessons import glossary

NOTEBOOKS = sorted((Path(__file__).parents[3] / "notebooks").glob("*.ipynb"))


def test_a_term_is_found_by_its_english_name():
    assert glossary.term("control group").chinese == "控制组"


def test_an_unknown_term_is_not_found():
    with pytest.raises(NotFound, match="hypervisor"):
        glossary.term("hypervisor")


def test_the_table_shows_every_term_in_both_languages():
    text, table = repr(glossary.words()), glossary.words()._repr_html_()
    for term in glossary.TERMS:
        assert f"{term.english} {term.chinese}" in text
        assert term.chinese in table and term.link in table


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_links_each_of_its_words_at_first_use_and_gives_the_chinese(notebook):
    prose = "\n".join(cell.source for cell in nbformat.read(notebook, 4).cells if cell.cell_type == "markdown")
    for term in glossary.TERMS:
        if term.notebook == notebook.name[:2] and term.notebook < "08":
            assert re.search(rf"\[{term.english}s?\]\(00-start-here\.ipynb#Words\) {term.chinese}", prose, re.IGNORECASE), term.english
