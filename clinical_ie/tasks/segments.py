"""Segments of a note: the text of one prompt of a generator."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from clinical_ie.document import Entity, Fragment, Span
from clinical_ie.segmentation.sentences import cut_points
from clinical_ie.segmentation.windows import starts_of, windows
from clinical_ie.tasks.task import SubwordEncoder


def segments_of(text: str, encoder: SubwordEncoder, longest: int) -> list[Fragment]:
    """Characters of each segment, without the white space about it; cut at ends of sentences where possible.

    Args:
        text: A note.
        encoder: Counts sub-words.
        longest: Most sub-words of a segment.
    """
    ids, offsets = encoder.encode(text)
    starts = [start for start, _ in offsets]
    cuts = windows(len(ids), longest, 0, starts_of(cut_points(text), starts))
    found = []
    for place, cut in enumerate(cuts):
        first = starts[cut.first] if place else 0
        last = starts[cuts[place + 1].first] if place + 1 < len(cuts) else len(text)
        inner = text[first:last].strip()
        if inner:
            start = first + len(text[first:last]) - len(text[first:last].lstrip())
            found.append((start, start + len(inner)))
    return found


def segment_of(mention: Entity | Span, segments: Sequence[Fragment]) -> int | None:
    """The segment that holds the whole of a mention."""
    number = bisect_right(segments, mention.start, key=lambda segment: segment[0]) - 1
    return number if number >= 0 and mention.end <= segments[number][1] else None
