"""Words as the unit of tags and spans: a run of letters, a run of digits, or a single other character.

A unit is represented by its first sub-word; where a tokenizer joins two units in one sub-word, they are one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from clinical_ie.document import Fragment, Span


def units_of(text: str, offsets: Sequence[Fragment]) -> tuple[list[Fragment], list[int], list[int]]:
    """Units, the first sub-word of each, and the unit of each sub-word (the next one's for white space)."""
    units: list[Fragment] = []
    firsts: list[int] = []
    unit_of: list[int] = []
    for index, (start, end) in enumerate(offsets):
        while start < end and text[start].isspace():
            start += 1
        while start < end and text[end - 1].isspace():
            end -= 1
        if start >= end:
            unit_of.append(len(units))
            continue
        if units and start <= units[-1][1] and (start < units[-1][1] or _one_word(text[start - 1], text[start])):
            units[-1] = (units[-1][0], max(end, units[-1][1]))
        else:
            units.append((start, end))
            firsts.append(index)
        unit_of.append(len(units) - 1)
    return units, firsts, unit_of


def _one_word(before: str, after: str) -> bool:
    return (before.isalpha() and after.isalpha()) or (before.isdecimal() and after.isdecimal())


def unit_range(unit_of: Sequence[int], firsts: Sequence[int], first: int, last: int) -> tuple[int, int]:
    """Units whose first sub-word lies in ``[first, last)``."""
    count = len(firsts)
    left = unit_of[first] if first < len(unit_of) else count
    if left < count and firsts[left] < first:
        left += 1
    right = unit_of[last] if last < len(unit_of) else count
    if right < count and firsts[right] < last:
        right += 1
    return left, right


def words_of(span: Span, units: Sequence[Fragment]) -> tuple[int, int] | None:
    """The words that a span touches, from its first to its last; None where there are none."""
    first = bisect_right(units, span.start, key=lambda unit: unit[1])
    last = bisect_left(units, span.end, key=lambda unit: unit[0])
    return (first, last) if first < last else None
