"""A record behaves as a frozen dataclass does."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace

import pytest

from labkit.records import record


@record
class Point:
    """A place on a sheet of paper."""

    x: int
    y: int = 0
    marks: tuple[str, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("x")


@record
class Named(Point):
    """A place with a name."""

    name: str = "here"


@dataclass(frozen=True)
class Twin:
    """What ``Point`` would be as a dataclass."""

    x: int
    y: int = 0


def test_it_is_made_by_position_and_by_name_with_defaults() -> None:
    assert (Point(1).x, Point(1).y, Point(1).marks, Point(1, y=2).y, Point(x=3).x) == (1, 0, (), 2, 3)
    assert [each.name for each in fields(Named)] == ["x", "y", "marks", "name"]
    assert Named(1, 2, ("a",), "there").name == "there"


@pytest.mark.parametrize("given", [{}, {"x": 1, "z": 2}])
def test_an_argument_too_few_or_unknown_is_a_type_error(given: dict[str, int]) -> None:
    with pytest.raises(TypeError, match="Point"):
        Point(**given)  # type: ignore[arg-type]


def test_an_argument_too_many_or_twice_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="3 arguments"):
        Point(1, 2, (), 4)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="'x'"):
        Point(1, x=1)  # type: ignore[misc]


def test_it_checks_itself() -> None:
    with pytest.raises(ValueError, match="x"):
        Point(-1)


def test_it_cannot_be_changed() -> None:
    point = Point(1)
    with pytest.raises(FrozenInstanceError, match=r"Point\.x"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError, match=r"Point\.x"):
        del point.x
    assert replace(point, y=5) == Point(1, 5)
    assert point == Point(1)


def test_it_is_equal_to_its_like_and_hashed_by_value() -> None:
    assert Point(1, 2) == Point(1, 2) != Point(2, 1)
    assert Point(1) != Named(1)
    assert len({Point(1), Point(1), Point(2)}) == 2


def test_it_shows_its_fields_as_a_dataclass_does() -> None:
    assert repr(Point(1, marks=("a",))) == "Point(x=1, y=0, marks=('a',))"
    assert repr(Twin(1)) == "Twin(x=1, y=0)"


def test_it_is_copied_and_pickled() -> None:
    point = Named(1, name="there")
    assert copy.deepcopy(point) == pickle.loads(pickle.dumps(point)) == point
