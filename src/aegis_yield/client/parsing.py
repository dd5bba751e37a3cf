"""From JSON to frozen dataclasses: each value is checked against its declared type; unknown members are left alone."""

from __future__ import annotations

import datetime as dt
import functools
import json
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, NoReturn, TypeAlias, TypeVar

T = TypeVar("T")
Reader: TypeAlias = Callable[[Any], Any]


class MisfitError(ValueError):
    """A value is not of the promised type."""

    def __init__(self, expected: str, received: object, place: str = "") -> None:
        self.expected = expected
        self.received = received
        self.place = place
        shown = type(received).__name__ if isinstance(received, dict | list) else repr(received)[:60]
        super().__init__(f"{place or 'answer'}: expected {expected}, received {shown}")

    def at(self, name: str) -> MisfitError:
        """Return the same fault as seen from one level up."""
        return MisfitError(self.expected, self.received, f"{name}.{self.place}" if self.place else name)


def decode(text: bytes | str) -> Any:
    """Read JSON; NaN and Infinity, which JSON does not have, are refused.

    Raises
    ------
    MisfitError
        If it is no JSON.
    """
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise MisfitError("JSON", text[:40]) from error


def read(kind: type[T], value: object) -> T:
    """Return a JSON value as a dataclass, or as another type.

    Raises
    ------
    MisfitError
        If a value is not of the declared type, or a member is missing.
    """
    hashable: Any = kind
    found: T = reader_of(hashable)(value)
    return found


@functools.cache
def reader_of(kind: Any) -> Reader:
    """Return what reads one type."""
    if is_dataclass(kind):
        return _members(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        (other,) = (argument for argument in arguments if argument is not types.NoneType)
        return _optional(reader_of(other))
    if origin is tuple:
        return _items(reader_of(arguments[0]))
    if origin is Mapping:
        return _entries(*map(reader_of, arguments))
    return _PLAIN[kind]


def _members(kind: Any) -> Reader:
    hints = typing.get_type_hints(kind)
    plan = [(field.name, reader_of(hints[field.name]), field.default is MISSING) for field in fields(kind)]

    def members(value: Any) -> Any:
        if not isinstance(value, dict):
            raise MisfitError("an object", value)
        found = {}
        for name, reader, is_needed in plan:
            if name in value:
                try:
                    found[name] = reader(value[name])
                except MisfitError as error:
                    raise error.at(name) from None
            elif is_needed:
                raise MisfitError("a value", "nothing", name)
        return kind(**found)

    return members


def _optional(reader: Reader) -> Reader:
    return lambda value: None if value is None else reader(value)


def _items(reader: Reader) -> Reader:
    def items(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise MisfitError("a list", value)
        return tuple(map(reader, value))

    return items


def _entries(key: Reader, reader: Reader) -> Reader:
    def entries(value: Any) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise MisfitError("an object", value)
        found = {}
        for name, content in value.items():
            try:
                found[key(name)] = reader(content)
            except MisfitError as error:
                raise error.at(name) from None
        return found

    return entries


def _is(kind: type, words: str) -> Reader:
    def same(value: Any) -> Any:
        if type(value) is not kind:
            raise MisfitError(words, value)
        return value

    return same


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise MisfitError("a number", value)
    return float(value)


def _parsed(parse: Callable[[str], Any], words: str) -> Reader:
    def parsed(value: Any) -> Any:
        try:
            return parse(value)
        except (TypeError, ValueError):
            raise MisfitError(words, value) from None

    return parsed


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_PLAIN: dict[Any, Reader] = {
    Any: lambda value: value,
    str: _is(str, "a text"),
    bool: _is(bool, "true or false"),
    int: _is(int, "a whole number"),
    float: _number,
    dt.date: _parsed(dt.date.fromisoformat, "a day"),
    dt.datetime: _parsed(dt.datetime.fromisoformat, "a time"),
}
