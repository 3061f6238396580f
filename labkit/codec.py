"""JSON and frozen dataclasses, both ways: the class is the schema.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Root:
    ...     path: str
    ...     readonly: bool = False
    >>> codec.decode(Root, {"path": "rootfs", "unheard": "of"})
    Root(path='rootfs', readonly=False)
    >>> codec.decode(Root, {"path": 7}, "root")
    InvalidInput: root.path: must be a string, not 7
    >>> codec.encode(Root("rootfs"))
    {'path': 'rootfs'}

``config.json`` is read with it and the journal of a plan written with it. A field is ``str``, ``int``, ``float``, ``bool``,
``object`` (anything, as it came), another dataclass, ``T | None``, ``tuple[T, ...]``, ``tuple[A, B]`` or ``Mapping[str, T]``.
It has the name that it has in JSON; where that is one of Python's own words, an underscore follows: ``class_``; where it is no name
in Python, ``field(metadata={"json": "os.version"})`` says it.

Unknown properties are ignored, as OCI runtime-spec 1.1 wants it (config.md, Extensibility). ``null`` says the same as
nothing, as in Go, whose tools write most of the JSON read here. What equals its default is not written.

Annotations are looked up at the first JSON that needs them, in the module of the class: a class that few
configurations need may live in a module that this one imports late (``__getattr__`` of a module, PEP 562).
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from types import GenericAlias, UnionType

from labkit.errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    T = TypeVar("T")

Reader = Callable[[object], object]


class _Mismatch(Exception):
    """What is wrong with a value. The readers that it passes on its way out put the path in front of it."""

    def __init__(self, complaint: str, path: str = "") -> None:
        self.complaint, self.path = complaint, path

    def within(self, step: str) -> _Mismatch:
        joint = "." if self.path and not self.path.startswith("[") else ""
        return _Mismatch(self.complaint, step + joint + self.path)


def decode(cls: type[T], data: object, path: str = "") -> T:
    """``data``, as ``json.loads`` gives it, as a ``cls``. ``InvalidInput`` names the field, below ``path``."""
    try:
        return _dataclass(cls)(data)  # type: ignore[arg-type,return-value]  # a class is hashable, and its reader returns it
    except _Mismatch as mismatch:
        if path:
            mismatch = mismatch.within(path)
        raise InvalidInput(f"{mismatch.path}: {mismatch.complaint}" if mismatch.path else mismatch.complaint) from None


def encode(value: object) -> object:
    """A dataclass, or what one may hold, as ``json.dumps`` takes it; ``decode`` reads it back."""
    if isinstance(value, str | int | float | None):
        return value
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    members = ((json_name, getattr(value, name), default) for name, json_name, default in _members(type(value)))  # type: ignore[arg-type]
    return {json_name: encode(member) for json_name, member, default in members if _is_said(member, default)}


def _is_said(member: object, default: object) -> bool:
    """Whether a member is written: a record that somebody made is, even where it says what the default says."""
    return member is not default if is_dataclass(member) else member != default


@cache
def _members(cls: type) -> tuple[tuple[str, str, object], ...]:
    """Name, name in JSON and default of each field."""
    return tuple(
        (field.name, _json_name(field), field.default if field.default_factory is MISSING else field.default_factory())
        for field in fields(cls)
    )


def _json_name(field: Field[object]) -> str:
    return field.metadata.get("json") or field.name.rstrip("_")


@cache
def _dataclass(cls: type) -> Reader:
    known = {_json_name(field): field for field in fields(cls)}
    required = [name for name, field in known.items() if field.default is MISSING and field.default_factory is MISSING]
    readers: dict[str, Reader] = {}

    def read(data: object) -> object:
        if type(data) is not dict:
            raise _Mismatch(f"must be an object, not {data!r:.60}")
        given: dict[str, object] = {}
        for name, value in data.items():
            reader = readers.get(name)
            if reader is None:
                if name not in known:
                    continue
                reader = readers[name] = _reader(_annotation(cls, str(known[name].type)))
            if value is None and not isinstance(reader, _Optional):
                continue
            try:
                given[known[name].name] = reader(value)
            except _Mismatch as mismatch:
                raise mismatch.within(name) from None
        for name in required:
            if known[name].name not in given:
                raise _Mismatch("is missing", name)
        try:
            return cls(**given)
        except InvalidInput as error:  # a class that checks its own fields
            raise _Mismatch(str(error)) from None

    return read


class _Names(dict[str, object]):
    """A module's names for ``eval``, those included that the module only imports when asked."""

    def __init__(self, module: str) -> None:
        super().__init__(Mapping=Mapping)  # many modules import it for the type checker alone
        self.module = sys.modules[module]

    def __missing__(self, name: str) -> object:
        if hasattr(builtins, name):  # else asking the module for tuple would have it import whatever it can
            raise KeyError(name)
        return getattr(self.module, name)


def _annotation(cls: type, text: str) -> object:
    """The type that an annotation stands for, as ``typing.get_type_hints`` finds it; importing typing takes 1.4 ms."""
    return eval(text, {}, _Names(cls.__module__))


class _Optional:
    """``T | None``."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def __call__(self, value: object) -> object:
        return None if value is None else self.reader(value)


def _reader(kind: object) -> Reader:
    """The function that reads a value of the type ``kind``."""
    if isinstance(kind, UnionType):
        (inner,) = (alternative for alternative in kind.__args__ if alternative is not type(None))
        return _Optional(_reader(inner))
    if isinstance(kind, GenericAlias):
        arguments = kind.__args__
        if kind.__origin__ is not tuple:
            return _mapping(_reader(arguments[1]))
        if arguments[-1] is ...:
            return _sequence(_reader(arguments[0]))
        return _row([_reader(argument) for argument in arguments])
    if kind is str:
        return _string
    if kind is object:
        return lambda value: value
    if is_dataclass(kind):
        return _dataclass(kind)  # type: ignore[arg-type]  # a class, for it is an annotation
    return _scalar(kind)


def _string(value: object) -> str:
    if type(value) is not str:
        raise _Mismatch(f"must be a string, not {value!r:.60}")
    # No path, name or argument of Linux's may hold these; refused here, they are refused with the field's name.
    if "\0" in value:
        raise _Mismatch("must not hold a NUL character")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise _Mismatch("must not hold half a surrogate pair")
    return value


def _scalar(kind: object) -> Reader:
    expected = {bool: "true or false", int: "a whole number", float: "a number"}[kind]  # type: ignore[index]  # else KeyError

    def read(value: object) -> object:
        if type(value) is not kind:  # not isinstance: True is an int to Python, but not to JSON
            raise _Mismatch(f"must be {expected}, not {value!r:.60}")
        return value

    return read


def _sequence(item: Reader) -> Reader:
    def read(value: object) -> object:
        if type(value) is not list:
            raise _Mismatch(f"must be an array, not {value!r:.60}")
        try:
            return tuple(map(item, value))
        except _Mismatch:
            return tuple(_within(f"[{index}]", item, each) for index, each in enumerate(value))

    return read


def _row(items: list[Reader]) -> Reader:
    def read(value: object) -> object:
        if type(value) is not list or len(value) != len(items):
            raise _Mismatch(f"must be an array of {len(items)}, not {value!r:.60}")
        return tuple(_within(f"[{index}]", item, each) for index, (item, each) in enumerate(zip(items, value, strict=True)))

    return read


def _mapping(item: Reader) -> Reader:
    def read(value: object) -> object:
        if type(value) is not dict:
            raise _Mismatch(f"must be an object, not {value!r:.60}")
        return {_string(key): _within(f"[{key!r}]", item, each) for key, each in value.items()}

    return read


def _within(step: str, reader: Reader, value: object) -> object:
    try:
        return reader(value)
    except _Mismatch as mismatch:
        raise mismatch.within(step) from None
