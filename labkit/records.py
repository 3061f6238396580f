"""Records: frozen dataclasses that cost little to define.

    >>> from labkit.records import record
    >>> @record
    ... class Root:
    ...     path: str
    ...     readonly: bool = False
    >>> Root("rootfs")
    Root(path='rootfs', readonly=False)

``dataclasses.dataclass(frozen=True)`` writes six methods for each class and compiles them, 0.17 ms; the command line, which engines call
for every container, would do that eighty times at each start. A record's methods are written once, here, and look up the class's
fields. All else is as with a dataclass: ``fields``, ``replace``, defaults, inheritance, equality, pickling, and for mypy the types.
"""

from __future__ import annotations

from dataclasses import MISSING, FrozenInstanceError, dataclass, fields
from functools import cache

TYPE_CHECKING = False  # mypy takes any variable of this name for typing's, which takes 1.4 ms to import
if TYPE_CHECKING:
    from typing import TypeVar, dataclass_transform

    T = TypeVar("T")
else:

    def dataclass_transform(**_: bool) -> object:
        """Tells mypy that ``record`` is a kind of ``dataclass``; nothing, while the program runs."""
        return lambda decorator: decorator


@dataclass_transform(frozen_default=True)
def record(cls: type[T]) -> type[T]:
    """Make a record of a class: its annotations are the fields."""
    made = dataclass(init=False, repr=False, eq=False)(cls)
    own = {"__init__": _init, "__setattr__": _refuse, "__delattr__": _refuse, "__eq__": _equal, "__hash__": _hash, "__repr__": _repr}
    for name, method in own.items():
        if getattr(made, name) is getattr(object, name):  # a method that the class or its base has stays
            setattr(made, name, method)
    return made


@cache
def _fields(cls: type) -> tuple[tuple[str, object, object], ...]:
    """Name, default and default factory of each field."""
    return tuple((field.name, field.default, field.default_factory) for field in fields(cls))


def _init(self: object, *given: object, **named: object) -> None:
    cls = type(self)
    known = _fields(cls)  # type: ignore[arg-type]  # a class is hashable
    if len(given) > len(known):
        raise TypeError(f"{cls.__name__}() takes {len(known)} arguments, not {len(given)}")
    values = self.__dict__
    for (name, _, _), value in zip(known, given, strict=False):
        values[name] = value
    for name, default, factory in known[len(given) :]:
        if name in named:
            values[name] = named.pop(name)
        elif default is not MISSING:
            values[name] = default
        elif factory is not MISSING:
            values[name] = factory()  # type: ignore[operator]
        else:
            raise TypeError(f"{cls.__name__}() misses the argument {name!r}")
    if named:
        raise TypeError(f"{cls.__name__}() got {', '.join(map(repr, named))}, which it does not know or has already")
    if check := getattr(self, "__post_init__", None):
        check()


def _refuse(self: object, name: str, _value: object = None) -> None:
    raise FrozenInstanceError(f"{type(self).__name__}.{name} cannot be changed: dataclasses.replace makes another record")


def _equal(self: object, other: object) -> bool:
    return type(self) is type(other) and self.__dict__ == other.__dict__


def _hash(self: object) -> int:
    return hash(tuple(self.__dict__.values()))


def _repr(self: object) -> str:
    return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"
