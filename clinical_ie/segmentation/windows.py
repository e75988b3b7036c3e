"""Windows over a whole note: everything is seen, everything is owned exactly once.

A note longer than the budget is cut into cores that follow each other without gap. A window is a core
with context on both sides. A mention belongs to the window whose core holds its first sub-word; the
right context is as wide as the overlap, so every mention of at most that many sub-words lies wholly
inside the window that owns it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from clinical_ie.errors import SettingError


@dataclass(frozen=True, slots=True)
class Window:
    """Sub-words ``[first, last)`` with context, of which ``[core_first, core_last)`` are owned."""

    first: int
    last: int
    core_first: int
    core_last: int


def windows(count: int, budget: int, overlap: int, preferred: Sequence[int] = ()) -> list[Window]:
    """Windows of at most `budget` sub-words that cover `count` of them.

    Args:
        count: Sub-words of the note.
        budget: Most sub-words of a window, context included.
        overlap: Sub-words of context on each side (none at the note's ends).
        preferred: Ascending sub-word indices where a core should begin if possible: starts of sentences and lines.

    Raises:
        SettingError: The budget leaves no room for a core between two contexts.
    """
    if overlap < 0 or budget < 2 * overlap + 1:
        raise SettingError(f"a window of {budget} sub-words has no room for {overlap} sub-words of context on each side")
    found: list[Window] = []
    start = 0
    while start < count:
        first = max(0, start - overlap)
        if count - first <= budget:
            found.append(Window(first, count, start, count))
            break
        longest = first + budget - overlap  # where the core must end at the latest
        earliest = start + max(1, (longest - start) // 2)  # and where it may end at the earliest, for a nicer cut
        place = bisect_right(preferred, longest) - 1
        cut = preferred[place] if place >= 0 and preferred[place] >= earliest else longest
        found.append(Window(first, min(count, cut + overlap), start, cut))
        start = cut
    return found


def starts_of(points: Sequence[int], subword_starts: Sequence[int]) -> list[int]:
    """Indices of the sub-words that begin at or behind each character of `points`, ascending and distinct."""
    found = {bisect_left(subword_starts, point) for point in points}
    return sorted(index for index in found if 0 < index < len(subword_starts))
