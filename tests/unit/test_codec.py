"""``labkit.codec``: JSON and frozen dataclasses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit import codec
from labkit.errors import InvalidInput


@dataclass(frozen=True)
class Leaf:
    name: str
    size: int = 0


@dataclass(frozen=True)
class Tree:
    """One field of every kind that the codec knows."""

    class_: str
    leaf: Leaf | None = None
    leaves: tuple[Leaf, ...] = ()
    flags: Mapping[str, bool] = field(default_factory=dict)
    pair: tuple[str, int] = ("", 0)
    tags: tuple[tuple[str, ...], ...] = ()
    limit: int | None = 5
    ratio: float = 0.5
    rest: object = None
    dotted: str = field(default="", metadata={"json": "os.version"})


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
leaves = st.builds(Leaf, texts, st.integers())
trees = st.builds(
    Tree,
    texts,
    st.none() | leaves,
    st.lists(leaves).map(tuple),
    st.dictionaries(texts, st.booleans()),
    st.tuples(texts, st.integers()),
    st.lists(st.lists(texts).map(tuple)).map(tuple),
    st.none() | st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.none() | texts | st.booleans() | st.integers(),
    texts,
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["class", "leaf", "leaves", "pair", "name", "x"]), inner),
    max_leaves=12,
)


@given(trees)
def test_what_was_written_is_read_back_as_it_was(tree: Tree) -> None:
    assert codec.decode(Tree, json.loads(json.dumps(codec.encode(tree)))) == tree


@given(json_values)
def test_any_json_is_read_or_refused_with_a_message(data: object) -> None:
    try:
        assert isinstance(codec.decode(Tree, data, "tree"), Tree)
    except InvalidInput as error:
        assert str(error).startswith("tree")


def test_only_what_differs_from_its_default_is_written() -> None:
    assert codec.encode(Tree("oak")) == {"class": "oak"}
    assert codec.encode(Tree("oak", limit=None, leaves=(Leaf("a"),))) == {"class": "oak", "limit": None, "leaves": [{"name": "a"}]}


def test_null_says_the_same_as_nothing_but_where_none_is_a_value() -> None:
    assert codec.decode(Tree, {"class": "oak", "leaves": None, "ratio": None}) == Tree("oak")
    assert codec.decode(Tree, {"class": "oak", "limit": None}) == Tree("oak", limit=None)
    with pytest.raises(InvalidInput, match=r"^class: is missing$"):
        codec.decode(Tree, {"class": None})


def test_unknown_properties_are_ignored() -> None:
    assert codec.decode(Leaf, {"name": "a", "colour": {"of": "no interest"}}) == Leaf("a")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "must be an object, not []"),
        ({}, "class: is missing"),
        ({"class": 7}, "class: must be a string, not 7"),
        ({"class": "a\0b"}, "class: must not hold a NUL character"),
        ({"class": "\ud800"}, "class: must not hold half a surrogate pair"),
        ({"leaf": {"size": 1}}, "leaf.name: is missing"),
        ({"leaf": {"name": "a", "size": True}}, "leaf.size: must be a whole number, not True"),
        ({"leaf": {"name": "a", "size": 1.0}}, "leaf.size: must be a whole number, not 1.0"),
        ({"leaves": {}}, "leaves: must be an array, not {}"),
        ({"leaves": [{"name": "a"}, {"name": None}]}, "leaves[1].name: is missing"),
        ({"leaves": [None]}, "leaves[0]: must be an object, not None"),
        ({"flags": []}, "flags: must be an object, not []"),
        ({"flags": {"x": 1}}, "flags['x']: must be true or false, not 1"),
        ({"pair": ["a"]}, "pair: must be an array of 2, not ['a']"),
        ({"pair": ["a", "b"]}, "pair[1]: must be a whole number, not 'b'"),
        ({"tags": [["a"], ["b", 1]]}, "tags[1][1]: must be a string, not 1"),
        ({"ratio": "x"}, "ratio: must be a number, not 'x'"),
    ],
)
def test_a_wrong_value_is_refused_with_the_path_of_its_field(data: object, message: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        codec.decode(Tree, data)
    assert str(refusal.value) == message
    with pytest.raises(InvalidInput) as refusal:
        codec.decode(Tree, data, "forest[3]")
    assert str(refusal.value) == f"forest[3]{'.' if ':' in message else ': '}{message}"


def test_a_field_whose_name_in_json_is_no_name_in_python_says_it() -> None:
    assert codec.decode(Tree, {"class": "oak", "os.version": "1"}) == Tree("oak", dotted="1")
    assert codec.encode(Tree("oak", dotted="1")) == {"class": "oak", "os.version": "1"}
    with pytest.raises(InvalidInput, match=r"^os\.version: must be a string"):
        codec.decode(Tree, {"class": "oak", "os.version": 1})


@dataclass(frozen=True)
class Even:
    number: int

    def __post_init__(self) -> None:
        if self.number % 2:
            raise InvalidInput("number: must be even")


@dataclass(frozen=True)
class Numbers:
    all: tuple[Even, ...] = ()


def test_what_a_class_itself_refuses_is_named_with_its_path() -> None:
    with pytest.raises(InvalidInput, match=r"^numbers\.all\[1\]: number: must be even$"):
        codec.decode(Numbers, {"all": [{"number": 2}, {"number": 3}]}, "numbers")
