"""How generated mentions and source text are split into words: runs of letters, runs of digits, single other characters.

Numbers in circles, fractions and superscripts (``③``) are no letters. Combining marks are characters of their own for `WORD`, which
decoding under a grammar and grounding share, and belong to the character before them for `GRAPHEME_WORD`, which answers are written in.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable


def _ranges(characters: Iterable[str]) -> str:
    """A regular expression's set of these ascending characters."""
    found: list[list[int]] = []
    for code in map(ord, characters):
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in found)


_PLANE = [(character, unicodedata.category(character)) for character in map(chr, range(0x80, 0x10000))]
_MARKS = _ranges(c for c, category in _PLANE if category[0] == "M") + "\U0001f3fb-\U0001f3ff\U000e0100-\U000e01ef"
_NUMBERS = _ranges(c for c, category in _PLANE if category in ("No", "Nl"))
_LETTER = rf"[^\W\d_{_NUMBERS}]"

WORD = re.compile(rf"{_LETTER}+|\d+|[^\w\s]|[_{_NUMBERS}]")
GRAPHEME_WORD = re.compile(rf"{_LETTER}+(?:[{_MARKS}]+{_LETTER}*)*|\d+(?:[{_MARKS}]+\d*)*|(?:[^\w\s]|[_{_NUMBERS}])[{_MARKS}]*")
