"""Words as the unit of tags and spans: a run of letters, a run of digits, or a single other character.

A unit is represented by its first sub-word; where a tokenizer joins two units in one sub-word, they are one. Combining marks, joiners
and variation selectors belong to the character before them, as in a grapheme cluster, whether the tokenizer keeps them or not.

Reference: Unicode Standard Annex #29, Unicode text segmentation, for what extends a character.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from clinical_ie.document import Fragment, Span

ZERO_WIDTH_JOINER = "\u200d"
_JOINERS = ("\u00ad", "\u200c", ZERO_WIDTH_JOINER)  # soft hyphen, zero width non-joiner
_SKIN_TONES = ("\U0001f3fb", "\U0001f3ff")


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
        if units and units[-1][1] < start and not text[units[-1][1]].isspace():
            units[-1] = (units[-1][0], _with_dropped(text, units[-1][1], start))
        if units and start <= units[-1][1] and (start < units[-1][1] or continues(text, start)):
            units[-1] = (units[-1][0], max(end, units[-1][1]))
        else:
            units.append((start, end))
            firsts.append(index)
        unit_of.append(len(units) - 1)
    if units:
        units[-1] = (units[-1][0], _with_dropped(text, units[-1][1], len(text)))
    return units, firsts, unit_of


def extends(character: str) -> bool:
    """Whether a character only modifies the one before it: combining marks, variation selectors, skin tones."""
    if character.isascii():
        return False
    return unicodedata.category(character)[0] == "M" or _SKIN_TONES[0] <= character <= _SKIN_TONES[1]


def continues(text: str, place: int) -> bool:
    """Whether no unit ends before a character: it extends the one before it or goes on with its letters or digits."""
    after, before = text[place], text[place - 1]
    if after.isascii() and before.isascii():
        return (before.isalpha() and after.isalpha()) or (before.isdecimal() and after.isdecimal())
    if before.isspace() or after.isspace():
        return False
    if extends(after):
        return True
    if before == ZERO_WIDTH_JOINER:
        return after.isalpha() or _is_symbol(after)
    if after in _JOINERS:  # only inside a word or an emoji
        following = text[place + 1 : place + 2]
        return following.isalpha() or (after == ZERO_WIDTH_JOINER and _is_symbol(following))
    at = place - 1
    while at and (text[at] in _JOINERS or extends(text[at])):
        at -= 1
    before = text[at]
    return (before.isalpha() and after.isalpha()) or (before.isdecimal() and after.isdecimal())


def _is_symbol(character: str) -> bool:
    return bool(character) and unicodedata.category(character)[0] == "S"


def _with_dropped(text: str, end: int, limit: int) -> int:
    """The end of a unit with the characters behind it that go on with it and that the tokenizer dropped."""
    while end < limit and continues(text, end):
        end += 1
    return end


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


def inexact(text: str, span: Span, first: Fragment, last: Fragment) -> str | None:
    """Why a mention cannot be given exactly by its first and last word; None where it can.

    Accents, white space and words that a sub-word joins have reasons of their own, since the remedies differ.
    """
    if (span.start, span.end) == (first[0], last[1]):
        return None
    if text[span.start].isspace() or text[span.end - 1].isspace():
        return "begins or ends in white space"
    edges = [edge for edge, unit in ((span.start, first[0]), (span.end, last[1])) if edge != unit]
    if any(extends(text[edge]) for edge in edges if edge < len(text)):
        return "ends between a letter and its accent"
    if any(0 < edge < len(text) and continues(text, edge) for edge in edges):
        return "ends inside a word"
    return "ends where one sub-word joins two words"
