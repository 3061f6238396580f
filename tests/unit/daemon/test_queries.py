"""Queries, as the docker command and docker-py write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.daemon.queries import Query
from labkit.errors import InvalidInput


@pytest.mark.parametrize("value", ["", "0", "no", "false", "False", "none", "None", " 0 "])
def test_what_docker_takes_for_no_is_no(value: str) -> None:
    assert not Query([("all", value)]).flag("all")
    assert not Query([("all", value)]).flag("all", default=True)


@pytest.mark.parametrize("value", ["1", "true", "True", "yes", "anything"])
def test_all_else_is_yes(value: str) -> None:
    assert Query([("all", value)]).flag("all")


def test_what_is_not_said_is_as_it_is_by_default() -> None:
    assert not Query().flag("all")
    assert Query().flag("stream", default=True)
    assert Query().number("t", 10) == 10
    assert Query().maybe_number("t") is None
    assert Query([("t", "")]).maybe_number("t") is None
    assert Query().filters() == {}


def test_several_values_of_one_name_are_kept_in_order() -> None:
    assert Query.parse("names=b&names=a%2Fc&x=1").all("names") == ("b", "a/c")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"name":{"d1":true,"d2":true}}', {"name": ("d1", "d2")}),
        ('{"name":["d1"]}', {"name": ("d1",)}),
        ('{"name":"d1"}', {"name": ("d1",)}),
        ('{"dangling":[true]}', {"dangling": ("true",)}),
        ('{"exited":[0, 1]}', {"exited": ("0", "1")}),
        ('{"name":{"d1":false}}', {"name": ()}),
        ("{}", {}),
        ("null", {}),
    ],
)
def test_filters_are_read_as_maps_of_maps_and_as_maps_of_lists(text: str, found: object) -> None:
    assert Query([("filters", text)]).filters() == found


@pytest.mark.parametrize("text", ["[]", "7", "{", '{"name":[[]]}', '{"name":[null]}', "[" * 100_000])
def test_filters_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^filters"):
        Query([("filters", text)]).filters()


@pytest.mark.parametrize("text", ["abc", "1.5", "9" * 5000, "0x10"])
def test_a_number_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^t: must be a whole number"):
        Query([("t", text)]).number("t")


def test_build_arguments_may_be_null() -> None:
    assert Query([("buildargs", '{"A":"1","B":null}')]).strings("buildargs") == {"A": "1"}
    with pytest.raises(InvalidInput, match=r"^labels: must be an object of strings"):
        Query([("labels", '{"A":1}')]).strings("labels")


@given(st.text())
def test_no_query_at_all_is_worse_than_refused(text: str) -> None:
    try:
        query = Query.parse(text)
        for name, _ in query.pairs:
            query.flag(name)
            query.maybe_number(name)
        query.filters()
    except InvalidInput:
        pass
