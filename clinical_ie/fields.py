"""Parsed JSON and YAML, read field by field: what has the wrong type is refused with its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from clinical_ie.errors import did_you_mean, shown

T = TypeVar("T")
_MOST = 2**63
"""Numbers are offsets and seeds, which fit into 63 bits."""
_KEY = re.compile(r"[a-z_][a-z0-9_+]{0,30}").fullmatch
_KINDS: dict[type, str] = {
    type(None): "nothing",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "a mapping",
}


class MalformedDataError(Exception):
    """A value that is not what it should be; whoever knows the file turns it into an `InputError`.

    Args:
        place: The keys and indices that lead to it, such as ``entities[2].type``; empty for the whole.
        problem: What was found, never the value itself.
        expected: What should have stood there.
        remedy: What the user can do about it.
        line: The line of the text where it could not be parsed, from 1; 0 where it could.
    """

    def __init__(self, place: str, problem: str, *, expected: str = "", remedy: str = "", line: int = 0) -> None:
        self.place, self.problem, self.expected, self.remedy, self.line = place, problem, expected, remedy, line
        super().__init__("; ".join(part for part in (self.found, f"expected {expected}" if expected else "", remedy) if part))

    @property
    def found(self) -> str:
        """Place and problem."""
        return f"{self.place}: {self.problem}" if self.place else self.problem


def shown_key(key: str) -> str:
    """A key as a message may show it: a small identifier, or what `shown` lets through."""
    return key if _KEY(key) else shown(key)


def kind_of(value: object) -> str:
    """What sort of value it is, in words."""
    return _KINDS.get(type(value), f"a {type(value).__name__}")


class Fields:
    """The fields of one mapping.

    Args:
        data: A value of parsed JSON or YAML.
        place: Where it stands, for messages.

    Raises:
        MalformedDataError: It is no mapping.
    """

    __slots__ = ("data", "place")

    def __init__(self, data: object, place: str = "") -> None:
        if not isinstance(data, dict):
            raise MalformedDataError(place, f"found {kind_of(data)}", expected="a mapping of names to values")
        self.data: dict[Any, Any] = data
        self.place = place

    def __contains__(self, key: str) -> bool:
        return key in self.data

    def at(self, key: str) -> str:
        """The place of a field."""
        return f"{self.place}.{key}" if self.place else key

    def only(self, *known: str, remedy: str = "") -> None:
        """Make sure that there are no other keys than these.

        Raises:
            MalformedDataError: There are; the message proposes the nearest known one.
        """
        for key in self.data:
            if key not in known:
                hint = did_you_mean(str(key), known).removeprefix("; ")
                problem = f"unknown key {(str(key)[:100] if hint else shown_key(str(key)))!r}"
                raise MalformedDataError(self.place, problem, expected=f"no others than {', '.join(known)}", remedy=remedy or hint)

    def get(self, key: str) -> Any:
        """A field of any type.

        Raises:
            MalformedDataError: It is missing.
        """
        try:
            return self.data[key]
        except KeyError:
            raise MalformedDataError(self.place, f"{key!r} is missing") from None

    def string(self, key: str, *, empty: bool = True) -> str:
        """A string, `empty` where it may be."""
        value = self.get(key)
        if type(value) is not str or not (value or empty):
            raise _no_string(self.at(key), value)
        return value

    def string_or(self, key: str, default: str) -> str:
        """A string, or the default where the field is missing."""
        return self.string(key) if key in self.data else default

    def integer(self, key: str) -> int:
        """A number from 0 on without a fraction."""
        return integer(self.get(key), self.at(key))

    def probability_or_none(self, key: str) -> float | None:
        """A number from 0 to 1, or None where the field is missing."""
        return probability(self.data[key], self.at(key)) if key in self.data else None

    def flag_or(self, key: str, default: bool) -> bool:
        """True or false, or the default where the field is missing."""
        value = self.data.get(key, default)
        if type(value) is not bool:
            raise MalformedDataError(self.at(key), f"found {kind_of(value)}", expected="true or false")
        return value

    def listed(self, key: str, read: Callable[[Any, str], T]) -> list[T]:
        """A list, each element read from its value and place; a missing one is empty."""
        if key not in self.data:
            return []
        place = self.at(key)
        return [read(value, f"{place}[{number}]") for number, value in enumerate(elements(self.data[key], place))]

    def strings(self, key: str) -> list[str]:
        """A list of strings; a missing one is empty."""
        return self.listed(key, string)

    def mappings(self, key: str) -> Iterator[Fields]:
        """A list of mappings; a missing one is empty."""
        if key in self.data:
            place = self.at(key)
            for number, value in enumerate(elements(self.data[key], place)):
                yield Fields(value, f"{place}[{number}]")


def elements(value: object, place: str, length: int | None = None) -> list[Any]:
    """A list, of that length where one is given.

    Raises:
        MalformedDataError: It is something else.
    """
    if type(value) is not list and type(value) is not tuple:
        remedy = "write it in square brackets" if type(value) is str else ""
        raise MalformedDataError(place, f"found {kind_of(value)}", expected="a list", remedy=remedy)
    if length is not None and len(value) != length:
        raise MalformedDataError(place, f"found {len(value)} elements", expected=str(length))
    return list(value)


def string(value: object, place: str) -> str:
    """A string.

    Raises:
        MalformedDataError: It is something else.
    """
    if type(value) is not str:
        raise _no_string(place, value)
    return value


def integer(value: object, place: str) -> int:
    """A number from 0 on without a fraction.

    Raises:
        MalformedDataError: It is something else.
    """
    if type(value) is not int:
        raise MalformedDataError(place, f"found {kind_of(value)}", expected="a number without a fraction")
    if not 0 <= value < _MOST:
        problem = "found a number below 0" if value < 0 else "found a number of too many digits"
        raise MalformedDataError(place, problem, expected="0 or more, below 2^63")
    return value


def probability(value: object, place: str) -> float:
    """A number from 0 to 1.

    Raises:
        MalformedDataError: It is something else.
    """
    if type(value) is not float and type(value) is not int:
        raise MalformedDataError(place, f"found {kind_of(value)}", expected="a number from 0 to 1")
    if not 0 <= value <= 1:
        raise MalformedDataError(place, "found a number outside 0 to 1", expected="a probability")
    return float(value)


def _no_string(place: str, value: object) -> MalformedDataError:
    if value == "":
        return MalformedDataError(place, "found an empty string", expected="at least one character")
    scalar = not isinstance(value, list | tuple | dict | type(None))
    remedy = "write it in quotation marks" if scalar else ""
    return MalformedDataError(place, f"found {kind_of(value)}", expected="a string", remedy=remedy)
