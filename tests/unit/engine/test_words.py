"""Variables, quotes and escapes in a Dockerfile's words; and how Go writes things."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.engine.build import golang, words
from labkit.engine.build.arguments import Arguments
from labkit.errors import InvalidInput

VARIABLES = {"A": "one", "B": "x y", "EMPTY": "", "_1": "under"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$A-${A}", "one-one"),
        ("$AB/${NOPE}/$", "//$"),
        ("'$A' \"$A\" \\$A", "$A one $A"),
        ('"a \\" \\$A \\n"', 'a " $A \\n'),
        ("'a \\'", "a \\"),
        ("a\\ b", "a b"),
        ("${NOPE:-w}${EMPTY:-w}${A:-w}", "wwone"),
        ("${NOPE-w}${EMPTY-w}", "w"),
        ("${NOPE:+w}${EMPTY:+w}${A:+w}", "w"),
        ("${EMPTY+w}${NOPE+v}", "w"),
        ("${NOPE:-${A:+$B}}", "x y"),
        ("$_1 $1st", "under st"),
        ("${A:?gone}", "one"),
        ("", ""),
    ],
)
def test_words_are_expanded_as_docker_does(text: str, expanded: str) -> None:
    assert words.expand(text, VARIABLES) == expanded


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("${A", "syntax error: missing '}'"),
        ("${A:-x", "syntax error: missing '}'"),
        ("${}", "syntax error: bad substitution"),
        ("${A:^x}", "unsupported modifier (^) in substitution"),
        ("${NOPE?}", "NOPE: is not allowed to be unset"),
        ("${EMPTY:?}", "EMPTY: is not allowed to be empty"),
        ("${NOPE:?set it}", "NOPE: set it"),
        ("'a", "looking for matching single-quote"),
        ('"a', "looking for matching double-quote"),
    ],
)
def test_a_broken_word_is_told(text: str, complaint: str) -> None:
    with pytest.raises(InvalidInput) as error:
        words.expand(text, VARIABLES)
    assert str(error.value).startswith(f'failed to process "{text}": ') and complaint in str(error.value)


def test_a_variable_makes_as_many_words_as_it_has_unless_quoted() -> None:
    assert words.expand_to_words('$B "$B" a\\ b $NOPE', VARIABLES) == ["x", "y", "x y", "a b"]


def test_with_another_escape_character_a_backslash_is_a_character() -> None:
    assert words.expand("c:\\$A `$A", VARIABLES, "`") == "c:\\one $A"


@given(st.text())
def test_single_quotes_keep_everything(text: str) -> None:
    quoted = "'" + text.replace("'", "'\"'\"'") + "'"
    assert words.expand(quoted, VARIABLES) == text


@given(st.text())
def test_any_text_is_either_expanded_or_refused(text: str) -> None:
    try:
        assert isinstance(words.expand(text, VARIABLES), str)
    except InvalidInput as error:
        assert "failed to process" in str(error)


def test_what_the_caller_gives_wins_over_the_default_and_the_outer_value() -> None:
    arguments = Arguments({"GIVEN": "1", "UNDECLARED": "2"}, {"OUTER": "3", "HIDDEN": "4"})
    for name, default in (("GIVEN", "x"), ("DEFAULT", "y"), ("OUTER", None), ("NOTHING", None)):
        arguments.declare(name, default)
    assert arguments.values() == {"GIVEN": "1", "DEFAULT": "y", "OUTER": "3"}
    assert arguments.besides(["DEFAULT"]) == {"GIVEN": "1", "OUTER": "3"}


def test_proxies_need_no_arg_and_are_in_no_history() -> None:
    arguments = Arguments({"http_proxy": "http://p", "V": "1"})
    arguments.declare("V", None)
    assert arguments.values() == {"V": "1", "http_proxy": "http://p"}
    assert arguments.told(arguments.values()) == ("V=1",)
    arguments.declare("http_proxy", None)
    assert arguments.told(arguments.values()) == ("V=1", "http_proxy=http://p")


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(0, "0s"), (1, "1ns"), (1500, "1.5µs"), (20 * 10**6, "20ms"), (1500 * 10**6, "1.5s"), (90 * 10**9, "1m30s"), (3600 * 10**9, "1h0m0s")],
)
def test_durations_are_written_and_read_as_in_go(nanoseconds: int, text: str) -> None:
    assert golang.duration(nanoseconds) == text and golang.parse_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "1", "s", "1d", "1m 30s", "-1s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="invalid duration"):
        golang.parse_duration(text)


def test_strings_are_quoted_as_in_go() -> None:
    assert golang.quoted_list(['a"b', "\n\x01\x7f", "é", "\\"]) == r'["a\"b" "\n\x01\x7f" "é" "\\"]'
